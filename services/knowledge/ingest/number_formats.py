"""A cell's value as Excel shows it: shares as percentages, amounts with their currency, dates as ISO 8601."""

from __future__ import annotations

import datetime
import re
from typing import Any

_UNSHOWN = re.compile(r"\[(?!\$)[^\]]*\]|_.|\*.")
_CURRENCY = re.compile(r"\[\$([^\]-]*)[^\]]*\]")
_LITERAL = re.compile(r'"([^"]*)"|\\(.)')
_DIGITS = re.compile(r"[#0?][#0?,]*(?:\.([0#?]+))?")
_MOST_DECIMALS = 10


def show_value(value: Any, number_format: str) -> str:
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
            return _show_number(value, number_format)
    text = str(value)
    return "" if re.fullmatch(r"#(?:REF!|N/A|VALUE!|NAME\?|DIV/0!|NULL!|NUM!)", text) else text


def _show_number(value: float, number_format: str) -> str:
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
        return _plain(value)
    decimals = min(len(digits[1] or ""), _MOST_DECIMALS)
    is_share = "%" in pattern
    grouped = "," if "," in digits[0].rstrip(",") else ""
    number = f"{value * 100 if is_share else value:{grouped}.{decimals}f}"
    remaining = iter(literals)
    before, after = (_restore(part, remaining) for part in (pattern[: digits.start()], pattern[digits.end() :]))
    return f"{before}{number}{after}".strip()


def _restore(part: str, literals: Any) -> str:
    return "".join(next(literals, "") if character == "\x00" else character for character in part)


def _plain(value: float) -> str:
    """Without a tail of zeros, and with no more digits than Excel has."""
    return f"{value:.10g}" if isinstance(value, float) and abs(value) < 1e10 else str(value)
