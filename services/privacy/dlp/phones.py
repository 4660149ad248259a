"""Finds telephone numbers by the numbering plans of ITU-T E.164; next: numbering_plans.py, detector.py.

A run of digits is read in groups, and every stretch of groups is held against the plans: linear in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tidegate.services.privacy.dlp.context import DATE
from tidegate.services.privacy.dlp.finding import PersonalSpan
from tidegate.services.privacy.dlp.numbering_plans import is_grouped_as, is_international, is_national

WINDOW = re.compile(r"[+(]{0,2}\d[\d ().+\-/\u00b7]{5,}\d")
GROUP = re.compile(r"([+(]{0,2})(\d+)")
TRUNK = re.compile(r"\(0\)")
STRONG_BREAK = re.compile(r".*(?:[/+(]|\s-|-\s|  )", re.DOTALL)
"""Between two numbers rather than inside one."""
RANGE = re.compile(
    r"(?<![\d.,/+(-])(?<!\d\s)(?:(?:0?[1-9]|[12]\d|3[01])[./](?:0?[1-9]|1[0-2])(?:\.?\s?-\s?|\s)(?:0?[1-9]|[12]\d|3[01])[./](?:0?[1-9]|1[0-2])|"
    r"(?:0?[1-9]|1[0-2])/(?:19|20)\d\d\s?-\s?(?:0?[1-9]|1[0-2])/(?:19|20)\d\d|"
    r"(?:[01]\d|2[0-4])(?:00|15|30|45)\s?-\s?(?:[01]\d|2[0-4])(?:00|15|30|45))(?![\d/-]|[.,\s]\d)"
)
"""From one day, month or time of day to another: a season, or opening hours. A view may have one blank for `.-`."""
LEAST_DIGITS, MOST_DIGITS = 7, 17


class DigitGroup(NamedTuple):
    """Digits with the sign before them: characters `start` to `end`; `is_first` where a number may begin."""

    start: int
    end: int
    sign: str
    digits: str
    is_first: bool


def find_phones(text: str, regions: Sequence[str]) -> Iterator[PersonalSpan]:
    """Numbers that are valid in one of the regions, or anywhere when written with their country code."""
    for window in WINDOW.finditer(text):
        start = window.start()
        for other in RANGE.finditer(text, window.start(), window.end()):
            yield from _in_window(text, start, other.start(), regions)
            start = other.end()
        yield from _in_window(text, start, window.end(), regions)


def _in_window(text: str, start: int, end: int, regions: Sequence[str]) -> Iterator[PersonalSpan]:
    if end - start < LEAST_DIGITS or sum(map(str.isdecimal, text[start:end])) < LEAST_DIGITS:
        return
    before = start
    groups: list[DigitGroup] = []
    for found in GROUP.finditer(text, start, end):
        is_first = not groups or bool(found[1]) or STRONG_BREAK.match(text, before, found.start()) is not None
        groups.append(DigitGroup(found.start(), found.end(), found[1], found[2], is_first))
        before = found.end()
    yield from _numbers_of(text, groups, regions)


def _numbers_of(text: str, groups: Sequence[DigitGroup], regions: Sequence[str]) -> Iterator[PersonalSpan]:
    """The longest number that begins at each group where one may begin."""
    for first, group in enumerate(groups):
        if not (group.is_first or (group.digits[0] == "0" and text[group.start - 1].isspace())):
            continue
        digits, ends = "", []
        for last in range(first, len(groups)):
            digits += groups[last].digits
            if len(digits) > MOST_DIGITS:
                break
            if len(digits) >= LEAST_DIGITS:
                ends.append(last)
        for last in reversed(ends):
            if _is_number(
                text, groups[first : last + 1], regions, last + 1 == len(groups) or groups[last + 1].is_first
            ):
                yield PersonalSpan("PHONE", group.start, groups[last].end)
                break


def _is_number(text: str, groups: Sequence[DigitGroup], regions: Sequence[str], is_last: bool) -> bool:
    """Whether the groups are one number. Dates and serial numbers can be valid too: what has no prefix of a number must
    stand alone and be grouped like one."""
    digits = "".join(group.digits for group in groups)
    written = text[groups[0].start : groups[-1].end]
    if digits.endswith("000000") or DATE.fullmatch(written):
        return False
    if "+" in groups[0].sign:
        return is_international("".join(each.digits for each in groups if (each.sign, each.digits) != ("(", "0")))
    if digits.startswith("00") and is_international(TRUNK.sub("", written)[2:]):
        return True
    valid = [region for region in regions if is_national(digits, region)]
    if not valid or digits[0] == "0" or "(" in groups[0].sign:
        return bool(valid)
    sizes = [len(group.digits) for group in groups]
    return is_last and any(is_grouped_as(digits, sizes, region) for region in valid)
