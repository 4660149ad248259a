"""Views of a text in which nothing hides personal data from a pattern, with the way back to the text's own characters.

Promises time linear in the text, and that every view's character knows the span of the original that it stands for.
Next: encoded.py, which decodes; detector.py, which reads the views."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0")
"""Letters and marks that show nothing; format characters (bidirectional marks, joiners, tags) vanish too."""
MINUS = "\u2212"
NOT_ASCII = re.compile(r"[^\x00-\x7f]")
SIGN = r"\n\r\t|\u00b7_\\~*\u2022\u2023\u2043\u2190-\u21ff\u25a0-\u25ff"
"""What parts two groups by itself: ends of lines, bars and dots of tables, asterisks, bullets, arrows."""
SEPARATORS = rf"(?:[\s./\-{SIGN}]{{2,8}}|[{SIGN}])"
WIDE_GAP = re.compile(rf"[0-9A-Z]{SEPARATORS}(?=[0-9A-Z]|\(\d)")
"""Between two groups of one number: several separators, a line's end, the bar of a table. A single blank, dot, hyphen
or slash stays as it is, for by it a date is told from a number."""


class FoldedText(NamedTuple):
    """A text as a pattern should see it; character `n` stands for the original's `starts[n]` to `ends[n]`."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of(cls, text: str) -> FoldedText:
        """The text as it is."""
        return cls(text, range(len(text)), range(1, len(text) + 1))

    def locate(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original for characters `start` to `end` of the view, which are at least one."""
        return self.starts[start], self.ends[end - 1]

    def replaced(self, pieces: Iterable[tuple[int, int, str]]) -> FoldedText:
        """With each (start, end, other) in place of those characters of this view; they are in order and apart.

        Every character of `other` stands for the whole of what it replaces.
        """
        texts: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        done = 0
        for start, end, other in pieces:
            texts += self.text[done:start], other
            first, last = self.locate(start, end)
            starts += [*self.starts[done:start], *[first] * len(other)]
            ends += [*self.ends[done:start], *[last] * len(other)]
            done = end
        if not texts:
            return self
        starts += self.starts[done:]
        ends += self.ends[done:]
        return FoldedText("".join((*texts, self.text[done:])), starts, ends)


def fold(text: str) -> FoldedText:
    """Without invisible and combining characters, and in compatible forms (NFKC, UAX 15): other digits, full-width and
    styled letters, odd blanks and dashes as those of ASCII. A text in ASCII comes back as it is."""
    if text.isascii():
        return FoldedText.of(text)
    plain = {character: plain_form(character) for character in set(NOT_ASCII.findall(text))}
    if all(len(form) == 1 for form in plain.values()):
        return FoldedText(text.translate({ord(each): form for each, form in plain.items()}), *FoldedText.of(text)[1:])
    odd = (found for found in NOT_ASCII.finditer(text) if plain[found.group()] != found.group())
    view = FoldedText.of(text).replaced((found.start(), found.end(), plain[found.group()]) for found in odd)
    return _with_marks(text, view)


def _with_marks(text: str, view: FoldedText) -> FoldedText:
    """A letter stands for the combining marks behind it too, so that none of them is left over."""
    following = [*view.starts[1:], len(text)]
    ends = [_end_of_marks(text, end, limit) for end, limit in zip(view.ends, following, strict=False)]
    return FoldedText(view.text, view.starts, ends)


def _end_of_marks(text: str, end: int, limit: int) -> int:
    while end < limit and unicodedata.combining(text[end]):
        end += 1
    return end


def squeeze(view: FoldedText) -> FoldedText:
    """With one blank for each run of separators between the groups of a number, whatever they are."""
    text = view.text
    gaps = ((found.start() + 1, found.end()) for found in WIDE_GAP.finditer(text))
    return view.replaced((start, end, " ") for start, end in gaps if text[start - 1] <= "9" or text[end] <= "9")


@lru_cache(maxsize=4096)
def plain_form(character: str) -> str:
    """The characters that a pattern should see in place of this one; none for what does not show."""
    if character == MINUS or unicodedata.category(character) == "Pd":
        return "-"
    if character in "\u2019\u00b4":
        return "'"
    if character.isspace():
        return "\n" if character in "\u2028\u2029\x85" else " "
    if _is_invisible(character):
        return ""
    if character == "\u3002":
        return "."  # as between the labels of a domain (UTS 46)
    digit = unicodedata.digit(character, None)  # of circled digits and those with a dot, too
    if digit is not None:
        return str(digit)
    form = unicodedata.normalize("NFKC", character)
    return character if form[0] == " " else form


def _is_invisible(character: str) -> bool:
    """Variation selectors are marks of no width, so they count as well, as do the marks that stand over a letter."""
    return (
        character in INVISIBLE or unicodedata.category(character) == "Cf" or unicodedata.category(character) in "Mn Me"
    )
