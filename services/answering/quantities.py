"""The numbers of a text with the units that stand by them, so that two texts can be held against each other.

Pure; next: `sentence_check`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

import msgspec

from tidegate.services.languages.extraction_words import fold, load_extraction_words
from tidegate.services.languages.words import LANGUAGES

_WORD = re.compile(r"[^\W\d_][^\W_]*(?:['’][^\W\d_]+)*|\d+(?:[.,:]\d+)*|[£$€¥%°]")
_THOUSANDS = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_SIGNS = frozenset("£$€¥%°")
_SHORT_UNIT = 2
REMEMBERED = 2048
"""Texts whose words are remembered: a check reads each clause a dozen times."""


class Quantity(msgspec.Struct, frozen=True):
    """A number in a text: its value, the unit beside it (empty: none), and its place among the words."""

    value: str
    unit: str
    at: int


def split_words(text: str) -> list[str]:
    """Words, numbers and signs of units, in order; folded."""
    return list(_words_of(text))


@lru_cache(maxsize=REMEMBERED)
def _words_of(text: str) -> tuple[str, ...]:
    return tuple(fold(word) for word in _WORD.findall(text))


@lru_cache(maxsize=REMEMBERED)
def quantities_of(text: str, language: str) -> tuple[Quantity, ...]:
    """`find_quantities` of a text."""
    return tuple(find_quantities(split_words(text), language))


def find_quantities(words: list[str], language: str) -> list[Quantity]:
    """Every number among the words, in digits or spelled. A lone `one` is none: it is more often a pronoun."""
    numbers, units = _numbers(language), _units(language)
    found = []
    for at, word in enumerate(words):
        unit = _unit_beside(words, at, units)
        if word[0].isdigit():
            found.append(Quantity(_canonical(word), unit, at))
        elif word in numbers and (numbers[word] != "1" or unit):
            found.append(Quantity(numbers[word], unit, at))
    return found


def leave_out_quantities(text: str, language: str) -> str:
    """The words of a text that are neither numbers nor words for units, as they are spelled."""
    words = split_words(text)
    numbers = {quantity.at for quantity in find_quantities(words, language)}
    kept = [at for at, word in enumerate(words) if at not in numbers and word not in _units(language)]
    spelled = _WORD.findall(text)
    return " ".join(spelled[at] for at in kept)


def unit_words(language: str) -> frozenset[str]:
    """The words and signs of a language for units and currencies, folded."""
    return frozenset(_units(language))


def _unit_beside(words: list[str], at: int, units: dict[str, str]) -> str:
    behind = words[at + 1] if at + 1 < len(words) else ""
    if behind in _SIGNS or behind in units:
        return units.get(behind, behind)
    if at and words[at - 1] in _SIGNS:
        return units.get(words[at - 1], words[at - 1])
    after = words[at + 2] if at + 2 < len(words) else ""
    if after in units and behind.isalpha():  # three working days
        return units[after]
    is_short = behind.isalpha() and len(behind) <= _SHORT_UNIT and words[at][0].isdigit()
    return behind if is_short else ""


def _canonical(number: str) -> str:
    """`1,250.00`, `1250` and `1.250,00` alike; a time as it stands without a leading zero."""
    if ":" in number:
        return number.lstrip("0")
    whole, mark, part = number, "", ""
    if not _THOUSANDS.fullmatch(number):
        whole, mark, part = _split_decimals(number)
    digits = re.sub(r"[.,]", "", whole).lstrip("0") or "0"
    part = part.rstrip("0")
    return f"{digits}.{part}" if mark and part else digits


def _split_decimals(number: str) -> tuple[str, str, str]:
    at = max(number.rfind("."), number.rfind(","))
    return (number[:at], number[at], number[at + 1 :]) if at >= 0 else (number, "", "")


@cache
def _numbers(language: str) -> dict[str, str]:
    """Spelled numbers of a language, as the digits that they stand for."""
    if language not in LANGUAGES:
        return {}
    return {fold(word): f"{value:g}" for word, value in load_extraction_words(language).numbers.items()}


@cache
def _units(language: str) -> dict[str, str]:
    """Words and signs for a unit or a currency, as its name."""
    return dict(_list_units(language)) if language in LANGUAGES else {}


def _list_units(language: str) -> Iterator[tuple[str, str]]:
    yield "%", "percent"
    words = load_extraction_words(language)
    for kinds in (words.units, words.currencies):
        for name, spelled in kinds.items():
            for word in spelled:
                yield fold(word), name
    yield from (("£", "GBP"), ("$", "USD"), ("€", "EUR"), ("¥", "JPY"))
