"""A view of a text in which personal data has no disguise: markup, signs in brackets, words for digits, field names.

Promises time linear in the text, and nothing for a stream: a view of half a text may be another one, so that only whole
texts are read so. Next: spelled.py; detector.py, which reads the view by all rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from tidegate.services.privacy.dlp.finding import PersonalSpan
from tidegate.services.privacy.dlp.folding import FoldedText
from tidegate.services.privacy.dlp.numbers import is_card_number
from tidegate.services.privacy.dlp.spelled import AT, DOTS, WEAK_AT, Replacement, spell_addresses, spell_numbers

TAG = re.compile(r"<!--.{0,200}?-->|</?[A-Za-z][A-Za-z0-9]{0,9}(?:\s[^<>]{0,300})?/?>", re.DOTALL)
"""Not a vault token: that has an underscore."""
EMPHASIS = re.compile(r"(?<!\w)[*`]{1,3}(?=\w)|(?<=\w)[*`]{1,3}(?!\w)|[*`]{1,3}(?=@)|(?<=@)[*`]{1,3}|\\(?=[@._*-])")
SOFT_BREAK = re.compile(r"=\r?\n[ \t]{0,2}|(?<=[A-Za-z0-9+/]{16})\r?\n(?=[A-Za-z0-9+/]{4,}={0,2})")
PRINTABLE = re.compile(r"(?:=[0-9A-F]{2}){1,400}")
"""Of quoted-printable (RFC 2045, 6.7), and between two lines of base64."""
BRACKETED_AT = re.compile(rf"\s{{0,2}}[\[({{<]\s?(?:{AT}|{WEAK_AT}|@)\s?[\])}}>]\s{{0,2}}", re.IGNORECASE)
BRACKETED_DOT = re.compile(rf"\s{{0,2}}[\[({{<]\s?(?:{DOTS}|\.)\s?[\])}}>]\s{{0,2}}", re.IGNORECASE)
LABEL = r"[^\W_][\w-]{0,60}"
SPACED_ADDRESS = re.compile(rf"(?<=[\w.+-])\s{{0,2}}@\s{{0,2}}{LABEL}(?:(?:\s\.\s|\.){LABEL}){{1,4}}")
BLANK = re.compile(r"\s+")
SIGNS = (
    (" dot ", re.compile(r"(?<=\d) dot (?=\d)", re.IGNORECASE), "."),
    ("+ ", re.compile(r"\+\s{1,2}(?=\d)"), "+"),
    ("wa.me", re.compile(r"(?<=\bwa\.me)/(?=\d{7})"), "/+"),
    ("phone=", re.compile(r"(?<=[?&]phone)=(?=\d{7})"), "=+"),
    ('"', re.compile(r"(?<=\d)\"\s{0,2}\"(?=\d)"), " "),
    ("'", re.compile(r"(?<=\d)'\s{0,2}'(?=\d)"), " "),
    ("[", re.compile(r"(?<=\d)\]\s{0,2}\[(?=\d)"), " "),
    ("_", re.compile(r"(?<=\d)_(?=\d)"), "-"),
    ("\u5e74", re.compile(r"(?<=\d)[\u5e74\u6708](?=\d)"), "-"),
)
"""Signs that part what is one number or address, and what they stand for: also in links to a telephone, and between the
year, the month and the day. Without the first a text has none, and that is quicker to see."""
OTHER_DIGITS = re.compile(
    r"\u283c[\u2801-\u281b]{4,20}|[\u3007\u96f6\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d]{7,20}"
)
"""Of Braille, and Chinese ones in a row."""
DIGIT_OF = dict(zip("\u2801\u2803\u2809\u2819\u2811\u280b\u281b\u2813\u280a\u281a", "1234567890", strict=True)) | dict(
    zip("\u3007\u96f6\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d", "00123456789", strict=True)
)
LIKE_DIGITS = re.compile(r"(?<![^\W_])(?=[OolI]{0,3}\d)[\dOolI]{3,19}(?![^\W_])")
TO_DIGITS = str.maketrans("OolI", "0011")
NOT_LATIN = re.compile(r"[\u0400-\u04ff\u2800-\u28ff\u3007\u4e00-\u9fff]")
LIKE_LATIN = re.compile(r"(?<![^\W_])(?=\w{0,4}\d)\w{2,34}(?![^\W_])")
TO_LATIN = str.maketrans("\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425", "ABEKMHOPCTYX")
KEY = re.compile(r"(?<![^\W_])[A-Za-z]{1,30}(?:_[A-Za-z]{1,30}|(?<=[a-z])[A-Z][a-z]{0,30}){1,6}(?=[\"']?\s{0,2}[:=])")
"""The name of a field, as `date_of_birth` or `accountNumber`, before its value."""
KEY_GAP = re.compile(r"_|(?<=[a-z])(?=[A-Z])")
HEX = re.compile(
    r"(?<![0-9A-Za-z])(?:(?:0x|\\x)?[0-9A-Fa-f]{2}(?:[\s:,-]{1,2}|(?=\\x))){9,4096}(?:0x|\\x)?[0-9A-Fa-f]{2}(?![0-9A-Za-z])"
)
HEX_BYTE = re.compile(r"(?:0x|\\x)?([0-9A-Fa-f]{2})")
GROUP = re.compile(r"(?<!\d)\d{4,6}(?!\d)")
LONGEST_GAP = 24
"""Characters between two groups of a card number that stand in fields, items or cells of their own."""
CARD_GROUPS = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4))


def undisguise(view: FoldedText) -> FoldedText | None:
    """The view without disguises; None where there are none."""
    plain = view
    for find in (
        _without_escapes,
        _without_markup,
        _with_signs,
        _with_digits,
        _with_names_of_fields,
        spell_addresses,
        spell_numbers,
        _without_hex,
    ):
        plain = plain.replaced(find(plain.text))
    return None if plain is view else plain


def find_split_cards(text: str) -> Iterator[PersonalSpan]:
    """The groups of a card number, each by itself, with something else between them: as fields or list items."""
    groups = list(GROUP.finditer(text))
    taken = 0
    for first in range(len(groups)):
        for sizes in CARD_GROUPS:
            run = groups[first : first + len(sizes)]
            is_grouped = first >= taken and [len(each.group()) for each in run] == list(sizes) and _is_near(run)
            if is_grouped and is_card_number("".join(each.group() for each in run)):
                taken = first + len(sizes)
                yield from (PersonalSpan("CARD", each.start(), each.end()) for each in run)


def _is_near(run: list[re.Match[str]]) -> bool:
    return all(after.start() - before.end() <= LONGEST_GAP for before, after in pairwise(run))


def _without_markup(text: str) -> Iterator[Replacement]:
    found: list[Replacement] = []
    if any(bracket in text for bracket in "[({<"):
        found += (*_all(BRACKETED_AT, text, "@"), *_all(BRACKETED_DOT, text, "."), *_all(TAG, text, ""))
    if any(mark in text for mark in "*`\\"):
        found += _all(EMPHASIS, text, "")
    if "\n" in text:
        found += _all(SOFT_BREAK, text, "")
    yield from _apart(found)


def _without_escapes(text: str) -> Iterator[Replacement]:
    """What mail writes with an equals sign, read once: `x=41` may be a field with a number."""
    for each in PRINTABLE.finditer(text):
        yield each.start(), each.end(), bytes.fromhex(each.group().replace("=", "")).decode("utf-8", "replace")


def _with_signs(text: str) -> Iterator[Replacement]:
    found = [each for sign, pattern, other in SIGNS if sign in text for each in _all(pattern, text, other)]
    if "@ " in text or " @" in text or "@\n" in text:
        addresses = SPACED_ADDRESS.finditer(text)
        found += ((each.start(), each.end(), BLANK.sub("", each.group())) for each in addresses)
    yield from _apart(found)


def _with_digits(text: str) -> Iterator[Replacement]:
    """Letters in numbers that look like digits, or like those of another alphabet, as what they are taken for."""
    found = [(each, each.group().translate(TO_DIGITS)) for each in LIKE_DIGITS.finditer(text)]
    if NOT_LATIN.search(text):
        found += [(each, each.group().translate(TO_LATIN)) for each in LIKE_LATIN.finditer(text)]
        found += [
            (each, "".join(DIGIT_OF.get(sign, "") for sign in each.group())) for each in OTHER_DIGITS.finditer(text)
        ]
    yield from _apart((each.start(), each.end(), other) for each, other in found if other != each.group())


def _with_names_of_fields(text: str) -> Iterator[Replacement]:
    for key in KEY.finditer(text):
        yield key.start(), key.end(), KEY_GAP.sub(" ", key.group())


def _without_hex(text: str) -> Iterator[Replacement]:
    for block in HEX.finditer(text):
        data = bytes.fromhex("".join(HEX_BYTE.findall(block.group())))
        inner = data.decode("ascii", "replace")
        if all(character.isprintable() and character.isascii() for character in inner):
            yield block.start(), block.end(), inner


def _all(pattern: re.Pattern[str], text: str, other: str) -> list[Replacement]:
    return [(each.start(), each.end(), other) for each in pattern.finditer(text)]


def _apart(found: Iterable[Replacement]) -> Iterator[Replacement]:
    """In order, without those that overlap one before them; of two that begin together the first one given stays."""
    end = 0
    for each in sorted(found, key=lambda each: each[0]):
        if each[0] >= end and each[1] > each[0]:
            end = each[1]
            yield each
