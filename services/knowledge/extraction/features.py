"""What speaks for a candidate being a field's value, as numbers in a fixed order.

Promises the same numbers for the same text and schema. Next: ranker.py, which weighs them."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import numpy.typing as npt

from tidegate.services.knowledge.extraction.candidates import ValueCandidate, listed
from tidegate.services.knowledge.extraction.edge_features import (
    EDGE_FEATURES,
    edge_features,
    look_names,
    wanted_looks,
)
from tidegate.services.knowledge.extraction.terms import OWN, PERSONS, FieldQuery, match_words
from tidegate.services.knowledge.extraction.text_view import TextView
from tidegate.services.knowledge.extraction.value_features import (
    TEXT_FEATURES,
    UNIT_FEATURES,
    text_features,
    unit_features,
)
from tidegate.services.languages.extraction_words import all_words, any_of, fold
from tidegate.services.languages.words import join_patterns

_IS = join_patterns(lambda words: words.copulas)
_LEAD = re.compile(rf"(?<=[\s:])(?:{any_of('addresses')}|{any_of('number_signs')})\.?\s?$", re.IGNORECASE)
_OWN = 0.9
_COLUMN = re.compile(r"[^\s]*[ \t]{2,}[-−€£$]?\d")
_BEFORE, _BEHIND = 13, 8
"""Words before a candidate, and behind it, that may speak of it."""
_LEFT_DECAY, _RIGHT_DECAY, _BREAK, _FAR = 0.88, 0.75, 0.6, 0.3
_SHAPES = listed(
    "label_value name titled titled_name name_part code labelled quoted span numeral word duration clock clock_dot "
    "clock_bare date date_without_year date_range date_in_doubt day token"
)
_CROSSES = listed(
    "signature customer company contact person technician address place product machine number start end deadline "
    "previous new measured target total net phone quantity reason"
)
_WORDED = frozenset(listed("label_value name titled titled_name name_part code labelled quoted span"))
_CROSSED = listed("last first corrected position followed renewed range_start range_end most least")


class _RivalFields:
    """The fields that the same kind of value would do for, their words in one array: one by one each of them would cost
    as much for a candidate as all of its other features."""

    def __init__(self, rivals: list[FieldQuery], view: TextView) -> None:
        matched = [(match_words(each, view), np.array([term.weight for term in each.terms])) for each in rivals]
        named = [each for each in matched if each[1].sum() and each[0].any()]
        self._matches = np.concatenate([matches for matches, _ in named]) if named else np.zeros((0, 0))
        self._weights = np.concatenate([weights for _, weights in named]) if named else np.zeros(0)
        self._begins = np.cumsum([0, *(len(weights) for _, weights in named)])[:-1]
        self._totals = np.array([weights.sum() for _, weights in named])

    def best_near(self, window: npt.NDArray[np.float64], first: int, last: int) -> float:
        """How much of its terms the rival that is named best near the words `first` to `last` has there; see `cover`.
        Words farther away count nothing in the window."""
        near = slice(max(0, first - _BEFORE), last + _BEHIND)
        if not len(self._totals) or not window[near].size:
            return 0.0
        weighed = (self._matches[:, near] * window[near]).max(axis=1) * self._weights
        return float((np.add.reduceat(weighed, self._begins) / self._totals).max())


class FieldFeatures:
    """The features of one field's candidates in one text."""

    def __init__(self, asked: FieldQuery, view: TextView, rivals: list[FieldQuery]) -> None:
        """`rivals` are the other fields that the same kind of value would do for."""
        self._asked, self._view = asked, view
        self._matches = match_words(asked, view)
        self._weights = np.array([term.weight for term in asked.terms])
        self._rivals = _RivalFields(rivals, view)
        self._clauses = np.array([word.clause for word in view.words])
        self._lines = np.array([word.line for word in view.words])
        self._starts = np.array([word.start for word in view.words])
        shared = {term.stem for rival in rivals for term in rival.terms}
        self._own = np.array([term.weight * (term.stem not in shared) for term in asked.terms])

    def best_anywhere(self) -> float:
        """How much of the field's terms the text says at all."""
        return cover(self._matches, self._weights, np.ones(len(self._view.words)))

    def rows(self, candidates: list[ValueCandidate]) -> npt.NDArray[np.float64]:
        """One row of features for each candidate; see `feature_names`."""
        starts = sorted({each.start for each in candidates})
        return np.array([self._row(each, candidates, starts) for each in candidates])

    def _row(self, candidate: ValueCandidate, among: list[ValueCandidate], starts: list[int]) -> list[float]:
        view = self._view
        first, last = view.word_range(candidate.start, candidate.end)
        left, right, line, inside = self._windows(candidate, first, last, starts)
        covered = [cover(self._matches, self._weights, window) for window in (left, right, line, inside)]
        own = [cover(self._matches, self._own, window) for window in (left, right, inside)]
        rival = self._rivals.best_near(np.maximum(left, right), first, last)
        near = max(covered[0], covered[1])
        clause = view.clause_of(candidate.start)
        whole = (self._clauses == clause).astype(float)
        in_clause = cover(self._matches, self._weights, whole)
        before = view.text[max(0, candidate.start - 3) : candidate.start]
        written = view.text[candidate.start : candidate.end]
        basic = [
            *(*covered, *own, rival, near - rival, near > 0.4, near > 0.8, in_clause),
            *(cover(self._matches, self._own, whole), _touches(self._matches, first)),
            *(":" in before or "=" in before, "(" in before, "\n" in before or not before),
            *(candidate.start / max(1, len(view.text)), candidate.end >= len(view.text.rstrip()) - 2),
            *(view.line_of(candidate.start) == 0, clause == len(view.clauses) - 1, clause == 0),
            *(len(among) == 1, len({str(each.value) for each in among}) == 1, (last - first) / 4, candidate.value == 0),
            *(starts[0] == candidate.start, starts[-1] == candidate.start, self._is_exact_label(first, candidate)),
            *self._corrected(candidate, clause),
            *_range_ends(candidate, among),
            *unit_features(self._asked, candidate),
            *text_features(self._asked, candidate, written),
            *edge_features(candidate, view, first, last),
            *_order(candidate, among),
            *self._neighbours(first, last),
        ]
        shape = "token" if candidate.shape.startswith("token") else candidate.shape
        row = [float(each) for each in basic] + [float(shape == each) for each in _SHAPES]
        return row + self._crosses(row)

    def _windows(
        self, candidate: ValueCandidate, first: int, last: int, starts: list[int]
    ) -> list[npt.NDArray[np.float64]]:
        """How near each word is, before, behind, on the same line before, inside."""
        view, count = self._view, len(self._view.words)
        left, right, inside = (np.zeros(count) for _ in range(3))
        inside[first:last] = 1.0
        clause, number = view.clause_of(candidate.start), view.line_of(candidate.start)
        breaks = view.breaks
        for n in range(first - 1, max(-1, first - _BEFORE - 1), -1):
            word = view.words[n]
            if word.clause != clause:
                if view.line_of(word.start) < number - 1 or word.clause < clause - 1:
                    break
                left[n] = _FAR * 0.9 ** (first - 1 - n) if word.clause == clause - 1 else 0.0
                continue
            crossed = breaks[min(first, count - 1)] - breaks[n]
            between = (
                sum(word.start < start < candidate.start for start in starts) if self._asked.family != "string" else 0
            )
            left[n] = _LEFT_DECAY ** (first - 1 - n) * _BREAK ** min(crossed, 3) * 0.75 ** min(between, 3)
        for n in range(last, min(count, last + _BEHIND)):
            word = view.words[n]
            if word.clause != clause:
                break
            crossed = breaks[n] - breaks[max(0, last - 1)] if last else 0
            between = (
                sum(candidate.end <= start < word.start for start in starts) if self._asked.family != "string" else 0
            )
            right[n] = _RIGHT_DECAY ** (n - last) * 0.5 ** min(crossed, 3) * 0.5 ** min(between, 3)
        line = ((self._lines == number) & (self._starts < candidate.start)).astype(float)
        return [left, right, line, inside]

    def _is_exact_label(self, first: int, candidate: ValueCandidate) -> bool:
        """Whether the field's own words, all and in order, stand right before the candidate and begin their clause:
        `Total: 12.00`, but not in `Subtotal: 10.00` or `VAT on total: 2.00`."""
        own, view = [term for term in self._asked.terms if term.weight == OWN], self._view
        if first and view.words[first - 1].folded in _leads() and self._matches[:, first - 1].max(initial=0.0) < _OWN:
            first -= 1  # the title before a whole name, and `no.` before a code, are no part of it
        begin = first - len(own)
        if not own or begin < 0 or any(self._matches[n, begin + n] < 0.94 for n in range(len(own))):
            return False
        gap = _LEAD.sub("", view.text[view.words[first - 1].end : candidate.start])
        if not gap.strip(" *€£$") and "  " not in gap and min(self._matches[n, begin + n] for n in range(len(own))) < 1:
            return False  # `Rung 5` is no value of `rungs`
        if "  " in gap and _COLUMN.match(view.text, candidate.end):
            return False  # one of several columns, of which the row's name says nothing
        if not re.fullmatch(rf"\s*(?:[:=]|\b(?:{_IS})\b|\s{{2,}}|\|)?[\s*€£$]*(?:[A-Z]{{3}}\s)?", gap):
            return False
        if re.search(r"[^\W_]-$", view.text[: view.words[begin].start][-2:]):
            return False  # `Sous-total` is no `total`
        before = view.text[: view.words[begin].start].rstrip(" \t*-•")
        return not before or before[-1] in "\n,;.:|(" or ":" in gap

    def _corrected(self, candidate: ValueCandidate, clause: int) -> list[float]:
        view = self._view
        start = view.clauses[clause][0]
        before = fold(view.text[max(start, candidate.start - 34) : candidate.start]).rstrip(" (\"'„“")
        after = fold(view.text[candidate.end : candidate.end + 24]).strip()
        words = [word for word in all_words("corrections") if before.endswith(" " + word) or before == word]
        negated = sum(view.clauses[clause][0] <= at < candidate.start for at in view.negations)
        near = any(candidate.start - 12 <= at < candidate.start for at in view.negations)
        follows = any(after.startswith(word) for word in all_words("corrections") if len(word) > 2)
        renewed = any(before.endswith(" " + word) or before == word for word in all_words("renewals"))
        return [float(bool(words)), float(negated > 0), float(near), float(follows), float(renewed)]

    def _crosses(self, row: list[float]) -> list[float]:
        """What a field of some kinds prefers: the end of the text, its beginning, a name."""
        concepts = self._asked.concepts
        places = {"last": "is_last_clause", "first": "is_first_clause"}
        values = [row[_INDEX[places.get(what, what)]] for what in _CROSSED]
        crossed = [float(concept in concepts) * value for concept in _CROSSES for value in values]
        is_person = float(bool(concepts & PERSONS))
        looks = wanted_looks(self._asked, row, _INDEX)
        return [*crossed, is_person * values[0], is_person * values[1], is_person * row[_INDEX["greeted"]], *looks]

    def _neighbours(self, first: int, last: int) -> list[float]:
        """How well the words right before and right behind match a term, and those inside at either end."""
        count = len(self._view.words)
        around = (first - 1, last, first, last - 1)
        return [float(self._matches[:, n].max(initial=0.0)) if 0 <= n < count else 0.0 for n in around]


_BASIC = (
    *listed("left right line inside own_left own_right own_inside rival margin near very_near in_clause own_in_clause"),
    *listed("touches colon bracket line_start position is_last first_line is_last_clause is_first_clause is_only"),
    *listed("is_only_value words is_zero is_first is_final exact_label corrected negated denied followed renewed"),
    *("range_start", "range_end", *UNIT_FEATURES, *TEXT_FEATURES, *EDGE_FEATURES, "most", "least"),
    *listed("word_before word_behind word_first word_last"),
)
_INDEX = {name: n for n, name in enumerate(_BASIC)}


@cache
def feature_names() -> tuple[str, ...]:
    """The name of each feature, in the order of a row."""
    crossed = [f"{concept}×{what}" for concept in _CROSSES for what in _CROSSED]
    persons = ("person×last", "person×first", "person×greeted")
    return (*_BASIC, *(f"is_{shape}" for shape in _SHAPES), *crossed, *persons, *look_names())


def cover(matches: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], window: npt.NDArray[np.float64]) -> float:
    """The share of the terms that words in the window match, by weight."""
    total = float(weights.sum())
    if not total or not window.size:
        return 0.0
    return float(((matches * window).max(axis=1) * weights).sum() / total)


def _range_ends(candidate: ValueCandidate, among: list[ValueCandidate]) -> tuple[float, float]:
    """Whether another candidate stands close behind this one, and close before it, as in `8 to 12`."""
    behind = any(0 < other.start - candidate.end <= 16 for other in among)
    before = any(0 < candidate.start - other.end <= 16 for other in among)
    return float(behind), float(before)


def _order(candidate: ValueCandidate, among: list[ValueCandidate]) -> tuple[float, float]:
    """Whether a number or a date is the greatest, and the least, of those of its unit."""
    if candidate.shape in _WORDED:
        return 0.0, 0.0
    values = [other.value for other in among if other.unit == candidate.unit]
    return float(candidate.value >= max(values)), float(candidate.value <= min(values))


@cache
def _leads() -> frozenset[str]:
    """Words that lead a name or a code and are no part of it, folded."""
    return all_words("addresses") | all_words("number_signs")


def _touches(matches: npt.NDArray[np.float64], first: int) -> float:
    """Whether one of the two words before matches a term."""
    return float(matches[:, max(0, first - 2) : first].max(initial=0.0))
