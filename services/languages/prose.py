"""How people write in a language: where its sentences end, its pleasantries, its yes and no. Next: data/prose/en.toml.

Knows more languages than `words.py`: an asker's or a document's may be one in which nothing else is known.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files

import msgspec
from babel import Locale

from tidegate.services.languages.words import Patterns

PROSE_LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "pl")


class ValidityWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands before the date until which, or from which, a sentence holds."""

    until: Patterns
    since: Patterns


class ProseWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's ways of writing. A pattern is a regular expression, searched without regard to case.

    Abbreviations stand without their last full stop.
    """

    abbreviations: Patterns
    """What never ends a sentence."""
    number_abbreviations: Patterns
    """What ends none where a number follows."""
    final_abbreviations: Patterns
    """What ends one only where a word with a capital follows."""
    ordinal_leads: Patterns
    """Words after which a number with a full stop is an ordinal, in languages that write nouns with a capital."""
    greetings: Patterns
    thanks: Patterns
    farewells: Patterns
    openings: Patterns
    """Polite phrases that ask for nothing."""
    closings: Patterns
    """What a signature follows."""
    identity_questions: Patterns
    """How one asks a machine who it is and what it can do."""
    yes: str
    no: str
    """The first words of an answer to a question that asks for one of them."""
    yes_leads: Patterns
    no_leads: Patterns
    """Other clauses, and the same, with which people begin such an answer: "you cannot", "of course"."""
    negations: Patterns
    hedges: Patterns
    """Words that limit what a sentence says, so that it answers neither yes nor no."""
    alternatives: Patterns
    """Words between the things of which a question offers one."""
    wholes: Patterns
    """What a question says that asks for every entry of a list."""
    part_shown: str
    """States that `{shown}` of `{total}` entries are shown, and how to get the rest; `{title}` is the document's."""
    quoted_in: str
    """Introduces what a document says in another language, `{language}`."""
    validity: ValidityWords


def introduce_quote(quoted_in: str, language: str) -> str:
    """The sentence, for an asker in `language`, that what follows is in the language `quoted_in` (both ISO 639-1)."""
    known = language if language in PROSE_LANGUAGES else "en"
    name = Locale(known).languages.get(quoted_in, quoted_in)
    return load_prose(known).quoted_in.replace("{language}", name)


@cache
def load_prose(language: str) -> ProseWords:
    """The words of one of `PROSE_LANGUAGES`; those of English for any other."""
    known = language if language in PROSE_LANGUAGES else "en"
    text = (files("tidegate.services.languages") / "data" / "prose" / f"{known}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), ProseWords)


def join_prose(choose: Callable[[ProseWords], Iterable[str]], languages: Iterable[str] = PROSE_LANGUAGES) -> str:
    """One pattern of what is chosen from each language, longest first; never matches where there is nothing."""
    found = {pattern for language in languages for pattern in choose(load_prose(language))}
    return "|".join(sorted(found, key=lambda pattern: (-len(pattern), pattern))) or r"(?!)"
