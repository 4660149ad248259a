"""Times that are learned from what happened: by how much the closed forms are to be corrected, by class of answer.

The correction is the factor by which the forecast would have been good (within `FACTOR`) for most of a bounded number
of the newest answers, weighted by age: outliers count for nothing, and where a model is called for one question and not
for the next it does not fall between the two, as a mean does, nor flip, as a median does, where a value between serves
both. It is the estimate of a mode by a window (Chernoff, "Estimation of the mode", 1964) in logarithmic time, the
window being what is good. Deterministic: the same answers in the same order give the same corrections. Pure.
Next: draft_ledger.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import NamedTuple

import msgspec
from cachetools import LRUCache

from tidegate.schemas import replace
from tidegate.services.planning.answer_class import AnswerClass

KEPT = 32
"""Answers of a class that are remembered."""
HALF_LIFE = 8.0
"""Answers after which one counts half."""
MOST_CLASSES = 256
LEAST_MS = 1.0
LEAST_SHARE = 0.25
MOST_RATIO = 1e4
"""No answer counts as slower or faster than this many times its closed form."""
WIDER_WEIGHT = 2.0
CLOSED_FORM_WEIGHT = 0.5
"""Answers that the wider class, and the closed form behind it, count for; they grow old as answers do."""
FACTOR = 2.0
"""Within this factor of what happened a forecast was good."""
SPARE = 1.7
"""Within this one it was, with something to spare."""
TIE = 1e-9
USUAL_MS = 40.0
"""What passes before a plan where nothing is busy."""
MOST_PACE = 64.0
LEAST_APART = 0.2
LEAST_PAIRS = 40
"""Pairs of answers, so far apart in the logarithm of their pace, from which a slope is concluded."""


class Correction(msgspec.Struct, frozen=True, gc=False):
    """What a closed form is to be multiplied by, and how many answers say so (of the class itself, at most `KEPT`)."""

    factor: float = 1.0
    seen: int = 0
    slope: float = 0.0
    """How the rest of a request follows the pace of its beginning: 0 not at all, 1 in proportion."""

    def at(self, passed_ms: float) -> float:
        """The factor for a request of which `passed_ms` had passed before its plan."""
        factor = float(self.factor * pace_of(passed_ms) ** self.slope)
        return min(MOST_RATIO, max(1 / MOST_RATIO, factor))


NONE = Correction()


class SeenTime(NamedTuple):
    """What one answer took, in its closed forms: the part that was forecast, and the part that was known before; and
    the pace at which the latter had gone."""

    ratio: float
    known: float = 0.0
    pace: float = 1.0

    def at_usual_pace(self, slope: float) -> SeenTime:
        """As it would have been at the usual pace, where the rest follows it so."""
        slower = self.pace**slope
        return SeenTime(self.ratio / slower, self.known / slower)

    def within(self, factor: float) -> tuple[float, float]:
        """The least and the greatest correction with which the forecast would have been within this factor."""
        took = self.known + self.ratio
        return max(1 / MOST_RATIO, took / factor - self.known), took * factor - self.known


class ObservedTime(NamedTuple):
    """How long an answer took since it was asked for, and the forecast: what had `passed_ms` before it, the link as it
    was measured, and `factor` times the closed form of the rest."""

    expected_ms: float
    took_ms: float
    passed_ms: float = 0.0
    link_ms: float = 0.0
    factor: float = 1.0

    @property
    def ratio(self) -> float:
        """What the closed form would have had to be multiplied by.

        A link that is measured slower than it was (pings wait on a busy machine) does not make the rest vanish: that is
        taken to be a quarter at least.
        """
        took_ms = self.took_ms - self.passed_ms
        return max(LEAST_MS, took_ms - self.link_ms, took_ms * LEAST_SHARE) / self.closed_form_ms

    @property
    def seen(self) -> SeenTime:
        """What is remembered of it, bounded and in four digits."""
        known = (self.passed_ms + self.link_ms) / self.closed_form_ms
        ratio = min(MOST_RATIO, max(1 / MOST_RATIO, self.ratio))
        known = min(MOST_RATIO, max(0.0, known))
        return SeenTime(*(float(f"{number:.4g}") for number in (ratio, known, pace_of(self.passed_ms))))

    @property
    def closed_form_ms(self) -> float:
        """What the closed form alone said of the rest."""
        return max(LEAST_MS, self.expected_ms - self.passed_ms - self.link_ms) / self.factor


class TimesLine(msgspec.Struct, kw_only=True):
    """What is kept of one class: the newest times, oldest first; of how many forecasts how many were good."""

    answers: AnswerClass
    times: list[SeenTime] = []
    judged: int = 0
    good: int = 0


class WorkedOut(NamedTuple):
    """A correction and all that it follows from: the times of its class, never changed in place, and the wider one."""

    times: Sequence[SeenTime]
    wider: Correction
    correction: Correction


class Corrections(Mapping[AnswerClass, Correction]):
    """What was known of each class at one moment, worked out for a class when it is first asked for: a plan asks for a
    handful, and each answer changes the widest class, of which all others follow."""

    def __init__(
        self, times: Mapping[AnswerClass, Sequence[SeenTime]], worked_out: MutableMapping[AnswerClass, WorkedOut]
    ) -> None:
        """`worked_out` is what other moments have worked out and this one may use, and is added to."""
        self._times = times
        self._worked_out = worked_out
        self._known: dict[AnswerClass, Correction] = {}

    def __getitem__(self, answers: AnswerClass) -> Correction:
        known = self._known.get(answers)
        if known is None:
            known = self._known[answers] = self._work_out(answers)
        return known

    def __contains__(self, answers: object) -> bool:
        return answers in self._times

    def __iter__(self) -> Iterator[AnswerClass]:
        return iter(self._times)

    def __len__(self) -> int:
        return len(self._times)

    def _work_out(self, answers: AnswerClass) -> Correction:
        times = self._times[answers]
        wider = wider_correction(answers, self)
        before = self._worked_out.get(answers)
        if before is not None and before.times is times and before.wider == wider:
            return before.correction
        correction = correction_by(times, wider, is_widest=not answers.wider)
        self._worked_out[answers] = WorkedOut(times, wider, correction)
        return correction


class LearnedTimes:
    """The corrections by class; at most `classes` of them, the longest unseen go first."""

    def __init__(self, lines: Iterable[TimesLine] = (), *, classes: int = MOST_CLASSES) -> None:
        """`lines` are what was kept, the longest unseen first; anything in them that makes no sense is left out."""
        self._lines: LRUCache[AnswerClass, TimesLine] = LRUCache(classes)
        self._corrections: Corrections | None = None
        self._worked_out: LRUCache[AnswerClass, WorkedOut] = LRUCache(classes)
        for line in lines:
            line.times = [each for each in line.times if each.ratio > 0 and each.known >= 0 and each.pace > 0][-KEPT:]
            self._lines[line.answers] = line

    def observe(self, answers: AnswerClass, seen: ObservedTime) -> None:
        """Learn from an answer of the class. Times that are no positive numbers teach nothing."""
        if not all(math.isfinite(number) and number > 0 for number in (seen.expected_ms, seen.took_ms, seen.factor)):
            return
        for each in (*answers.wider, answers):
            line = self._lines.pop(each, None) or TimesLine(answers=each)  # what was seen last stands last
            line.times = [*line.times, seen.seen][-KEPT:]
            line.judged += 1
            line.good += is_good(seen.expected_ms, seen.took_ms)
            self._lines[each] = line
        self._corrections = None

    def correction(self, answers: AnswerClass) -> Correction:
        """What is known of the class: where it was not seen, what is known of the wider one."""
        return correction_of(answers, self.corrections)

    @property
    def corrections(self) -> Mapping[AnswerClass, Correction]:
        """All that is known now: of each class by its own answers, with what is known of the wider one among them."""
        if self._corrections is None:
            times = {answers: self._lines[answers].times for answers in [*self._lines]}
            self._corrections = Corrections(times, self._worked_out)
        return self._corrections

    @property
    def lines(self) -> tuple[TimesLine, ...]:
        """What there is to keep, the longest unseen first."""
        return tuple(self._lines[each] for each in [*self._lines])


def correction_by(times: Sequence[SeenTime], wider: Correction, *, is_widest: bool) -> Correction:
    """What a class's own times, the newest last, and the correction of the wider one say together."""
    weight = (CLOSED_FORM_WEIGHT if is_widest else WIDER_WEIGHT) * age(len(times))
    slope = slope_of(times) if is_widest else wider.slope
    weighted = [(seen.at_usual_pace(slope), age(len(times) - 1 - at)) for at, seen in enumerate(times)]
    factor = best_factor((*weighted, (SeenTime(wider.factor), weight)))
    return Correction(factor, len(times), slope)


def correction_of(answers: AnswerClass, known: Mapping[AnswerClass, Correction]) -> Correction:
    """The class's own correction, or that of the narrowest one that it is part of and that was seen, or none."""
    own = known.get(answers)
    return own if own is not None else replace(wider_correction(answers, known), seen=0)


def wider_correction(answers: AnswerClass, known: Mapping[AnswerClass, Correction]) -> Correction:
    """The correction of the narrowest class that this one is part of and that was seen; none where none was."""
    return next((known[each] for each in reversed(answers.wider) if each in known), NONE)


def corrected_ms(closed_form_ms: float, link_ms: float, factor: float) -> float:
    """A forecast: the link's part as it is measured, the rest of the closed form as it is learned."""
    return round(link_ms + max(LEAST_MS, closed_form_ms - link_ms) * factor, 1)


def is_good(expected_ms: float, took_ms: float) -> bool:
    """Whether a forecast was within `FACTOR` of what happened."""
    return expected_ms <= FACTOR * took_ms and took_ms <= FACTOR * expected_ms


def age(later: int) -> float:
    """The weight of what was seen before so many answers."""
    return float(0.5 ** (later / HALF_LIFE))


def pace_of(passed_ms: float) -> float:
    """How slowly a request began, against the usual."""
    return min(MOST_PACE, max(1 / MOST_PACE, passed_ms / USUAL_MS)) if passed_ms > 0 else 1.0


def slope_of(times: Sequence[SeenTime]) -> float:
    """How the logarithm of the rest follows that of the pace, from 0 to 1: the median of the slopes between all pairs
    whose pace differs (Sen, 1968), 0 while there are few. Where a busy machine delays all stages alike it is near 1,
    where another machine does the rest it is near 0."""
    points = [(math.log(seen.pace), math.log(seen.ratio)) for seen in times]
    slopes = sorted(
        (y - other_y) / (x - other_x)
        for at, (x, y) in enumerate(points)
        for other_x, other_y in points[:at]
        if abs(x - other_x) >= LEAST_APART
    )
    return min(1.0, max(0.0, slopes[len(slopes) // 2])) if len(slopes) >= LEAST_PAIRS else 0.0


def best_factor(weighted: Sequence[tuple[SeenTime, float]]) -> float:
    """The correction with which forecasts would have been good for most of what was seen, by weight: of all that would
    (of several such ranges, the lowest), the one nearest to the mean of what these took.

    One that would have been good with something to spare counts double, so that none is chosen that serves all by a
    hair's breadth and the next one not. Raises `ValueError` where there is no weight.
    """
    ranges = [(*seen.within(FACTOR), seen, weight) for seen, weight in weighted]
    events: list[tuple[float, int, float]] = []
    for low, high, seen, weight in ranges:
        if weight > 0:
            least, most = seen.within(SPARE)
            events += ((low, 0, weight), (high, 1, weight), (least, 0, weight), (most, 1, weight))
    events.sort()
    if not events:
        raise ValueError("there is no best correction of nothing")
    held = most = least = best = 0.0
    is_open = False
    for correction, is_end, weight in events:
        held += -weight if is_end else weight
        if is_end and is_open:
            most, is_open = correction, False
        elif held > best + TIE:
            best, least, is_open = held, correction, True
    served = [  # but for rounding
        (seen, weight)
        for low, high, seen, weight in ranges
        if low * (1 - TIE) <= least <= high * (1 + TIE) and low * (1 - TIE) <= most <= high * (1 + TIE)
    ]
    mean = sum(math.log(seen.ratio) * weight for seen, weight in served) / sum(weight for _, weight in served)
    return min(max(math.exp(mean), least), most)
