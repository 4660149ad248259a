"""How a language goes on from what was said before: its pronouns, its ellipses, its corrections. Next: followups.py.

Promises that a file that is wrong is found when it is first read, not at a question."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

import msgspec

from tidegate.services.languages.words import Patterns


class DialogueWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's words of conversation. All are regular expressions, searched as whole words without regard to
    case, but for `function_words`, which are words with white space between them."""

    leads: Patterns
    """What a question begins with that goes on from the one before ("and", "what about")."""
    corrections: Patterns
    """What a turn begins or ends with that corrects the one before ("I meant")."""
    negated: Patterns
    """What stands before the value that is to be replaced ("not the")."""
    additions: Patterns
    """What can be left out of a fragment ("as well")."""
    question_words: Patterns
    verbs: Patterns
    """Words, verbs and subjects, that make a sentence of what has them; a fragment has none."""
    things: Patterns
    """Pronouns that stand for something named before."""
    possessives: Patterns
    persons: Patterns
    """Pronouns that may stand for a person named before."""
    places: Patterns
    no_things: Patterns
    """Phrases with the words of one of these that stand for nothing ("is there")."""
    ones: Patterns
    """What stands in a fragment for the noun of the question before ("the edge one")."""
    articles: Patterns
    """Words that begin a noun phrase."""
    prepositions: tuple[Patterns, ...]
    """In groups: a phrase may take the place of one whose preposition is of the same group."""
    comparatives: Patterns
    ordinals: Patterns
    """First, second, third, for the options of a question that was asked back."""
    options: Patterns
    """What stands between two options."""
    calendar: Patterns
    """Names of days, months and seasons, which replace each other and nothing else."""
    addressed: Patterns
    """Words by which a question is about whoever is asked ("when do you open?")."""
    choices: Patterns
    """Question words whose answer names what is spoken of from then on ("who", "which")."""
    drops_subjects: bool = False
    """Whether a sentence needs no pronoun for what it is about ("¿cuánto pesa?")."""
    elisions: Patterns = ()
    """Short words that are written with an apostrophe before the next one ("l'agence")."""
    function_words: str
    """Words without a topic, beyond all those above."""


@cache
def load_dialogue_words(language: str) -> DialogueWords:
    """The words of one of `LANGUAGES`. Raises `FileNotFoundError` for another."""
    text = (files("tidegate.services.languages") / "data" / "dialogue" / f"{language}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), DialogueWords)
