"""The small words on which the truth of a sentence turns, from one data file per language. Next: data/claims/en.toml.

Promises that a file that is wrong is found when it is first read."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import msgspec

from tidegate.services.languages.extraction_words import fold
from tidegate.services.languages.prose import PROSE_LANGUAGES


class ClaimWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's words."""

    denials: tuple[str, ...]
    """What makes a clause deny what it says."""
    absences: tuple[str, ...]
    """Those of them that deny no more than the words behind them: *without*."""
    fillers: tuple[str, ...]
    """What a sentence may say beyond its evidence: whom it addresses, yes and no."""
    families: dict[str, dict[str, tuple[str, ...]]]
    """By a family's name, its values with the words that say each: `modal` has `may` and `must`. Of up to two words."""
    repeats_denials: bool = False
    """Whether a second denial in a clause repeats the first ("no ... nunca"), and does not undo it."""


class ClaimMark(NamedTuple):
    """A word that says a value of a family."""

    family: str
    value: str


DENIAL = ClaimMark("denial", "not")


class ClaimLexicon(msgspec.Struct, frozen=True):
    """A language's words, folded: each mark by the words that say it, and what needs no evidence."""

    marks: dict[str, tuple[ClaimMark, ...]]
    fillers: frozenset[str]
    denials: frozenset[str] = frozenset()
    absences: frozenset[str] = frozenset()
    repeats_denials: bool = False


@cache
def load_claim_words(language: str) -> ClaimLexicon:
    """The words of a language; none for one that is not of `PROSE_LANGUAGES`."""
    if language not in PROSE_LANGUAGES:
        return ClaimLexicon({}, frozenset())
    text = (files("tidegate.services.languages") / "data" / "claims" / f"{language}.toml").read_text("utf-8")
    words = msgspec.convert(tomllib.loads(text), ClaimWords)
    marks: dict[str, tuple[ClaimMark, ...]] = {}
    for word in words.denials:
        marks[fold(word)] = (*marks.get(fold(word), ()), DENIAL)
    for family, values in words.families.items():
        for value, spelled in values.items():
            for word in spelled:
                marks[fold(word)] = (*marks.get(fold(word), ()), ClaimMark(family, value))
    return ClaimLexicon(
        marks,
        frozenset(map(fold, words.fillers)),
        frozenset(map(fold, words.denials)),
        frozenset(map(fold, words.absences)),
        words.repeats_denials,
    )
