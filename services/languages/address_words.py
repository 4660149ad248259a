"""The words of postal addresses: of streets, flats and postcodes, in more languages than the product speaks.

Promises that every language's words count in every text: a hint at the language weakens nothing.
Next: services/privacy/dlp/addresses.py, which reads them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files

import msgspec

LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv")


class AddressWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's words: regular expressions, to be searched without regard to case."""

    before: tuple[str, ...]
    """Words for a street that its name follows."""
    after: tuple[str, ...]
    """Words for a street that follow its name."""
    after_weak: tuple[str, ...]
    """The same, of words that mean other things too."""
    endings: tuple[str, ...]
    """What the name of a street ends in, joined to it."""
    no_streets: tuple[str, ...]
    """Words with such an ending that are no street."""
    units: tuple[str, ...]
    """Words for a part of a house, before its number."""
    postcodes: tuple[str, ...]
    """Words for a postcode."""
    measures: tuple[str, ...]
    """What a number before it counts: such a number is no house's."""
    particles: tuple[str, ...]
    """Small words within the name of a street or a place."""


@cache
def load_address_words(language: str) -> AddressWords:
    """The words of one of `LANGUAGES`. Raises `FileNotFoundError` for another."""
    text = (files("tidegate.services.languages") / "data" / "addresses" / f"{language}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), AddressWords)


def join_address_words(choose: Callable[[AddressWords], Iterable[str]]) -> str:
    """One pattern of what is chosen from each language, longest first, with a few of any white space for a blank."""
    found = {
        pattern.replace(" ?", r"\s{0,3}").replace(" ", r"\s{1,3}")
        for language in LANGUAGES
        for pattern in choose(load_address_words(language))
    }
    return "|".join(sorted(found, key=lambda pattern: (-len(pattern), pattern)))
