"""Undoes what hides characters from a pattern: full-width forms, other digits, odd spaces, invisible letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0")
"""Letters and marks that show nothing; format characters (bidirectional marks, joiners, tags) vanish too."""
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
        if not _is_invisible(character):
            kept.append(character if character < "\x80" else _plain(character))
            offsets.append(offset)
    offsets.append(len(text))
    return "".join(kept), offsets.__getitem__


def _is_invisible(character: str) -> bool:
    """Variation selectors are marks of no width, so they count as well."""
    return character > "\x7f" and (
        character in INVISIBLE
        or unicodedata.category(character) == "Cf"
        or "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
    )


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
    compatible = unicodedata.normalize("NFKC", character)  # full-width, small and styled forms of a letter or a sign
    return compatible if len(compatible) == 1 and compatible.isascii() else character
