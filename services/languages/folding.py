"""Text as data of languages is compared with it: in lower case and without accents, however it was typed. Pure."""

from __future__ import annotations

import unicodedata

_UNFOLDED = str.maketrans({"ł": "l", "ß": "ss", "’": "'", "\u00a0": " ", "\u202f": " "})


def fold_letters(text: str) -> str:
    """In lower case and without accents; `ß` becomes `ss`."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.lower().translate(_UNFOLDED))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))
