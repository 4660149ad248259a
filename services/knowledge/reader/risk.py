"""Confidences above which a stated share of questions, at most, is answered wrongly. Next: logistic.py, fit.py.

Conformal risk control (Angelopoulos, Bates, Fisch, Lei & Schuster, "Conformal Risk Control", ICLR 2024) over
confidences that each come from a model that has not seen the question (cross-conformal, Vovk 2015).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, nextafter

import msgspec

SHARES = (0.2, 0.4, 0.6, 0.8)
"""Coverages at which the risk is told."""
_DIGITS = 1000
NONE_STRICTER: Mapping[str, float] = {}
"""A threshold is rounded up to so many parts of one."""


class JudgedAnswer(msgspec.Struct, frozen=True, gc=False):
    """How sure the answer to a question was, and whether it was right; not where there is no right one."""

    confidence: float
    is_right: bool


class RiskRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a group of questions says. `right`: the share whose best answer is right.

    `threshold` is what holds the risk, with the shares of all that are `answered` from it on and `wrong`; it is that of
    the group `from_group` where this one has too few questions, and None where that has too few as well.
    `risk_at_coverage` is the share of wrong ones among the surest 20, 40, 60 and 80 % of the group.
    """

    group: str
    questions: int
    right: float
    threshold: float | None
    from_group: str = ""
    answered: float = 0.0
    wrong: float = 0.0
    risk_at_coverage: tuple[float, ...] = ()


def least_questions(risk: float) -> int:
    """How many questions are needed for any threshold but 1 to hold `risk`."""
    return ceil(round(1.0 / risk, 9)) - 1


def find_threshold(answers: Sequence[JudgedAnswer], risk: float) -> float | None:
    """The least confidence for which (wrong + 1) / (n + 1) is at most `risk`, where `wrong` counts the wrong answers
    from it on: of new questions like these at most the share `risk` is answered wrongly, on average over such sets.

    None where there are fewer than `least_questions`.
    """
    spared = floor(round(risk * (len(answers) + 1), 9)) - 1
    if spared < 0:
        return None
    wrong = sorted((each.confidence for each in answers if not each.is_right), reverse=True)
    if len(wrong) <= spared:
        return 0.0
    return min(1.0, ceil(nextafter(wrong[spared], 2.0) * _DIGITS) / _DIGITS)


def describe_group(group: str, answers: Sequence[JudgedAnswer], threshold: float | None, source: str = "") -> RiskRow:
    """What becomes of the group's questions at a threshold."""
    count = max(1, len(answers))
    answered = [each for each in answers if threshold is not None and each.confidence >= threshold]
    surest = [each.is_right for each in sorted(answers, key=lambda each: -each.confidence)]
    heads = [surest[: max(1, round(share * len(surest)))] for share in SHARES]
    return RiskRow(
        group=group,
        questions=len(answers),
        right=sum(surest) / count,
        threshold=threshold,
        from_group=source,
        answered=len(answered) / count,
        wrong=sum(not each.is_right for each in answered) / count,
        risk_at_coverage=tuple(1.0 - sum(head) / max(1, len(head)) for head in heads),
    )


def control_risk(
    all_of_them: Sequence[JudgedAnswer],
    groups: Mapping[str, Sequence[JudgedAnswer]],
    risk: float,
    stricter: Mapping[str, float] = NONE_STRICTER,
) -> list[RiskRow]:
    """A row for all questions, then one for each group; one with too few questions has the threshold of all.

    `stricter` names groups that hold a lower risk of their own, where there are too few of them all questions do.
    """
    common = find_threshold(all_of_them, risk)
    rows = [describe_group("all", all_of_them, common)]
    for group, answers in groups.items():
        bound = stricter.get(group, risk)
        own = find_threshold(answers, bound)
        shared = common if group not in stricter else find_threshold(all_of_them, bound)
        rows.append(describe_group(group, answers, shared if own is None else own, "all" if own is None else ""))
    return rows
