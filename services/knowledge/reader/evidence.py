"""What speaks for an answer, as numbers that a confidence can be calibrated on."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.services.knowledge.index.keyword import terms
from tidegate.services.knowledge.reader.candidates import Candidate, Weigher, covered


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Five numbers in 0 … 1, in the order of the calibration's weights.

    `similarity`: cosine of the question and the best unit; `passage`: of the question and the passage that it stands
    in; `coverage`: share of the question's terms, by rarity, that the answer and its headings state; `margin`: lead of
    the best unit over the best of another document; `strangeness`: share of the question that no document mentions.
    """

    similarity: float = 0.0
    passage: float = 0.0
    coverage: float = 0.0
    margin: float = 0.0
    strangeness: float = 0.0

    def row(self) -> tuple[float, ...]:
        return msgspec.structs.astuple(self)


FEATURES: tuple[str, ...] = tuple(field.name for field in msgspec.structs.fields(Evidence))


def evidence(weigh: Weigher, ranked: Sequence[Candidate], chosen: Sequence[Candidate]) -> Evidence:
    """The evidence for saying `chosen`; all zero when nothing is said."""
    if not chosen:
        return Evidence()
    best = max(chosen, key=lambda each: each.score)
    passage, language = best.passage, best.passage.language
    texts = [text for each in chosen for text in (each.spoken, *(said for _, _, said in each.context))]
    stated = frozenset(terms(" ".join((passage.title, passage.heading, *texts)), language))
    rival = next((each.score for each in ranked if each.passage.document_id != passage.document_id), 0.0)
    return Evidence(
        similarity=best.similarity,
        passage=best.nearness,
        coverage=covered(weigh.weights(language), stated),
        margin=min(1.0, max(0.0, best.score - rival)),
        strangeness=weigh.strange(language),
    )
