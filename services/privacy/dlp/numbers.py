"""Finds what a shape or a checksum proves: e-mail, IBAN, card, IP address; next: national_ids.py."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import cache

from schwifty import IBAN
from schwifty.exceptions import InvalidCountryCode
from schwifty.registry import get_iban_spec

from tidegate.services.privacy.dlp.finding import PersonalSpan

LOCAL_PART = 64
EMAIL_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}", re.ASCII)
EMAIL_DOMAIN_IDN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}")
IBAN_START = re.compile(r"([A-Za-z]{2})\d{2}")
IBAN_REST = re.compile(r"(?:[ ./-]?[A-Za-z0-9]){11,30}")
IBAN_PROVEN = re.compile(r"(?:[ ./,:;-]?[A-Za-z0-9]){11,30}")
"""With what a number is seldom written with: its check digits have to be right then."""
SIGNS = re.compile(r"[ ./,:;-]")
IBAN_WORD = re.compile(r"iban[\s:#.=]{0,3}(?:is|ist|est|es|number|nummer)?[\s:]{0,3}$", re.IGNORECASE)
DIGITS = re.compile(r"\d(?:[ ./,-]?\d)*")
IPV4 = re.compile(r"(?<![\d.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\.?\d)")
IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{6,39}(?![\w:])")
VERSION_WORD = re.compile(r"(?:\bv|version|release|build|firmware)[\s:]{0,3}$", re.IGNORECASE)


def find_emails(text: str) -> Iterator[PersonalSpan]:
    """Around each @: backwards over a local part, forwards over a domain. Linear: neither crosses another @."""
    at = text.find("@")
    while at >= 0:
        start = at
        while start > 0 and at - start < LOCAL_PART and _is_local(text[start - 1]):
            start -= 1
        domain = EMAIL_DOMAIN.match(text, at + 1) or EMAIL_DOMAIN_IDN.match(text, at + 1)
        if start == at and at and text[at - 1] == '"':  # RFC 5322: a local part in quotation marks may hold anything
            start = _opening_quote(text, at)
        if domain and start < at:
            yield PersonalSpan("EMAIL", start, domain.end())
        at = text.find("@", at + 1)


def _opening_quote(text: str, at: int) -> int:
    """Where the quotation begins that ends before `at`; `at` where none does."""
    quote = text.rfind('"', max(0, at - 1 - LOCAL_PART), at - 1)
    is_opening = quote >= 0 and not (quote and text[quote - 1].isalnum()) and not text[quote + 1].isspace()
    return quote if is_opening and "\n" not in text[quote:at] else at


def _is_local(character: str) -> bool:
    return character.isalnum() or character in ".+-_%'"


def find_ibans(text: str) -> Iterator[PersonalSpan]:
    """ISO 13616, with or without spaces: country, length, structure and check digits fit; or the word IBAN precedes."""
    for start in IBAN_START.finditer(text):
        proven = IBAN_PROVEN.match(text, start.end())
        if proven is None:
            continue
        end = _end_of(text, start.start(), _iban_length(start[1].upper()))
        if end is not None and end > proven.end():
            end = None
        if end is not None and IBAN(SIGNS.sub("", text[start.start() : end]), allow_invalid=True).is_valid:
            yield PersonalSpan("IBAN", start.start(), end)
            continue
        rest = IBAN_REST.match(text, start.end())
        end = end if rest and end and end <= rest.end() else None
        is_inside = text[max(0, start.start() - 1) : start.start()].isalnum()
        if rest and not is_inside and IBAN_WORD.search(text, max(0, start.start() - 24), start.start()):
            yield PersonalSpan("IBAN", start.start(), end or rest.end())


def _end_of(text: str, start: int, length: int) -> int | None:
    """The offset after `length` letters and digits from `start`, separators not counted; None where there are fewer."""
    count = 0
    for index in range(start, min(len(text), start + 2 * length)):
        count += text[index].isalnum()
        if count == length:
            return index + 1
    return None


@cache
def _iban_length(country: str) -> int:
    """Characters of an IBAN of the country; 0 where the registry knows none."""
    try:
        return get_iban_spec(country).iban_length
    except InvalidCountryCode:
        return 0


def find_cards(text: str) -> Iterator[PersonalSpan]:
    """Payment card numbers: 13 to 19 digits, an issuer's prefix, and the check digit of ISO/IEC 7812 (Luhn).

    Within a run of digits any stretch between separators may be the card; prefix sums make each test O(1).
    """
    for run in DIGITS.finditer(text):
        offsets = [offset for offset in range(run.start(), run.end()) if text[offset].isdecimal()]
        if len(offsets) < 13:
            continue
        values = [int(text[offset]) for offset in offsets]
        sums = [_prefix_sums(values, parity) for parity in (0, 1)]
        starts = [0, *(n for n in range(1, len(offsets)) if offsets[n] > offsets[n - 1] + 1)]
        ends = {*starts[1:], len(offsets)}
        if text[run.start() - 1 : run.start()].isalpha():
            starts = starts[1:]  # the first digits are part of a word, such as an identifier
        if text[run.end() : run.end() + 1].isalpha():
            ends.discard(len(offsets))
        taken = 0
        for first in starts:
            for last in range(first + 19, first + 12, -1):
                if first >= taken and last in ends and _is_card(values, sums, first, last):
                    taken = last
                    yield PersonalSpan("CARD", offsets[first], offsets[last - 1] + 1)


def is_card_number(digits: str) -> bool:
    """Whether digits of ASCII are a payment card number: its length, its issuer's prefix and its check digit."""
    values = [int(digit) for digit in digits]
    return _is_card(values, [_prefix_sums(values, parity) for parity in (0, 1)], 0, len(values))


def _prefix_sums(values: list[int], parity: int) -> list[int]:
    """Prefix sums in which every other digit, those at `parity`, counts double as Luhn has it."""
    sums = [0]
    for index, value in enumerate(values):
        sums.append(sums[-1] + (value if index % 2 != parity else value * 2 - 9 * (value > 4)))
    return sums


def _is_card(values: list[int], sums: list[list[int]], first: int, last: int) -> bool:
    doubled = sums[last % 2]
    if (doubled[last] - doubled[first]) % 10:
        return False
    length, two = last - first, values[first] * 10 + values[first + 1]
    if values[first] == 4:
        return length in (13, 16, 19)
    if two in (34, 37):
        return length == 15
    if two in (30, 36, 38, 39):
        return length >= 14
    return (length == 16 and 22 <= two <= 27) or (values[first] in (5, 6) or two == 35)


def find_ip_addresses(text: str) -> Iterator[PersonalSpan]:
    """IPv4 and IPv6 addresses, unless the word before it makes the number a version."""
    for found in IPV4.finditer(text) if text.count(".") > 2 else ():
        if _is_address(found.group()) and not VERSION_WORD.search(text, max(0, found.start() - 12), found.start()):
            yield PersonalSpan("IP", found.start(), found.end())
    for found in IPV6.finditer(text) if text.count(":") > 1 else ():
        value = found.group().rstrip(":") if not found.group().endswith("::") else found.group()
        if value.count(":") > 2 and _is_address(value):
            yield PersonalSpan("IP", found.start(), found.start() + len(value))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
