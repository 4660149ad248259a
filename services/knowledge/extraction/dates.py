"""Finds dates and times of day in a text. Promises ISO 8601, real calendar days only, and no guess where day and month
could be exchanged and the language does not say which is which. Month names are those of the Unicode CLDR (`babel`).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from functools import cache

from babel import Locale

from tidegate.services.knowledge.extraction.candidates import ValueCandidate, is_inside
from tidegate.services.knowledge.extraction.lone_days import calendar_day, find_lone_days, find_range_heads
from tidegate.services.languages.extraction_words import all_zones, fold, load_extraction_words
from tidegate.services.languages.words import LANGUAGES

_ISO = re.compile(r"(?<!\d)(\d{4})([-/.])(\d{2})\2(\d{2})(?!\d)")
_NUMERIC = re.compile(r"(?<![\d.,/-])(\d{1,2})([./-])\s?(\d{1,2})\2\s?(\d{4}|\d{2})(?![\d/-]|\.\d)")
_DAY_MONTH = re.compile(r"(?<![\d.,/€£$])(?<![€£$]\s)(\d{1,2})\.(\d{1,2})\.(?!\d)")
_NAMED = re.compile(
    r"(?<![\d.,])(?P<day>\d{1,2})(?:\.|st|nd|rd|th|er|º)?(?:\s+(?:de|of))?[\s-]+(?P<month>[^\W\d_]{3,10})\.?"
    r"(?:,?(?:\s+(?:de|del|of))?[\s-]+(?P<year>\d{4}))?(?!\w)"
)
_MONTH_FIRST = re.compile(
    r"(?<!\w)(?P<month>[^\W\d_]{3,10})\.?\s+(?P<day>\d{1,2})(?:st|nd|rd|th)?(?![\d.:])(?:,?\s+(?P<year>\d{4}))?(?!\w)"
)
_HYPHENED = re.compile(r"(?<![\w-])(?P<day>\d{1,2})-(?P<month>[^\W\d_]{3,10})-(?P<year>\d{2})(?![\w-])")
_MONTH_YEAR = re.compile(r"(?<!\w)(?P<month>[^\W\d_]{3,10})\.?,?\s+(?:(?:de|del|of)\s+)?(?P<year>20\d{2})(?![\w/])")
_LONE_YEAR = re.compile(r"(?<![\w.,/-])20\d{2}(?![\w/-]|[.,]\d)")
_CLOCK = re.compile(
    r"(?<![\d.,:/])(?<!\d-)(?P<hour>[01]?\d|2[0-4])(?:(?P<sep>[:.]|\s?h\s?)(?P<minute>[0-5]\d)|\s?(?P<whole>h\b|uhr\b))?"
    r"\s?(?P<half>[ap]\.?m\b\.?)?(?=:\d{2}(?:Z|[+-]|\b))?(?![\d/%€£$]|[.,-]\d)",
    re.IGNORECASE,
)


_CLOCK_SHAPES = {":": "clock", ".": "clock_dot", "h": "clock_h"}
_SECONDS_AND_ZONE = re.compile(r"(?::(\d{2}))?\s?(?:\(?(?:UTC)?(Z\b|[+-]\d{2}:\d{2}))?")
_NAMED_ZONE = re.compile(
    r"(?:\s?[hH]\b)?\s?(?:Uhr\s)?\(?(?:[^()\d\n,]{1,24},\s(?:[^\W\d_]{1,6}\s)?)?"
    rf"(?:(?:UTC|GMT)\s?(?P<sign>[+-])(?P<hours>\d{{1,2}})(?::?(?P<minutes>\d{{2}}))?|(?P<name>{'|'.join(all_zones())})\b)\)?"
)


def find_dates(text: str, language: str) -> list[ValueCandidate]:
    """Calendar days as `YYYY-MM-DD`, in order; a day without a year has that of the nearest date that has one, or else
    of a month, or the only year that the text names."""
    found = [*_complete(text, language)]
    months = [
        (match.start(), datetime.date(int(match["year"]), month, 1))
        for match in _MONTH_YEAR.finditer(text)
        if (month := _months().get(fold(match["month"])))
    ]
    years = [(each.start, int(each.value[:4])) for each in found] or [(start, day.year) for start, day in months]
    if not years:
        lone = {match[0] for match in _LONE_YEAR.finditer(text)}
        years = [(0, int(each)) for each in lone] if len(lone) == 1 else []
    for match in (*_NAMED.finditer(text), *_MONTH_FIRST.finditer(text)):
        month = _months().get(fold(match["month"]))
        if month and not match["year"] and years and not is_inside(*match.span(), found):
            year = min(years, key=lambda each: abs(each[0] - match.start()))[1]
            end = match.end()
            found += calendar_day(year, month, int(match["day"]), match.start(), end, "date_without_year")
    for match in _DAY_MONTH.finditer(text):
        if years and not is_inside(*match.span(), found):
            year = min(years, key=lambda each: abs(each[0] - match.start()))[1]
            found += calendar_day(year, int(match[2]), int(match[1]), match.start(), match.end(), "date_without_year")
    found += find_range_heads(text, found)
    found += [*find_lone_days(text, found, months)]
    return sorted(found, key=lambda each: each.start)


def find_impossible_dates(text: str) -> list[ValueCandidate]:
    """What is written as a date and is no day of the calendar, such as `30.02.2026`: no value, and no number either."""
    return [ValueCandidate(None, *match.span(), "date") for match in _NUMERIC.finditer(text)]


def _complete(text: str, language: str) -> Iterator[ValueCandidate]:
    for match in _ISO.finditer(text):
        yield from calendar_day(int(match[1]), int(match[3]), int(match[4]), *match.span(), "date")
    for match in _NUMERIC.finditer(text):
        yield from _numeric(match, language)
    for pattern in (_NAMED, _MONTH_FIRST, _HYPHENED):
        for match in pattern.finditer(text):
            month = _months().get(fold(match["month"]))
            if month and match["year"]:
                year = int(match["year"]) + (2000 if len(match["year"]) == 2 else 0)
                yield from calendar_day(year, month, int(match["day"]), match.start(), match.end(), "date")


def _numeric(match: re.Match[str], language: str) -> Iterator[ValueCandidate]:
    """`31/12/2020`; where both could be the month, dots and languages but English put the day first."""
    first, second = int(match[1]), int(match[3])
    year = int(match[4]) if len(match[4]) == 4 else 2000 + int(match[4])
    if first > 12 or match[2] == "." or language != "en" or first == second:
        yield from calendar_day(year, second, first, *match.span(), "date")
    elif second > 12:
        yield from calendar_day(year, first, second, *match.span(), "date")
    else:
        yield from (
            msg
            for msg in (
                *calendar_day(year, second, first, *match.span(), "date_in_doubt"),
                *calendar_day(year, first, second, *match.span(), "date_in_doubt"),
            )
        )


@cache
def _months() -> dict[str, int]:
    """The folded names of the months in every language, wide and abbreviated."""
    found: dict[str, int] = {}
    for language in LANGUAGES:
        for form in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                names = Locale.parse(language).months[form][width]
                found |= {fold(name).rstrip("."): number for number, name in names.items()}
    return (
        found
        | {name[:3]: number for name, number in found.items() if number != 6 and number != 7 and len(name) > 3}
        | {"sept": 9}
    )


def find_times(text: str, language: str, taken: list[ValueCandidate]) -> Iterator[ValueCandidate]:
    """Times of day as `HH:MM`; an hour alone only with a word or a mark that says so, or in a range with another."""
    for match in _CLOCK.finditer(text):
        start, end = match.span()
        while end > start and text[end - 1].isspace():
            end -= 1
        if is_inside(start, end, taken):
            continue
        hour, minute = int(match["hour"]), int(match["minute"] or 0)
        half = (match["half"] or "").lower()
        evening = half.startswith("p") or (match["minute"] and _is_evening(text, match.end(), language))
        if evening and hour < 12:
            hour += 12
        if half.startswith("a") and hour == 12:
            hour = 0
        is_clock = match["minute"] or match["whole"] or half
        shape = "clock_bare" if not is_clock else _CLOCK_SHAPES.get((match["sep"] or ":").strip().lower(), "clock")
        if hour <= 24:
            yield ValueCandidate(f"{hour % 24:02}:{minute:02}", start, end, shape)
    yield from _worded_times(text, language)


def _is_evening(text: str, end: int, language: str) -> bool:
    after = fold(text[end : end + 24]).lstrip()
    return any(after.startswith(fold(word)) for word in load_extraction_words(language).words.evening)


def _worded_times(text: str, language: str) -> Iterator[ValueCandidate]:
    words = load_extraction_words(language)
    hours = {fold(word): int(value) for word, value in words.numbers.items() if 1 <= value <= 12}
    for lead in words.words.half:
        for match in re.finditer(rf"\b{lead}\s+([^\W_]+)", text, re.IGNORECASE):
            hour = int(match[1]) if match[1].isdigit() else hours.get(fold(match[1]), 0)
            if 1 <= hour <= 12:
                hour -= language == "de"
                hour += 12 if _is_evening(text, match.end(), language) else 0
                yield ValueCandidate(f"{hour % 24:02}:30", match.start(), match.end(), "clock")


def read_zone(text: str, end: int) -> tuple[str, str, int]:
    """The seconds and the offset from UTC behind a time of day, as RFC 3339 writes them, and where they end."""
    match = _SECONDS_AND_ZONE.match(text, end)
    seconds = (match and match[1]) or "00"
    if match is not None and match[2]:
        return seconds, match[2], match.end()
    end = match.end(1) if match is not None and match[1] else end
    named = _NAMED_ZONE.match(text, end)
    if named is None:
        return seconds, "", end
    if named["name"]:
        return seconds, all_zones()[named["name"]], named.end()
    return seconds, f"{named['sign']}{int(named['hours']):02}:{named['minutes'] or '00'}", named.end()
