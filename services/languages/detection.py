"""Tells the language of a document. Promises one of the languages asked for, and no import of the model before it is
needed. Next: services/packs/documents.py."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

from tidegate.services.languages.prose import PROSE_LANGUAGES

LEAST_LETTERS = 12
MOST_CHARS = 5_000
CERTAIN_CHARS = 200
"""Letters from which on a language is believed that nobody asked for."""
KNOWN_CHARS = 60
"""Letters from which on one is believed that the product has words of."""
CERTAIN = 0.95


def detect_language(text: str, languages: Sequence[str]) -> str:
    """The likeliest of `languages` (ISO 639-1); the first of them for a text of fewer than 12 letters.

    Languages that the model does not know are never found. A question has rules of its own: see the prefilter.
    """
    if sum(letter.isalpha() for letter in text) < LEAST_LETTERS:
        return languages[0]
    return next((code for code, _ in _rank(text) if code in languages), languages[0])


def detect_foreign_language(text: str, languages: Sequence[str]) -> str | None:
    """The language of a text that is certainly in none of `languages`; None where that is not certain, as of a short
    one it never is."""
    letters = sum(letter.isalpha() for letter in text)
    if letters < KNOWN_CHARS:
        return None
    code, share = _rank(text)[0]
    least = KNOWN_CHARS if code in PROSE_LANGUAGES else CERTAIN_CHARS
    return code if letters >= least and share >= CERTAIN and code not in languages and len(code) == 2 else None


def _rank(text: str) -> list[tuple[str, float]]:
    ranked: list[tuple[str, float]] = load_language_model().rank(text[:MOST_CHARS])
    return ranked


@cache
def load_language_model() -> Any:
    """py3langid's model of all its languages, loaded once for a process, which takes about a second.

    Restrict a copy of it, never the thing itself.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    logging.getLogger("py3langid").setLevel(logging.WARNING)
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
