"""The words of the languages that the product knows, from one data file per language. Next: data/en.toml.

Promises that a file that is wrong is found when it is first read, not at a question."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec

ValueKind = Literal["amount", "rate", "clock", "duration", "count", "date", "phone", "email"]
Patterns = tuple[str, ...]
LANGUAGES = ("en", "de", "fr", "es")


class LanguageWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's words. What is called a pattern is a regular expression, to be searched without regard to case."""

    stop_words: str
    """What a question is made of and a document is not, beyond the analyzer's own list."""
    open_questions: Patterns
    """Words that ask for something that the question does not name."""
    abbreviations: Patterns
    """What ends with a full stop that ends no sentence, without it."""
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
    topic_question: str
    """How one asks for all that is known of a `{topic}`."""
    asked: dict[ValueKind, Patterns]
    """How a value of a kind is asked for."""
    values: dict[Literal["money", "amount", "rate", "clock", "duration"], Patterns]
    """Words that are such a value; `money` stands after a number."""
    labels: dict[str, Patterns]
    """Words for the usual fields of a form."""


@cache
def load_words(language: str) -> LanguageWords:
    """The words of one of `LANGUAGES`. Raises `FileNotFoundError` for another."""
    text = (files("tidegate.services.languages") / "data" / f"{language}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), LanguageWords)


def join_patterns(choose: Callable[[LanguageWords], Iterable[str]]) -> str:
    """One pattern of what is chosen from each language, longest first; never matches where there is nothing."""
    found = {pattern for language in LANGUAGES for pattern in choose(load_words(language))}
    return "|".join(sorted(found, key=lambda pattern: (-len(pattern), pattern))) or r"(?!)"


def compile_patterns(choose: Callable[[LanguageWords], Iterable[str]]) -> re.Pattern[str]:
    """`join_patterns` compiled, without regard to case."""
    return re.compile(join_patterns(choose), re.IGNORECASE)
