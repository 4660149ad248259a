"""Given names and surnames of some thirty countries, to tell a person's name from another word.

Promises one set for every text: a hint at the language weakens nothing. Where they come from: data/names/NOTICE.md.
Next: services/privacy/dlp/person_words.py."""

from __future__ import annotations

import tomllib
import unicodedata
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ß": "ss", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ı": "i"})
"""Letters that are no letter with an accent."""


class PersonNames(NamedTuple):
    """Names in plain form (`plain_name`), and how common a word is among them is not known."""

    given: frozenset[str]
    surnames: frozenset[str]


@lru_cache(maxsize=4096)
def plain_name(word: str) -> str:
    """A word in small letters without accents, as the lists have it."""
    low = word.casefold()
    if low.isascii():
        return low
    plain = "".join(each for each in unicodedata.normalize("NFD", low) if not unicodedata.combining(each))
    return plain.translate(LETTERS)


@cache
def load_person_names() -> PersonNames:
    """The names, read once."""
    text = (files("tidegate.services.languages") / "data" / "names" / "names.toml").read_text("utf-8")
    lists = tomllib.loads(text)
    return PersonNames(frozenset(lists["given"].split()), frozenset(lists["surnames"].split()))
