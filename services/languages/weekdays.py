"""The days of the week that a text speaks of, in whatever way its language names them. Next: data/weekdays.toml."""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

import msgspec
from babel import Locale

from tidegate.services.languages.folding import fold_letters
from tidegate.services.languages.words import Patterns

WORKING = frozenset(range(5))
WEEKEND = frozenset((5, 6))
WEEK = frozenset(range(7))
_MARKS_OF_SHORT_SPANS = ("-", "–", "—", ". ")
_ALTERNATIVES = re.compile(r"\|(?![^(]*\))")
_LITERAL = re.compile(r"[a-z][a-z ]*(?![?*])")
"""The letters with which a pattern begins, whatever follows."""


class WeekdayWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one language names days; see the data file."""

    days: Patterns
    short: Patterns
    to: str
    working: str
    weekend: str
    every: str


@lru_cache(maxsize=4096)
def find_weekdays(text: str, language: str) -> frozenset[int]:
    """The days that a text in `language` names, Monday as 0, with those between the first and the last of a span
    (`Monday to Friday`, `Sa-Mo`). None in a language that is not in the data."""
    patterns = _patterns(language)
    if patterns is None:
        return frozenset()
    plain = fold_letters(text)
    has_stem = any(stem in plain for stem in patterns.stems)  # most texts have none: 3 of 40 us
    if not has_stem and not any(mark in plain for mark in _MARKS_OF_SHORT_SPANS):
        return frozenset()
    found = {number for number, day in enumerate(patterns.days) if has_stem and day.search(plain)}
    for span in patterns.spans.finditer(plain):
        first, last = (_number_of(span, end) for end in ("first", "last"))
        found |= {(first + ahead) % 7 for ahead in range((last - first) % 7 + 1)}
    return frozenset(found).union(*(members for group, members in patterns.groups if group.search(plain)))


@cache
def weekday_names(language: str) -> tuple[str, ...]:
    """The names of the days in a language (ISO 639-1), Monday first, by the Unicode CLDR."""
    names = Locale.parse(language).days["format"]["wide"]
    return tuple(names[number] for number in range(7))


def _number_of(span: re.Match[str], end: str) -> int:
    return next(number for number in range(7) if span[f"{end}{number}"] is not None)


@cache
def _load() -> dict[str, WeekdayWords]:
    text = (files("tidegate.services.languages") / "data" / "weekdays.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, WeekdayWords])


class _Patterns(NamedTuple):
    """What finds a day, a span of days, and a group of them; a text with none of the `stems` has no long name."""

    stems: tuple[str, ...]
    days: tuple[re.Pattern[str], ...]
    spans: re.Pattern[str]
    groups: tuple[tuple[re.Pattern[str], frozenset[int]], ...]


@cache
def _patterns(language: str) -> _Patterns | None:
    words = _load().get(language)
    if words is None:
        return None
    ends = [
        "|".join(
            f"(?P<{end}{number}>{day}|{short})"
            for number, (day, short) in enumerate(zip(words.days, words.short, strict=True))
        )
        for end in ("first", "last")
    ]
    article = r"(?:(?:el|le|il|la|o|an?|on)\s+)?"
    named = ((words.working, WORKING), (words.weekend, WEEKEND), (words.every, WEEK))
    stems = [_LITERAL.match(each) for pattern in (*words.days, *dict(named)) for each in _ALTERNATIVES.split(pattern)]
    return _Patterns(
        tuple({found[0] for found in stems if found}),
        tuple(re.compile(rf"\b(?:{day})\b") for day in words.days),
        re.compile(rf"\b(?:{ends[0]})\b\.?(?:\s*[-–—]\s*|\s+(?:{words.to})\s+{article})(?:{ends[1]})\b"),
        tuple((re.compile(rf"\b(?:{pattern})\b"), members) for pattern, members in named),
    )
