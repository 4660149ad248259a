"""Finds values in a text by their shape or by the label before them. Promises that each is verbatim. Next:
extraction.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.languages.words import LANGUAGES, join_patterns, load_words

_LABELLED = 0.95
_SHAPED = 0.9
_NUMBER = re.compile(r"(?<![\w.,-])[-+]?(?:\d{1,3}(?:[ '’.,]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)?)(?!\w|-\d)")
_ISO_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_DOTTED_DATE = re.compile(r"\b(\d{1,2})\.\s?(\d{1,2})\.\s?(\d{4})\b")
_WORDED_DATE = re.compile(r"\b(\d{1,2})(?:\.|st|nd|rd|th)?\s+(?:de\s+)?([^\W\d_]{3,10})\.?,?\s+(?:de\s+)?(\d{4})\b")
_MONTH_FIRST = re.compile(r"\b([^\W\d_]{3,10})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})\b")
_URL = re.compile(r"\bhttps?://[^\s<>\"']+[^\s<>\"'.,;:!?)]")
_IS = rf"(?:\s*(?:[:=–-]|\b(?:{join_patterns(lambda words: words.copulas)})\b)\s*)"
_END = re.compile(rf"[\n;]|[.!?](?=\s|$)|,\s|\s(?:{join_patterns(lambda words: words.conjunctions)})\s")
_YES = frozenset(word for language in LANGUAGES for word in load_words(language).yes)
_NO = frozenset(word for language in LANGUAGES for word in load_words(language).no)
_MONTHS = {
    name: number
    for language in LANGUAGES
    for number, names in enumerate(load_words(language).months, start=1)
    for name in names.split()
}


class FoundValue(msgspec.Struct, frozen=True):
    """A value as JSON wants it, the characters of the text that it was read from, and a confidence."""

    value: Any
    start: int
    end: int
    confidence: float


def find_after_label(text: str, labels: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Where a value stands after a label: `Label: value`, `label = value`, `the label is value`; best label first."""
    for label in labels:
        words = r"[\s_-]*".join(re.escape(word) for word in label.split())
        for match in re.finditer(rf"(?<!\w){words}(?!\w){_IS}", text, re.IGNORECASE):
            start = match.end()
            stop = _END.search(text, start)
            end = stop.start() if stop else len(text)
            if text[start:end].strip():
                yield start, end


def is_near_label(text: str, labels: tuple[str, ...], start: int, end: int) -> bool:
    """Whether one of the labels stands in the thirty characters before `start`, or right after `end`."""
    before, after = text[max(0, start - 30) : start].casefold(), text[end : end + 30].casefold().lstrip()
    return any(label.casefold() in before or after.startswith(label.casefold()) for label in labels)


def find_vault_tokens(text: str, kind: str) -> Iterator[FoundValue]:
    """Vault tokens of a kind, such as EMAIL: the form in which personal data is in the text."""
    for match in VAULT_TOKEN.finditer(text):
        if match[1] == kind:
            yield FoundValue(match[0], match.start(), match.end(), _SHAPED)


def find_numbers(text: str, *, whole: bool) -> Iterator[FoundValue]:
    """Numbers, thousands and decimals in either convention; a vault token has none."""
    for match in _NUMBER.finditer(text):
        value = parse_number(match[0])
        if whole and value == int(value):
            yield FoundValue(int(value), match.start(), match.end(), _SHAPED)
        elif not whole:
            yield FoundValue(value if value != int(value) else int(value), match.start(), match.end(), _SHAPED)


def parse_number(written: str) -> float:
    """`1.234,50`, `1,234.50`, `1 234,5`, `1'234.5` and `1,234` as a number.

    Commas or points alone that stand before exactly three digits group thousands.
    """
    bare = re.sub(r"[ '’]", "", written)
    marks = [mark for mark in bare if mark in ".,"]
    if not marks:
        return float(bare)
    last = max(bare.rfind("."), bare.rfind(","))
    groups = len(bare) - last - 1 == 3 and len(set(marks)) == 1
    if groups:
        return float(re.sub(r"[.,]", "", bare))
    return float(re.sub(r"[.,]", "", bare[:last]) + "." + bare[last + 1 :])


def find_dates(text: str) -> Iterator[FoundValue]:
    """Dates as ISO 8601, where the text leaves no doubt which is the day and which the month."""
    for match in _ISO_DATE.finditer(text):
        yield FoundValue(match[0], match.start(), match.end(), _SHAPED)
    for pattern, order in ((_DOTTED_DATE, (3, 2, 1)), (_WORDED_DATE, (3, 2, 1)), (_MONTH_FIRST, (3, 1, 2))):
        for match in pattern.finditer(text):
            year, month, day = (match[each] for each in order)
            name = month.casefold()
            ordinal = int(month) if month.isdigit() else _MONTHS.get(name[:4]) or _MONTHS.get(name[:3])
            if ordinal and 1 <= ordinal <= 12 and 1 <= int(day) <= 31:
                yield FoundValue(f"{year}-{ordinal:02}-{int(day):02}", match.start(), match.end(), _SHAPED)


def find_urls(text: str) -> Iterator[FoundValue]:
    """Web addresses."""
    for match in _URL.finditer(text):
        yield FoundValue(match[0], match.start(), match.end(), _SHAPED)


def find_options(text: str, options: list[Any]) -> Iterator[FoundValue]:
    """Which of the options the text names, as whole words, in any case; in order of appearance."""
    hits = []
    for option in options:
        if not isinstance(option, str) or not option.strip():
            continue
        words = r"[\s_-]+".join(re.escape(word) for word in re.split(r"[\s_-]+", option.strip()))
        match = re.search(rf"(?<!\w){words}(?!\w)", text, re.IGNORECASE)
        if match:
            hits.append(FoundValue(option, match.start(), match.end(), _SHAPED))
    yield from sorted(hits, key=lambda hit: hit.start)


def find_booleans(text: str, labels: tuple[str, ...]) -> Iterator[FoundValue]:
    """What stands after a label as yes or no."""
    for start, end in find_after_label(text, labels):
        word = text[start:end].strip().split(" ", 1)[0].casefold().strip(".,")
        if word in _YES or word in _NO:
            yield FoundValue(word in _YES, start, end, _LABELLED)


def find_phrases(text: str, labels: tuple[str, ...]) -> Iterator[FoundValue]:
    """What stands after a label, up to the end of its clause."""
    for start, end in find_after_label(text, labels):
        value = text[start:end]
        trimmed = value.strip(" \t\"'*`“”„")
        begin = start + value.index(trimmed) if trimmed else start
        if trimmed:
            yield FoundValue(trimmed, begin, begin + len(trimmed), _LABELLED)
