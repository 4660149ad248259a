"""Numbers and e-mail addresses that are said in words, as the digits and signs that they stand for.

Promises time linear in the text, and to leave alone what is no row of digits: `one or two`, `at the point`. Words are
data: services/languages/data/spelled. Next: disguised.py, which puts them in the place of the words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tidegate.services.languages.spelled_words import (
    LANGUAGES,
    list_number_words,
    load_spelled_words,
    without_accents,
)

LEAST_WORDS, LEAST_DIGITS = 3, 4
"""Of a row of digits that is worth reading: a PIN."""
NUMBERS = list_number_words()
NUMBER_WORDS = frozenset(NUMBERS)
DIGITS = re.compile(r"[0-9]{1,8}")
WORD = re.compile(r"[^\W_]+")
BETWEEN = re.compile(r"[\s./\u2013-]{1,4}|\s(?:und|and|et|y|e|i)\s", re.IGNORECASE)
"""Between two words of one number."""
LISTED = re.compile(r"[\s,;./\u2013-]{1,4}")
"""Between two single digits; of greater numbers a comma makes a list: `seven, eleven, thirty-three`."""
REPEATS = {"double": 2, "triple": 3, "doppel": 2}
MANY = 10


def _list(choose: str) -> frozenset[str]:
    """The words of all languages, with accents and without."""
    spelled = {word for each in LANGUAGES for word in getattr(load_spelled_words(each), choose)}
    return frozenset(spelled | {without_accents(word) for word in spelled})


def _join(words: frozenset[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


AT_WORDS, DOT_WORDS = _list("at") - _list("weak_at"), _list("dots")
AT, WEAK_AT, DOTS, DASHES = map(_join, (AT_WORDS, _list("weak_at"), DOT_WORDS, _list("dashes")))
PART = r"[^\W_][\w+-]{0,40}"
LOCAL = rf"(?<![\w@.+-]){PART}(?:(?:\s(?:{DOTS}|{DASHES})\s|\.){PART}){{0,4}}"
TOP = (
    r"(?:com|net|org|info|edu|gov|mil|int|biz|name|pro|app|dev|online|email|mail|bank|shop|site|example|test|[a-z]{2})"
)
SPOKEN_DOMAIN = rf"{PART}(?:(?:\s(?:{DOTS}|{DASHES})\s|\.){PART}){{0,3}}\s(?:{DOTS})\s{TOP}(?![^\W_])"
WRITTEN_DOMAIN = rf"{PART}(?:(?:\s(?:{DASHES})\s|\.){PART}){{0,3}}\.{TOP}(?![^\W_])"
SPOKEN = (
    re.compile(rf"{LOCAL}\s(?:{AT}|{WEAK_AT})\s{SPOKEN_DOMAIN}", re.IGNORECASE),
    re.compile(rf"{LOCAL}[\s_](?:{AT})[\s_]{WRITTEN_DOMAIN}", re.IGNORECASE),
)
JOINED = re.compile(r"(?<![\w@.+-])([^\W_][\w.+-]{0,60}?)_at_((?:[^\W_]|-){1,60}(?:_dot_(?:[^\W_]|-){1,40}){1,4})")
AT_WORD = re.compile(rf"\s(?:{AT}|{WEAK_AT})\s|[\s_](?:{AT}|at)[\s_]", re.IGNORECASE)
DOT_WORD = re.compile(rf"[\s_](?:{DOTS})[\s_]", re.IGNORECASE)
DASH_WORD = re.compile(rf"\s(?:{DASHES})\s", re.IGNORECASE)

Replacement = tuple[int, int, str]
"""Characters from, to, and what stands for them."""


def spell_addresses(text: str) -> Iterator[Replacement]:
    """E-mail addresses in words: `jo dot brand at postbox dot example`, `jo arroba postbox.com`."""
    words = frozenset(text.lower().split())
    if not ("_at_" in text or (words & AT_WORDS) or ("at" in words and words & DOT_WORDS)):
        return  # that is quicker to see
    end = 0
    found = sorted(
        (each for shape in (*SPOKEN, JOINED) for each in shape.finditer(text)), key=lambda each: each.start()
    )
    for each in found:
        if each.start() >= end:
            end = each.end()
            sign = AT_WORD.search(each.group())
            local, domain = (each.group()[: sign.start()], each.group()[sign.end() :]) if sign else ("", "")
            plain = [DASH_WORD.sub("-", DOT_WORD.sub(".", part)) for part in (local, domain)]
            yield each.start(), end, "@".join(plain)


def spell_numbers(text: str) -> Iterator[Replacement]:
    """Rows of number words, digits among them, as digits."""
    low = text.lower()
    if len(NUMBER_WORDS.intersection(low.split())) < 1 or sum(w in NUMBERS for w in WORD.findall(low)) < LEAST_WORDS:
        return  # that is quicker to see
    row: list[tuple[int, int, str]] = []
    for found in WORD.finditer(text):
        word = found.group().lower()
        is_number = word in NUMBERS or word in REPEATS or DIGITS.fullmatch(word)
        if row and not (is_number and _goes_on(text, row[-1], (found.start(), found.end(), word))):
            yield from _as_digits(row)
            row = []
        if is_number:
            row.append((found.start(), found.end(), word))
    yield from _as_digits(row)


def _goes_on(text: str, before: Replacement, word: Replacement) -> bool:
    gap = LISTED if all(NUMBERS.get(each[2], 0) < MANY for each in (before, word)) else BETWEEN
    return (
        gap.fullmatch(text, before[1], word[0]) is not None or BETWEEN.fullmatch(text, before[1], word[0]) is not None
    )


def _as_digits(row: Iterable[tuple[int, int, str]]) -> Iterator[Replacement]:
    words = list(row)
    while words and words[-1][2] in REPEATS:
        words.pop()
    digits = "".join(_read([word for _, _, word in words]))
    if sum(word in NUMBERS for _, _, word in words) >= LEAST_WORDS and len(digits) >= LEAST_DIGITS:
        yield words[0][0], words[-1][1], digits


def _read(words: list[str]) -> Iterator[str]:
    """Each word's digits; tens and the unit behind them are one number, and in French 60 and 80 take 10 to 19 too."""
    at = 0
    while at < len(words):
        if words[at] in REPEATS and at + 1 < len(words):
            yield str(NUMBERS.get(words[at + 1], words[at + 1])) * REPEATS[words[at]]
            at += 2
            continue
        value, at = _one_number(words, at)
        yield value


def _one_number(words: list[str], at: int) -> tuple[str, int]:
    value = NUMBERS.get(words[at])
    if value is None:
        return words[at], at + 1
    at += 1
    following = NUMBERS.get(words[at]) if at < len(words) else None
    if words[at - 1] == "quatre" and following == 20:
        value, at = 80, at + 1
        following = NUMBERS.get(words[at]) if at < len(words) else None
    most = 20 if value in (60, 80) else 10
    if following and value >= 20 and not value % 10 and following < most:
        return str(value + following), at + 1
    return str(value), at
