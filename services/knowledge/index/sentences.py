"""Where a sentence ends. Promises spans that cover every word. Next: chunking.py, which makes units of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidegate.services.languages.prose import join_prose
from tidegate.services.languages.words import join_patterns

_BREAK = re.compile(r"[.!?…]+[\"'»”’)\]*]*(?:\[\^[^\]\s]+\])*(?=\s)")


def _ends_with(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{pattern})\.$", re.IGNORECASE)


_NEVER = _ends_with(rf"{join_prose(lambda words: words.abbreviations)}|(?<!\d)(?<!\d\s)[^\W\d_]")
_BEFORE_NUMBER = _ends_with(join_prose(lambda words: words.number_abbreviations))
_FINAL = _ends_with(join_prose(lambda words: words.final_abbreviations))
_ORDINAL = re.compile(
    rf"(?:^|(?<!\w)(?:{join_prose(lambda words: words.ordinal_leads)})\s+)\d{{1,2}}\.$", re.IGNORECASE
)
_MONTH = re.compile(rf"(?:{join_patterns(lambda words: ' '.join(words.months).split())})", re.IGNORECASE)
_DAY = re.compile(r"(?<!\w)\d{1,2}\.$")
_LONGEST_MATTER = 24
"""Characters before a full stop that can say that it ends nothing."""


def split_sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sentences of `text[start:end]` as trimmed spans that cover every word, in order.

    Does not end one at an abbreviation, an initial, or an ordinal (`1. Januar`), in any of the languages of
    `services/languages/prose.py`.
    """
    begin = start
    for match in _BREAK.finditer(text, start, end):
        stop = match.end()
        after = text[stop:end].lstrip()
        if not after or not (after[0].isupper() or after[0].isdigit() or after[0] in "\"'«“„‘¿¡(*[<€£$"):
            continue
        if match[0] == "." and _is_inside(text[max(begin, stop - _LONGEST_MATTER) : stop], after, stop - begin):
            continue
        yield from _trimmed(text, begin, stop)
        begin = stop
    yield from _trimmed(text, begin, end)


def _is_inside(before: str, after: str, length: int) -> bool:
    """Whether the full stop that ends `before` is one of an abbreviation or an ordinal."""
    if _FINAL.search(before):
        return not after[0].isupper()
    if _NEVER.search(before) or (after[0].isdigit() and _BEFORE_NUMBER.search(before)):
        return True
    if _DAY.search(before) and _MONTH.match(after):
        return True
    ordinal = _ORDINAL.search(before)
    return ordinal is not None and (ordinal.start() > 0 or length <= len(before))


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    words = text[start:end].strip()
    if words:
        begin = text.index(words, start)
        yield begin, begin + len(words)
