"""The words for national numbers, telephones, births and health records, in more languages than the product speaks.

Promises that every language's words count in every text: a hint at the language weakens nothing. Next: words.py."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

IdentityKind = Literal["NATIONALID", "PHONE", "HEALTH", "LINK", "BIRTH", "MONTH", "TITLE"]
"""`LINK` words stand between the word for a number and the number; a date is of birth near a `BIRTH` word, and `MONTH`
has the beginnings of months that no language of the product shares. `TITLE` words are no patterns; a name follows."""
KINDS: tuple[IdentityKind, ...] = ("NATIONALID", "PHONE", "HEALTH")
LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv", "zh", "hi")


@cache
def load_identity_words(language: str) -> dict[IdentityKind, tuple[str, ...]]:
    """One language's words by kind: regular expressions, to be searched without regard to case.

    Raises `FileNotFoundError` for a language that is not one of `LANGUAGES`.
    """
    text = (files("tidegate.services.languages") / "data" / "identity" / f"{language}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[IdentityKind, tuple[str, ...]])


def list_identity_words(kind: str) -> list[str]:
    """The words for a kind in all languages, longest first; none for one that no language has."""
    found = {
        word
        for language in LANGUAGES
        for each, words in load_identity_words(language).items()
        if each == kind
        for word in words
    }
    return sorted(found, key=lambda word: (-len(word), word))
