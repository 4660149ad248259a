"""Finds telephone numbers: a cheap pattern for what could be one, then the numbering plans; next: detector.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from phonenumbers import Leniency, PhoneNumberMatcher

from tidegate.services.privacy.dlp.context import DATE
from tidegate.services.privacy.dlp.finding import PersonalSpan

WINDOW = re.compile(r"[+(]?\d[\d ().\-/\u00b7]{5,60}\d")
LEAST_DIGITS = 7
CANDIDATES = 32
"""Beyond so many in one text every candidate counts as a number: more is hidden than need be, never less."""


def find_phones(text: str, regions: Sequence[str]) -> Iterator[PersonalSpan]:
    """Numbers that are valid in one of the regions, or anywhere when written with their country code."""
    tried = 0
    for window in WINDOW.finditer(text):
        digits = [letter for letter in window.group() if letter.isdecimal()]
        if len(digits) < LEAST_DIGITS or digits[-6:] == ["0"] * 6:
            continue
        tried += 1
        if tried > CANDIDATES:
            yield PersonalSpan("PHONE", window.start(), window.end())
            continue
        start, end = max(0, window.start() - 2), min(len(text), window.end() + 2)
        for region in regions:
            for match in PhoneNumberMatcher(text[start:end], region, Leniency.VALID, max_tries=8):
                if _is_written_so(match.raw_string, region):
                    yield PersonalSpan("PHONE", start + match.start, start + match.end)


def _is_written_so(raw: str, region: str) -> bool:
    """Dates and serial numbers can be valid too; what has no prefix of a number must at least be grouped like one."""
    if DATE.fullmatch(raw):
        return False
    if raw[0] in "+(0":
        return True
    return any(PhoneNumberMatcher(raw, region, Leniency.STRICT_GROUPING, max_tries=8))
