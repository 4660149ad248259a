"""What embedding, words and reader together answer, by kind and language: right, wrong, offered, and what they should
have left alone. Next: site.py, training/fit_ranking.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from tidegate.infra.models.data.qa import OWN_KINDS
from tidegate.infra.models.evaluation.site import Evidence
from tidegate.services.knowledge.reader.ranking import RankingModel

SUGGESTIONS = 3
Figures = dict[str, float]


class Outcome(msgspec.Struct, frozen=True):
    """A question, the rank of its first answering unit (large where none was found), and the confidence in the best."""

    kind: str
    language: str
    rank: int
    confidence: float
    is_answerable: bool


MISSING = 10_000


def outcomes(model: RankingModel, evidence: Sequence[Evidence]) -> list[Outcome]:
    """What the model makes of each."""
    found = []
    for each in evidence:
        ranked = model.rank(each.question.text, each.signals)
        places = [position for position, number in enumerate(ranked.order) if each.right[number]]
        rank = places[0] if places else MISSING
        question = each.question
        found.append(Outcome(question.kind, question.language, rank, ranked.confidence, each.is_answerable))
    return found


def figures(found: Sequence[Outcome], threshold: float) -> Figures:
    """Shares of the answerable, but for the last two, which are shares of the unanswerable."""
    answerable = [each for each in found if each.is_answerable]
    above = np.array([each.confidence > threshold for each in answerable])
    first = np.array([each.rank == 0 for each in answerable])
    near = [each.confidence for each in found if each.kind == "impossible_near"]
    far = [each.confidence for each in found if each.kind == "impossible_far"]
    offered = np.array([each.rank < SUGGESTIONS for each in answerable])
    result: Figures = {"questions": len(answerable)}
    if answerable:
        result |= {
            "first": _share(first),
            "of_three": _share(offered),
            "of_eight": _share(np.array([each.rank < 8 for each in answerable])),
            "right": _share(first & above),
            "wrong": _share(~first & above),
            "right_or_offered": _share((first & above) | (offered & ~above)),
        }
    for name, confidences in (("near", near), ("far", far)):
        if confidences:
            result[f"{name}_answered"] = _share(np.array(confidences) > threshold)
            result[f"auc_{name}"] = auc([each.confidence for each in answerable], confidences)
    return result


def by_kind_and_language(found: Sequence[Outcome], threshold: float) -> dict[str, Figures]:
    """The figures of all, of each kind, and of each language in which it was asked."""
    rows = {"all": figures(found, threshold)}
    for kind in OWN_KINDS:
        if chosen := [each for each in found if each.kind == kind]:
            rows[kind] = figures(chosen, threshold)
    for language in sorted({each.language for each in found}):
        rows[language] = figures([each for each in found if each.language == language], threshold)
    return rows


def risk_coverage(found: Sequence[Outcome], points: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)) -> Figures:
    """Of the most confident share of all answerable questions, the share that is wrong."""
    ordered = sorted((each for each in found if each.is_answerable), key=lambda each: -each.confidence)
    cut = {point: ordered[: max(1, round(point * len(ordered)))] for point in points}
    return {f"{point:.0%}": _share(np.array([each.rank > 0 for each in chosen])) for point, chosen in cut.items()}


def auc(yes: Sequence[float], no: Sequence[float]) -> float:
    """The chance that one of `yes` is larger than one of `no`."""
    above, below = np.array(yes)[:, None], np.array(no)[None]
    if not above.size or not below.size:
        return float("nan")
    return round(float((above > below).mean() + 0.5 * (above == below).mean()), 4)


def rendered(rows: dict[str, Figures]) -> str:
    """A line for each row."""
    columns = ("first", "of_three", "right", "wrong", "right_or_offered", "near_answered", "auc_near", "far_answered")
    lines = [f"  {'':15s} {'n':>4s} " + " ".join(f"{column:>16s}" for column in columns)]
    for name, row in rows.items():
        cells = " ".join(f"{row[column]:16.3f}" if column in row else " " * 16 for column in columns)
        lines.append(f"  {name:15s} {row['questions']:4.0f} {cells}")
    return "\n".join(lines)


def _share(values: Any) -> float:
    return round(float(np.mean(values)), 4)
