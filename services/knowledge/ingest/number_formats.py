"""A cell's value as Excel shows it to whoever wrote the workbook: shares as percentages, amounts with their currency,
numbers with the separators of its language, dates as ISO 8601. Next: workbook.py."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from babel import Locale

from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.languages.prose import PROSE_LANGUAGES

_UNSHOWN = re.compile(r"\[(?!\$)[^\]]*\]|_.|\*.")
_CURRENCY = re.compile(r"\[\$([^\]-]*)[^\]]*\]")
_LITERAL = re.compile(r'"([^"]*)"|\\(.)')
_DIGITS = re.compile(r"[#0?][#0?,]*(?:\.([0#?]+))?")
_MOST_DECIMALS = 10
_POINT_CURRENCIES = re.compile(r"(?<!R)\$|£|CHF|Fr\.|SFr")
"""Whose amounts have a decimal point in whatever language: in Mexico and in Switzerland too."""


_WORD = re.compile(r"[^\W\d_]+")
_COMMA_DECIMALS = re.compile(r"(?<![\d.,])\d+,\d\d(?![\d.,]*\d)")
_POINT_DECIMALS = re.compile(r"(?<![\d.,])\d+\.\d\d(?![\d.,]*\d)")
_LEAST_FOREIGN = 3
"""Words from which on a text is believed not to be English."""


class Separators(NamedTuple):
    """What stands between thousands and before decimals."""

    group: str = ","
    decimal: str = "."


ENGLISH = Separators()


def separators_of(language: str) -> Separators:
    """Those of a language (ISO 639-1), by the Unicode CLDR; a blank for whatever kind of it."""
    symbols = Locale(language).number_symbols["latn"]
    return Separators(" " if symbols["group"].isspace() else symbols["group"], symbols["decimal"])


def guess_separators(texts: Iterable[str]) -> Separators:
    """Those of the language that texts are in, English ones where that is not clear. A workbook says how many decimals
    a number has, and not which sign stands before them: Excel takes that from the system of whoever looks at it.

    Told by the numbers written out in the texts, by stop words, and by letters that English has not; the model that
    tells languages needs a file of its own, which the process that reads documents may not write.
    """
    text = " ".join(texts).lower()
    words = set(_WORD.findall(text))
    counts = {each: len(words) - len(find_terms(" ".join(words), each)) for each in PROSE_LANGUAGES}
    english = counts.pop("en")
    likeliest = max(counts, key=lambda each: counts[each])
    foreign = counts[likeliest] + sum(not word.isascii() for word in words)
    written = len(_COMMA_DECIMALS.findall(text)) - len(_POINT_DECIMALS.findall(text))
    is_foreign = written > 0 if written else foreign >= _LEAST_FOREIGN and foreign > 2 * english
    return separators_of(likeliest) if is_foreign else ENGLISH


def show_value(value: Any, number_format: str, separators: Separators = ENGLISH) -> str:
    """The text of a value; an empty one for none and for an error's name such as `#REF!`."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).upper()
        case datetime.datetime():
            has_time = (value.hour, value.minute, value.second) != (0, 0, 0)
            return f"{value:%Y-%m-%d %H:%M}" if has_time else f"{value:%Y-%m-%d}"
        case datetime.date():
            return value.isoformat()
        case datetime.time():
            return f"{value:%H:%M}"
        case datetime.timedelta():
            minutes = round(value.total_seconds() / 60)
            return f"{minutes // 60}:{minutes % 60:02}"
        case int() | float():
            own = ENGLISH if _POINT_CURRENCIES.search(number_format) else separators
            return _show_number(value, number_format, own)
    text = str(value)
    return "" if re.fullmatch(r"#(?:REF!|N/A|VALUE!|NAME\?|DIV/0!|NULL!|NUM!)", text) else text


def _show_number(value: float, number_format: str, separators: Separators) -> str:
    sections = number_format.split(";")
    shown = _UNSHOWN.sub("", sections[0])
    shown = _CURRENCY.sub(r'"\1"', shown)
    literals: list[str] = []

    def keep(found: re.Match[str]) -> str:
        literals.append(found[1] or found[2] or "")
        return "\x00"

    pattern = _LITERAL.sub(keep, shown)
    digits = _DIGITS.search(pattern)
    if digits is None or re.search(r"[eE][+-]|[?#0]/[?#0\d]", pattern):
        return _separate(_plain(value), separators)
    decimals = min(len(digits[1] or ""), _MOST_DECIMALS)
    is_share = "%" in pattern
    grouped = "," if "," in digits[0].rstrip(",") else ""
    number = f"{value * 100 if is_share else value:{grouped}.{decimals}f}"
    number = _separate(number, separators)
    remaining = iter(literals)
    before, after = (_restore(part, remaining) for part in (pattern[: digits.start()], pattern[digits.end() :]))
    return f"{before}{number}{after}".strip()


def _separate(number: str, separators: Separators) -> str:
    """A number written with commas between thousands and a decimal point, with these separators instead."""
    whole, point, decimals = number.partition(".")
    return whole.replace(",", separators.group) + point.replace(".", separators.decimal) + decimals


def _restore(part: str, literals: Any) -> str:
    return "".join(next(literals, "") if character == "\x00" else character for character in part)


def _plain(value: float) -> str:
    """Without a tail of zeros, and with no more digits than Excel has."""
    return f"{value:.10g}" if isinstance(value, float) and abs(value) < 1e10 else str(value)
