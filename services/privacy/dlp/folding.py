"""Undoes what hides characters from a pattern: full-width forms, other digits, odd spaces, invisible letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

INVISIBLE = frozenset("\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff")
DASHES = frozenset("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d")


def fold(text: str) -> tuple[str, Callable[[int], int]]:
    """The text as a pattern should see it, and a map from its offsets to the offsets of `text`.

    One character stays one character; invisible ones vanish. ASCII comes back as it is.
    """
    if text.isascii():
        return text, lambda offset: offset
    kept: list[str] = []
    offsets: list[int] = []
    for offset, character in enumerate(text):
        if character not in INVISIBLE:
            kept.append(character if character < "\x80" else _plain(character))
            offsets.append(offset)
    offsets.append(len(text))
    return "".join(kept), offsets.__getitem__


def _plain(character: str) -> str:
    if character in DASHES:
        return "-"
    if character == "\u2019":
        return "'"
    if character.isspace():
        return "\n" if character in "\u2028\u2029\x85" else " "
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if "\uff01" <= character <= "\uff5e":
        return chr(ord(character) - 0xFEE0)
    return character
