"""Finds postal addresses and postcodes by the words for streets and flats, house numbers, and the shapes of postcodes.

Promises time linear in the text: from each street word it looks no farther than a line or two. Streets that no word
betrays are the model's. Next: address_patterns.py, the shapes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidegate.services.privacy.dlp.address_patterns import (
    CODE_AND_PLACE,
    CODE_AT,
    CODE_BEFORE,
    CODE_SOON,
    CODE_WORDS,
    FLAT_THEN_NAME,
    HOUSE_AFTER,
    HOUSE_BEFORE,
    LETTERED,
    LOWER_BEFORE,
    LOWER_PLACE_AFTER,
    LOWER_TAIL,
    MORE,
    NAME,
    NAME_BEFORE,
    NAME_LOWER,
    NAMED,
    NAMED_LOWER,
    PLACE_AFTER,
    PLACE_AND_CODE,
    PROPER_BEFORE,
    STREET,
    STREET_BEFORE,
    TAIL,
    UNIT_BEFORE,
)
from tidegate.services.privacy.dlp.context import LINK
from tidegate.services.privacy.dlp.finding import PersonalSpan

KIND = "ADDRESS"
REACH = 90
"""Characters before and behind a street word in which its address lies."""
LONG_NUMBER = 3
"""Digits of a house number that makes a street of what may be another word."""


def find_addresses(text: str) -> Iterator[PersonalSpan]:
    """Streets with a house number, postcodes with a place behind a street, and postcodes that their words announce."""
    if not any(map(str.isdecimal, text)):
        return
    is_lower = not any(map(str.isupper, text))
    for street in STREET.finditer(text):
        span = _around(text, street, is_lower=is_lower)
        if span is not None:
            yield _extended(text, span, is_lower=is_lower)
    yield from _by_place(text)
    for word in CODE_WORDS.finditer(text):
        link = LINK.match(text, word.end())
        code = CODE_AT.match(text, link.end() if link else word.end()) or CODE_SOON.match(text, word.end())
        if code is not None:
            yield _span(text, code.start("code"), code.end())
    for code in LETTERED.finditer(text):
        yield _span(text, code.start(), code.end())


def _span(text: str, start: int, end: int) -> PersonalSpan:
    """Without the dot that ends the sentence."""
    return PersonalSpan(KIND, start, end - (text[end - 1] == "."))


def _around(text: str, street: re.Match[str], *, is_lower: bool) -> tuple[int, int] | None:
    """The street with its number, where it has one."""
    start, end = street.span()
    near = text[max(0, start - REACH) : start]
    begin = start - len(near)
    if street["before"]:
        return _named_after(text, street, near, is_lower=is_lower)
    if street["joined"]:
        is_name = is_lower or street["joined"][0].isupper()
        return _joined(text, street, near) if is_name else None
    lead = FLAT_THEN_NAME.search(near) or (LOWER_BEFORE if is_lower else PROPER_BEFORE).search(near)
    if lead is None:
        house = HOUSE_AFTER.match(text, end)
        name = NAME_BEFORE.search(near)
        return (begin + name.start(), house.end()) if street["after"] and house and name else None
    is_long = sum(map(str.isdecimal, lead["number"])) >= LONG_NUMBER or not lead["number"][0].isdecimal()
    if street["weak"] and not is_long and TAIL.match(text, end) is None:
        return None
    return begin + lead.start(), end


def _named_after(text: str, street: re.Match[str], near: str, *, is_lower: bool) -> tuple[int, int] | None:
    # A letter behind a number ends a code: "AB 12 34 56 C. How do I"; "C. Mayor 5" has its number behind it.
    number = HOUSE_BEFORE.search(near) if sum(map(str.isalpha, street["before"])) > 1 else None
    if number is not None:
        name = (NAME_LOWER if is_lower else NAME).match(text, street.end())
        if name is not None:
            return street.start() - len(near) + number.start(), name.end()
    named = (NAMED_LOWER if is_lower else NAMED).match(text, street.end(), street.end() + REACH)
    if named is not None:
        return street.start(), named.end()
    name = (NAME_LOWER if is_lower else NAME).match(text, street.end())
    return (street.start(), name.end()) if name and (LOWER_TAIL if is_lower else TAIL).match(text, name.end()) else None


def _joined(text: str, street: re.Match[str], near: str) -> tuple[int, int] | None:
    house = HOUSE_AFTER.match(text, street.end())
    if house is None:
        return None
    name = NAME_BEFORE.search(near) if len(street["joined"]) <= 8 and street["joined"][0].isupper() else None
    return (street.start() - len(near) + name.start() if name else street.start()), house.end()


def _extended(text: str, span: tuple[int, int], *, is_lower: bool) -> PersonalSpan:
    """With the flat before it or behind it, and with postcode and place."""
    start, end = span
    flat = UNIT_BEFORE.search(text[max(0, start - 30) : start])
    if flat is not None:
        start -= len(flat.group())
    more = MORE.match(text, end)
    end = more.end() if more else end
    tail = (LOWER_TAIL if is_lower else TAIL).match(text, end)
    if tail is None and CODE_BEFORE.search(text, start, end):
        tail = (LOWER_PLACE_AFTER if is_lower else PLACE_AFTER).match(text, end)
    return _span(text, start, tail.end() if tail else end)


def _by_place(text: str) -> Iterator[PersonalSpan]:
    """An address without a street word: a number on one side and a postcode with its place on the other."""
    for found in CODE_AND_PLACE.finditer(text):
        near = text[max(0, found.start() - REACH) : found.start()]
        street = STREET_BEFORE.search(near)
        if street is not None:
            yield _span(text, found.start() - len(near) + street.start(), found.end())
        elif not found["code"].isdecimal() and not found["code"][0].isalpha():
            yield _span(text, found.start(), found.end())
    for found in PLACE_AND_CODE.finditer(text):
        yield _span(text, found.start(), found.end())
