"""Kinds that prove themselves by shape or checksum: e-mail, IBAN, card, national id, IP address."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from tidegate.services.privacy.dlp.finding import Span

LOCAL_PART = 64
EMAIL_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}", re.ASCII)
EMAIL_DOMAIN_IDN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}")
IBAN_START = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})\d{2}")
IBAN_REST = re.compile(r"(?:[ -]?[A-Za-z0-9]){11,30}")
IBAN_WORD = re.compile(r"iban[\s:#.=]{0,3}(?:is|ist|est|es|number|nummer)?[\s:]{0,3}$", re.IGNORECASE)
DIGITS = re.compile(r"\d(?:[ .-]?\d)*")
NIR = re.compile(r"(?<!\d)[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}(?!\d)")
NIE = re.compile(r"(?<!\w)([XYZxyz]|\d)(?:[ .-]?\d){7}[ -]?([A-Za-z])(?!\w)")
NINO = re.compile(
    r"(?<!\w)(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)"
)
SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?![\d-])")
IPV4 = re.compile(r"(?<![\d.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\.?\d)")
IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f:]{6,39}(?![\w:])")
VERSION_WORD = re.compile(r"(?:\bv|version|release|build|firmware)[\s:]{0,3}$", re.IGNORECASE)
DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"

_IBAN_LENGTHS = """
    AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DJ:27 DK:18
    DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28 IE:22 IL:23
    IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MN:20 MR:27
    MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 SC:31 SD:18 SE:24 SI:19
    SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30
"""
IBAN_LENGTHS = {pair[:2]: int(pair[3:]) for pair in _IBAN_LENGTHS.split()}
"""ISO 13616 registry: characters of an IBAN by country."""


def emails(text: str) -> Iterator[Span]:
    """Around each @: backwards over a local part, forwards over a domain. Linear: neither crosses another @."""
    place = text.find("@")
    while place >= 0:
        start = place
        while start > 0 and place - start < LOCAL_PART and _is_local(text[start - 1]):
            start -= 1
        domain = EMAIL_DOMAIN.match(text, place + 1) or EMAIL_DOMAIN_IDN.match(text, place + 1)
        if domain and start < place:
            yield Span("EMAIL", start, domain.end())
        place = text.find("@", place + 1)


def _is_local(character: str) -> bool:
    return character.isalnum() or character in ".+-_%'"


def ibans(text: str) -> Iterator[Span]:
    """ISO 13616, with or without spaces: country, length and modulo 97 agree; or the word IBAN stands before it."""
    for start in IBAN_START.finditer(text):
        rest = IBAN_REST.match(text, start.end())
        if rest is None:
            continue
        length = IBAN_LENGTHS.get(start[1].upper(), 0)
        end = _after(text, start.start(), length)
        if end is not None and end <= rest.end() and _is_iban(text[start.start() : end]):
            yield Span("IBAN", start.start(), end)
        elif IBAN_WORD.search(text, max(0, start.start() - 24), start.start()):
            shaped = end is not None and end <= rest.end()
            yield Span("IBAN", start.start(), end if shaped and end is not None else rest.end())


def _after(text: str, start: int, length: int) -> int | None:
    """The place after `length` letters and digits from `start`, separators not counted."""
    count = 0
    for place in range(start, min(len(text), start + 2 * length)):
        count += text[place].isalnum()
        if count == length:
            return place + 1
    return None


def _is_iban(text: str) -> bool:
    compact = text.replace(" ", "").replace("-", "").upper()
    return int("".join(str(int(letter, 36)) for letter in compact[4:] + compact[:4])) % 97 == 1


def cards(text: str) -> Iterator[Span]:
    """Payment card numbers: 13 to 19 digits, an issuer's prefix, and the check digit of ISO/IEC 7812 (Luhn).

    Within a run of digits any stretch between separators may be the card; prefix sums make each test O(1).
    """
    for run in DIGITS.finditer(text):
        places = [place for place in range(run.start(), run.end()) if text[place].isdecimal()]
        if len(places) < 13 or _glued(text, run.start(), run.end()):
            continue
        values = [int(text[place]) for place in places]
        sums = [_weights(values, parity) for parity in (0, 1)]
        starts = [0, *(n for n in range(1, len(places)) if places[n] > places[n - 1] + 1)]
        ends = {*starts[1:], len(places)}
        taken = 0
        for first in starts:
            for last in range(first + 19, first + 12, -1):
                if first >= taken and last in ends and _is_card(values, sums, first, last):
                    taken = last
                    yield Span("CARD", places[first], places[last - 1] + 1)


def _glued(text: str, start: int, end: int) -> bool:
    """Whether the run is part of a word, such as an identifier."""
    return (start > 0 and text[start - 1].isalpha()) or (end < len(text) and text[end].isalpha())


def _weights(values: list[int], parity: int) -> list[int]:
    """Prefix sums in which every other digit, those at `parity`, counts double as Luhn has it."""
    sums = [0]
    for place, value in enumerate(values):
        sums.append(sums[-1] + (value if place % 2 != parity else value * 2 - 9 * (value > 4)))
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


def national_ids(text: str) -> Iterator[Span]:
    """Spanish DNI and NIE (check letter), French NIR (key), British NINO (shape), US social security number (shape)."""
    for nie in NIE.finditer(text):
        digits = "".join(letter for letter in nie.group()[1:-1] if letter.isdecimal())
        number = int({"X": "0", "Y": "1", "Z": "2"}.get(nie[1].upper(), nie[1]) + digits)
        if DNI_LETTERS[number % 23] == nie[2].upper():
            yield Span("NATIONALID", nie.start(), nie.end())
    for nir in NIR.finditer(text):
        compact = nir.group().replace(" ", "").replace("2A", "19").replace("2B", "18")
        if int(compact[:13]) % 97 == 97 - int(compact[13:]):
            yield Span("NATIONALID", nir.start(), nir.end())
    for nino in NINO.finditer(text):
        yield Span("NATIONALID", nino.start(), nino.end())
    for ssn in SSN.finditer(text):
        yield Span("SSN", ssn.start(), ssn.end())


def addresses(text: str) -> Iterator[Span]:
    """IPv4 and IPv6 addresses, unless the number is said to be a version."""
    for found in IPV4.finditer(text) if text.count(".") > 2 else ():
        if _is_address(found.group()) and not VERSION_WORD.search(text, max(0, found.start() - 12), found.start()):
            yield Span("IP", found.start(), found.end())
    for found in IPV6.finditer(text) if text.count(":") > 1 else ():
        value = found.group().rstrip(":") if not found.group().endswith("::") else found.group()
        if value.count(":") > 2 and _is_address(value):
            yield Span("IP", found.start(), found.start() + len(value))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
