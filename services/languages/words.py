"""The words of the languages that the product knows, from one data file per language. Next: data/en.toml.

Promises that a file that is wrong is found when it is first read, not at a question."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec

ValueKind = Literal["amount", "rate", "clock", "duration", "count", "date", "phone", "email"]
Patterns = tuple[str, ...]
ContentRule = Literal["promises", "medical_advice", "legal_advice"]
LANGUAGES = ("en", "de", "fr", "es")


class ContentWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the content rules of policies look for, in lower case without accents; see services/policies/phrases.py."""

    denials: Patterns
    """What makes a phrase that follows it, in the same clause, deny what it says."""
    doubt_denials: Patterns
    """Denials that deny nothing before one of the `doubts` ("no doubt")."""
    doubts: Patterns
    inner_denials: Patterns
    """What denies a phrase from inside it, unless that speaks of one of the `losses`."""
    losses: Patterns
    clause_ends: Patterns
    gain: Patterns
    surely: Patterns
    rise: Patterns
    dose: Patterns
    phrases: dict[ContentRule, Patterns]
    """`{gain}`, `{surely}`, `{rise}` and `{dose}` stand for any of those words, `{few}` for up to three words."""


class PersonalWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The words around personal data; see services/privacy/dlp."""

    links: Patterns
    """Words between the word for a number and the number."""
    births: Patterns
    introductions: Patterns
    """What a name follows, in capitals or not."""
    presentations: Patterns
    """What a name of two or more words follows."""
    namings: Patterns
    possessives: Patterns
    relatives: Patterns
    called: Patterns
    """Words between a relative and the name."""
    titles: Patterns
    closings: Patterns
    """What a signature follows; after `thanks` only where a clause ends."""
    thanks: Patterns
    name_particles: str
    no_names: str
    """Words in lower case that end a name in lower case."""
    secrets: Patterns
    short_codes: Patterns
    """Those of the `secrets` that are a few digits."""
    secret_links: Patterns
    secret_copulas: Patterns
    number_signs: Patterns
    numbers: dict[str, Patterns]
    """Words for each kind of number that only they reveal."""
    gates: dict[str, Patterns]
    """Substrings, in lower case, without which a text has none of the words of that kind."""


class LanguageWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's words. What is called a pattern is a regular expression, to be searched without regard to case."""

    stop_words: str
    """What a question is made of and a document is not, beyond the analyzer's own list."""
    open_questions: Patterns
    """Words that ask for something that the question does not name."""
    number_words: Patterns
    duration_units: Patterns
    months: Annotated[tuple[str, ...], msgspec.Meta(min_length=12, max_length=12)]
    """The beginnings of each month's names, three or four letters, with white space between them."""
    copulas: Patterns
    """Words between a label and its value."""
    conjunctions: Patterns
    """Words that end a value."""
    yes: Patterns
    no: Patterns
    recognised: str
    """What is said of a cited text that was recognised in a picture."""
    signed: str
    """What is said of a document that `{who}` has signed."""
    stale: str
    """What is said of a document that is not known to be current."""
    asked: dict[ValueKind, Patterns]
    """How a value of a kind is asked for."""
    values: dict[Literal["money", "amount", "rate", "clock", "duration"], Patterns]
    """Words that are such a value; `money` stands after a number."""
    labels: dict[str, Patterns]
    """Words for the usual fields of a form."""
    content: ContentWords
    personal: PersonalWords


def say_recognised(language: str) -> str:
    """What is said in that language, or in English, of a cited text that was recognised in a picture."""
    return load_words(language if language in LANGUAGES else LANGUAGES[0]).recognised


def say_source(language: str, signer: str, *, is_fresh: bool) -> list[str]:
    """What is said likewise of who signed a document, where that is known, and of one that may be out of date."""
    words = load_words(language if language in LANGUAGES else LANGUAGES[0])
    return [*([words.signed.replace("{who}", signer)] if signer else []), *([] if is_fresh else [words.stale])]


@cache
def load_words(language: str) -> LanguageWords:
    """The words of one of `LANGUAGES`. Raises `FileNotFoundError` for another."""
    text = (files("tidegate.services.languages") / "data" / f"{language}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), LanguageWords)


def join_patterns(choose: Callable[[LanguageWords], Iterable[str]]) -> str:
    """One pattern of what is chosen from each language, longest first; never matches where there is nothing."""
    found = {pattern for language in LANGUAGES for pattern in choose(load_words(language))}
    return "|".join(sorted(found, key=lambda pattern: (-len(pattern), pattern))) or r"(?!)"


def list_gates(kind: str) -> tuple[str, ...]:
    """The substrings of a kind of personal data in every language; see `PersonalWords.gates`."""
    return tuple(gate for language in LANGUAGES for gate in load_words(language).personal.gates.get(kind, ()))
