"""Finds days whose month or year is told elsewhere in a text: `8 to 12 June 2026`, `Friday 16th`, `el 23`.

Promises real calendar days, and the day of the week where the text names it. Next: dates.py, which finds the others."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from functools import cache

from babel import Locale

from tidegate.services.knowledge.extraction.candidates import ValueCandidate, is_inside
from tidegate.services.knowledge.extraction.numbers import unit_of
from tidegate.services.languages.extraction_words import all_words, any_of, fold
from tidegate.services.languages.words import LANGUAGES

DAY = "day"
"""The shape of a day without its month: what may as well be another number."""
_RANGE_HEAD = re.compile(
    r"(?<![\w.,/:])(?P<day>\d{1,2})\.?(?:st|nd|rd|th)?\s*"
    rf"(?:[-–]|(?P<comma>,)|\b(?:{any_of('until')})\b(?:\s+[^\W\d_]{{2,10}}\.?,?)?)\s*$",
    re.IGNORECASE,
)
_LONE = re.compile(
    rf"(?<![\w-])(?:(?P<weekday>[^\W\d_]{{2,10}})\.?,?\s+)?(?:(?P<lead>{any_of('day_leads')})\s+)?"
    r"(?P<day>\d{1,2})(?P<mark>st|nd|rd|th|\.(?!\d))?(?![\w:/-]|[.,]\d|\s?[€£$%°])(?:\s(?P<behind>[^\W\d_]+))?",
    re.IGNORECASE,
)
_NEARBY = 48
"""Characters before the last day of a span in which the first is looked for."""


def calendar_day(year: int, month: int, day: int, start: int, end: int, shape: str) -> list[ValueCandidate]:
    """The day that stands at `start` to `end`; none where the calendar has no such day."""
    try:
        return [ValueCandidate(datetime.date(year, month, day).isoformat(), start, end, shape)]
    except ValueError:
        return []


def find_range_heads(text: str, found: Sequence[ValueCandidate]) -> list[ValueCandidate]:
    """The first days of spans, and those of lists such as `4, 5 and 6 May`, whose month stands behind the last."""
    heads: list[ValueCandidate] = []
    open_ends = sorted(found, key=lambda one: one.start)
    while open_ends:
        later = open_ends.pop()
        match = _RANGE_HEAD.search(text, max(0, later.start - _NEARBY), later.start)
        is_listed = match is not None and match["comma"] and later.shape != "date_range"
        if match is None or is_listed or is_inside(*match.span("day"), [*found, *heads]):
            continue
        year, month, last = (int(part) for part in later.value.split("-"))
        if int(match["day"]) < last:
            heads += (own := calendar_day(year, month, int(match["day"]), *match.span("day"), "date_range"))
            open_ends += own
    return heads


def find_lone_days(
    text: str, found: Sequence[ValueCandidate], months: Sequence[tuple[int, datetime.date]]
) -> Iterator[ValueCandidate]:
    """Days by their number alone, in the month of the date before them (or of the first one): behind a day of the week,
    or behind an article with the mark of an ordinal number where the language writes one. `months` are those that the
    text names without a day, and where."""
    known = [(each.start, datetime.date.fromisoformat(each.value)) for each in found] + [*months]
    known.sort()
    for match in _LONE.finditer(text) if known else ():
        weekday = weekdays().get(fold(match["weekday"] or ""), -1)
        behind = match["behind"] or ""
        is_day = weekday >= 0 or (match["lead"] and _is_written_as_day(match))
        if not is_day or is_inside(*match.span("day"), [*found]) or unit_of(behind):
            continue
        before = [day for start, day in known if start < match.start()]
        near = before[-1] if before else known[0][1]
        is_later = bool(before) and int(match["day"]) < near.day
        for ahead in (0, 1, -1, 2) if weekday >= 0 else (int(is_later),):
            month = near.year * 12 + near.month - 1 + ahead
            own = calendar_day(month // 12, month % 12 + 1, int(match["day"]), *match.span("day"), DAY)
            if own and (weekday < 0 or datetime.date.fromisoformat(own[0].value).weekday() == weekday):
                yield own[0]
                break


def _is_written_as_day(match: re.Match[str]) -> bool:
    """`the 15th`, `am 23.`, `el 23`, `le 5`; `the 5` and `am 5` are no days."""
    return bool(match["mark"]) or fold(match["lead"]) in all_words("day_articles")


@cache
def weekdays() -> dict[str, int]:
    """The folded names of the days in every language, wide and abbreviated, Monday as 0 (Unicode CLDR)."""
    found: dict[str, int] = {}
    for language in LANGUAGES:
        for width in ("wide", "abbreviated", "short"):
            names = Locale.parse(language).days["format"][width]
            found |= {fold(name).rstrip("."): number for number, name in names.items() if fold(name) not in found}
    return found
