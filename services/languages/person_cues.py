"""The words around names of persons: what introduces one, what says who somebody is, what may stand within a name.

Promises that every language's words count in every text: a hint at the language weakens nothing.
Next: services/privacy/dlp/person_context.py, which reads them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files

import msgspec

LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv")
Phrases = tuple[str, ...]


class PersonCues(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's phrases, in small letters. Rules look for those of the first four kinds and for particles in
    answers too, so these must be sure."""

    introductions: Phrases
    """What a name follows, in capitals or not."""
    presentations: Phrases
    """What a name of two or more words follows."""
    fields: Phrases
    """Words for a name in a form, before a colon."""
    closings: Phrases
    """What a signature follows; after `thanks` only where a clause ends."""
    thanks: Phrases
    announcements: Phrases
    """What a name follows, or now and then another word with a capital."""
    labels: Phrases
    """What stands before a colon and a name, or somebody who is no person."""
    greetings: Phrases
    roles: Phrases
    """Single words for who somebody is: a relative, a neighbour, a trade; a name may stand behind them."""
    leads: Phrases
    """What often stands directly before a person in a sentence."""
    questions: Phrases
    """Verbs before a person whom something is asked of; other nouns have an article there."""
    verbs: Phrases
    """What often stands directly behind one."""
    sayings: Phrases
    """What stands directly behind a person and behind hardly anything else."""
    particles: Phrases
    """What stands within a surname and hardly anywhere else."""
    weak_particles: Phrases
    """What stands within a surname, and elsewhere as well."""
    ordinary: str
    """Words that are no part of a name, with a capital where they open a sentence."""
    starts: str
    """What else a sentence begins with: question words, verbs that ask. Behind a letter with a dot they are no surname
    (`block B. Quanto costa`), elsewhere they may be; those that are often surnames are not among them."""
    nobody: str
    """Words that stand where a name does, with a capital, and name nobody."""
    articles: str
    """Words that stand before a noun and before nobody's name, of a language with `telling` words."""
    telling: str
    """Words that only this language has, of one that writes nouns with a small letter."""
    owned: Phrases = ()
    """What a person has, behind a possessive or a hyphen; so ends the word."""
    owned_surely: Phrases = ()
    """Of that, what hardly anything else has."""


@cache
def load_person_cues(language: str) -> PersonCues:
    """The phrases of one of `LANGUAGES`. Raises `FileNotFoundError` for another."""
    text = (files("tidegate.services.languages") / "data" / "persons" / f"{language}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), PersonCues)


def list_cues(choose: Callable[[PersonCues], Iterable[str]], languages: Iterable[str] = LANGUAGES) -> list[str]:
    """What is chosen from each language, longest first."""
    found = {phrase for language in languages for phrase in choose(load_person_cues(language))}
    return sorted(found, key=lambda phrase: (-len(phrase), phrase))


def join_cues(choose: Callable[[PersonCues], Iterable[str]], languages: Iterable[str] = LANGUAGES) -> str:
    """One pattern of whole phrases, with a few of any white space for a blank; never matches where there is none."""
    escaped = (re.escape(phrase).replace(r"\ ", r"\s{1,3}") for phrase in list_cues(choose, languages))
    return f"(?:{'|'.join(escaped) or '(?!)'})(?![^\\W_])"
