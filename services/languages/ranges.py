"""Between which numbers something lies, as `under 12 years`, `2 to 5 hours` or `ab 65`. Next: data/ranges.toml.

Pure. Promises no range where a text names a number alone.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from math import inf
from typing import NamedTuple

import msgspec

from tidegate.services.languages.folding import fold_letters

_NUMBER = r"\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d{1,2})?"
_THOUSANDS = re.compile(r"(?<=\d)[.,' ](?=\d{3}(?!\d))")
_UNIT = r"(?:\s*(?P<unit{0}>(?:[^\W\d_]+|[€$£%°])[23]?))?"
UNIT_LETTERS = 3
"""Letters by which two forms of a unit are one: `Jahre` and `Jahren`; `an` and `ans` are two."""


class RangeWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one language says before, between and behind the numbers of a range; see the data file."""

    under: str
    until: str
    over: str
    since: str
    between: str
    and_more: str


class NumberRange(NamedTuple):
    """From `low` to `high`, each itself in it or not; `unit` are the first letters of what is counted, if anything."""

    low: float
    high: float
    has_low: bool
    has_high: bool
    unit: str

    def holds(self, number: float) -> bool:
        """Whether a number lies in it."""
        above = number >= self.low if self.has_low else number > self.low
        return above and (number <= self.high if self.has_high else number < self.high)

    def is_inside(self, other: NumberRange) -> bool:
        """Whether another range begins before this one or ends after it, and does neither the other way round."""
        return (self.low, self.high) != (other.low, other.high) and other.low <= self.low and self.high <= other.high


class CountedNumber(NamedTuple):
    """A number with the first letters of the word behind it; where it stands in the text."""

    value: float
    unit: str
    start: int
    end: int


def find_range(text: str, language: str) -> NumberRange | None:
    """The range that a text in `language` names; None for none, for more than one, and in a language that is not in
    the data."""
    forms = _forms(language)
    if forms is None:
        return None
    plain = fold_letters(text)
    found = []
    for kind, form in forms:
        found += [(kind, match) for match in form.finditer(plain)]
        plain = form.sub(lambda match: "\0" * len(match[0]), plain)
    if len(found) != 1 or any(letter.isdigit() for letter in plain):
        return None
    return _read(*found[0])


def find_numbers(text: str) -> list[CountedNumber]:
    """The numbers of a text, with what each counts."""
    return [
        CountedNumber(_value(match[1]), _unit(match["unit1"]), match.start(), match.end(1))
        for match in re.finditer(rf"(?<![\w.,])({_NUMBER})(?![\w.,]*\d){_UNIT.format(1)}", fold_letters(text))
    ]


def _read(kind: str, match: re.Match[str]) -> NumberRange:
    first = _value(match["first"])
    unit = _unit(match["unit1"])
    match kind:
        case "between":
            return NumberRange(first, _value(match["last"]), True, True, _unit(match["unit2"]) or unit)
        case "under" | "until":
            return NumberRange(-inf, first, True, kind == "until", unit)
        case _:
            return NumberRange(first, inf, kind != "over", True, unit)


def _value(written: str) -> float:
    return float(_THOUSANDS.sub("", written).replace(",", "."))


def _unit(word: str | None) -> str:
    return (word or "")[:UNIT_LETTERS]


@cache
def _load() -> dict[str, RangeWords]:
    text = (files("tidegate.services.languages") / "data" / "ranges.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, RangeWords])


@cache
def _forms(language: str) -> list[tuple[str, re.Pattern[str]]] | None:
    """What finds each kind of range, in the order in which they are looked for."""
    words = _load().get(language)
    if words is None:
        return None
    first, last = rf"(?P<first>{_NUMBER}){_UNIT.format(1)}", rf"(?P<last>{_NUMBER}){_UNIT.format(2)}"
    before = rf"(?<!\w)(?:(?:{words.since})\s+)?"
    forms = {
        "between": rf"{before}(?:[€$£]\s?)?{first}(?:\s*[-–—]\s*|\s+(?:{words.between})\s+)(?:[€$£]\s?)?{last}",
        "since_more": rf"{first}\s*(?:\+|{words.and_more})",
        "under": rf"(?<!\w)(?:{words.under})\s*(?:[€$£]\s?)?{first}",
        "until": rf"(?<!\w)(?:{words.until})\s+(?:[€$£]\s?)?{first}",
        "over": rf"(?<!\w)(?:{words.over})\s*(?:[€$£]\s?)?{first}",
        "since": rf"(?<!\w)(?:{words.since})\s+(?:[€$£]\s?)?{first}",
    }
    return [(kind, re.compile(form)) for kind, form in forms.items()]
