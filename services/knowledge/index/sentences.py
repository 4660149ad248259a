"""Where a sentence ends. Promises spans that cover every word. Next: chunking.py, which makes units of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidegate.services.languages.words import join_patterns

_BREAK = re.compile(r"[.!?…]+[\"'»”’)\]*]*(?:\[\^[^\]\s]+\])*(?=\s)")
_ABBREVIATION = re.compile(
    rf"(?:\b(?:{join_patterns(lambda words: words.abbreviations)})|\b[A-Za-z])\.$", re.IGNORECASE
)
_ORDINAL = re.compile(r"(?:^|\s)\d{1,2}\.$")


def split_sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sentences of `text[start:end]` as trimmed spans that cover every word, in order.

    Does not end one at a common abbreviation, an initial, or an ordinal (`1. Januar`).
    """
    begin = start
    for match in _BREAK.finditer(text, start, end):
        stop = match.end()
        after = text[stop:end].lstrip()
        if not after or not (after[0].isupper() or after[0].isdigit() or after[0] in "\"'«“‘¿¡(*[<€£$"):
            continue
        before = text[begin:stop]
        if match[0] == "." and (_ABBREVIATION.search(before) or _ORDINAL.search(before)):
            continue
        yield from _trimmed(text, begin, stop)
        begin = stop
    yield from _trimmed(text, begin, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    words = text[start:end].strip()
    if words:
        begin = text.index(words, start)
        yield begin, begin + len(words)
