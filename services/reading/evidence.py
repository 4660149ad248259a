"""What speaks for an answer, as numbers that a confidence can be calibrated on."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.reading.candidates import Candidate, Sought, UnitSource, covered
from services.search.keyword import terms


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Each in 0 … 1 but for `margin`. Their order is that of the calibration's weights.

    `similarity`: cosine of question and best unit; `passage`: of question and its passage; `coverage`, `around`: share
    of the question's terms that the answer states, without and with its headings; `margin`: lead of the best unit over
    the best of another document; `known`: share of the question's terms that any document has; `right_kind`: the answer
    holds the kind of value that was asked for; `both_legs`: found by words and by meaning; `own_language`.
    """

    similarity: float = 0.0
    passage: float = 0.0
    coverage: float = 0.0
    around: float = 0.0
    margin: float = 0.0
    known: float = 0.0
    right_kind: float = 0.0
    both_legs: float = 0.0
    own_language: float = 0.0

    def row(self) -> tuple[float, ...]:
        return msgspec.structs.astuple(self)


FEATURES: tuple[str, ...] = tuple(field.name for field in msgspec.structs.fields(Evidence))


def evidence(sought: Sought, ranked: Sequence[Candidate], chosen: Sequence[Candidate], source: UnitSource) -> Evidence:
    """The evidence for saying `chosen`; all zero when nothing is said."""
    if not chosen:
        return Evidence()
    best = max(chosen, key=lambda each: each.score)
    passage, language = best.passage, best.passage.language
    rarities = {term: source.rarity(term, language) for term in terms(sought.text, language)}
    own = frozenset(
        term
        for each in chosen
        for text in (each.spoken, *(said for _, _, said in each.context))
        for term in terms(text, language)
    )
    head = frozenset(terms(f"{passage.title} {passage.heading}", language))
    rival = next((each.score for each in ranked if each.passage.document_id != passage.document_id), 0.0)
    never = max(source.rarity("\0", language), 1e-9)
    weight = sum(rarities.values())
    return Evidence(
        similarity=best.similarity,
        passage=passage.similarity,
        coverage=covered(rarities, own),
        around=covered(rarities, own | head),
        margin=min(1.0, best.score - rival),
        known=sum(r for r in rarities.values() if r < never) / weight if weight else 0.0,
        right_kind=float(sought.kind is not None and any(each.right_kind for each in chosen)),
        both_legs=float(passage.bm25 > 0.0 and passage.similarity > 0.0),
        own_language=float(language == sought.language),
    )
