"""How digits and the signs of an e-mail address are said in words: what people write who dictate, or hide, a number.

Promises that the words of all languages count in every text. Next: data/spelled/en.toml."""

from __future__ import annotations

import tomllib
import unicodedata
from functools import cache
from importlib.resources import files

import msgspec

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "sv")


class SpelledWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's words, in small letters."""

    at: tuple[str, ...]
    """Words for @ that mean nothing else."""
    weak_at: tuple[str, ...]
    """Words for @ that are common words too."""
    dots: tuple[str, ...]
    dashes: tuple[str, ...]
    tens_last: bool
    """Whether 21 is one word, with the unit before the tens: `einundzwanzig`."""
    numbers: dict[str, int]


@cache
def load_spelled_words(language: str) -> SpelledWords:
    """The words of one of `LANGUAGES`. Raises `FileNotFoundError` for another."""
    text = (files("tidegate.services.languages") / "data" / "spelled" / f"{language}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), SpelledWords)


def without_accents(word: str) -> str:
    """A word as people write it who have no accents on their keys."""
    parts = unicodedata.normalize("NFD", word.replace("ł", "l").replace("ß", "ss"))
    return "".join(each for each in parts if not unicodedata.combining(each))


@cache
def list_number_words() -> dict[str, int]:
    """0 to 99 where one word says it, with accents and without; a word of two languages has the value of the first."""
    found: dict[str, int] = {}
    for language in LANGUAGES:
        words = load_spelled_words(language)
        own = dict(words.numbers)
        if words.tens_last:
            join = "und" if language == "de" else "en"
            units = {word: value for word, value in words.numbers.items() if 0 < value < 10}
            tens = {word: value for word, value in words.numbers.items() if value >= 20}
            own |= {f"{unit}{join}{ten}": units[unit] + tens[ten] for unit in units for ten in tens}
        for word, value in own.items():
            found.setdefault(word, value)
            found.setdefault(without_accents(word), value)
            found.setdefault(word.replace("ü", "ue").replace("ö", "oe"), value)
    return found
