"""What a site's own documents say, so that a name which the site itself publishes is not taken for a secret.

Pure; next: detector.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+")


class PublishedText:
    """The words of all documents in order, without case or punctuation; `phrase in published` looks for whole words."""

    def __init__(self, words: str = "") -> None:
        """`words`: what `str()` of another one gave."""
        self._words = f" {words.strip()} "

    @classmethod
    def of(cls, texts: Iterable[str]) -> PublishedText:
        """The words of these texts; no phrase goes from one text to the next."""
        return cls(" | ".join(map(_words_of, texts)))

    def __str__(self) -> str:
        return self._words.strip()

    def __contains__(self, phrase: str) -> bool:
        words = _words_of(phrase)
        return bool(words) and f" {words} " in self._words


def _words_of(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))
