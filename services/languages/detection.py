"""Tells the language of a document. Promises one of the languages asked for, and no import of the model before it is
needed. Next: services/packs/documents.py."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

from tidegate.schemas import TidegateError
from tidegate.services.languages.prose import PROSE_LANGUAGES

LEAST_LETTERS = 12
MOST_CHARS = 5_000
CERTAIN_CHARS = 200
"""Letters from which on a language is believed that nobody asked for."""
KNOWN_CHARS = 60
"""Letters from which on one is believed that the product has words of."""
CERTAIN = 0.95


class UnknownLanguagesError(TidegateError, ValueError):
    """Languages that the model does not know."""

    hint = "name languages that it knows in prefilter.languages, by their ISO 639-1 codes"

    def __init__(self, unknown: Iterable[str], known: Iterable[str]) -> None:
        codes = ", ".join(sorted(label for label in known if len(label) == 2))
        super().__init__(f"no model for the language {', '.join(sorted(unknown))}; known: {codes}")


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
    """py3langid's model of all its languages, loaded once for a process, which takes about a second."""
    return _read_language_model()


@lru_cache(maxsize=4)
def load_restricted_model(languages: frozenset[str]) -> Any:
    """The model of these alone, without the memory for the others, which is two thirds of it.

    It is read anew for each set of languages. Raises `UnknownLanguagesError` for those that the model does not know.
    """
    model = _read_language_model()
    if unknown := languages - set(model.labels):
        raise UnknownLanguagesError(unknown, model.labels)
    model.set_languages(languages)
    model._full_model = model.nb_ptc, model.nb_pc, model.nb_classes
    return model


def _read_language_model() -> Any:
    import numpy as np
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    from tidegate.services.languages.next_states import LETTERS, NextStates

    logging.getLogger("py3langid").setLevel(logging.WARNING)
    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    table = np.frombuffer(model.tk_nextmove, dtype=np.uint32).reshape(-1, LETTERS)
    model.tk_nextmove = NextStates(table, model.tk_row[0])
    # lists of 100 000 numbers are 6 MB, and no quicker to read
    model._rowbase, model.tk_output = array("I", model._rowbase), array("i", model.tk_output)
    return model
