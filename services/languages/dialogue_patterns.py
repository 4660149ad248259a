"""The compiled patterns of a language's words of conversation, and the words of a text by what they are to it.

Pure. Next: followups.py, which decides by them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.languages.dialogue_words import DialogueWords, load_dialogue_words
from tidegate.services.languages.words import LANGUAGES


@dataclass(frozen=True)
class DialoguePatterns:
    """One language's words, ready to be searched."""

    words: DialogueWords
    lead: re.Pattern[str]
    correction: re.Pattern[str]
    correction_end: re.Pattern[str]
    negated: re.Pattern[str]
    additions: re.Pattern[str]
    question_word: re.Pattern[str]
    sentence: re.Pattern[str]
    """A word that only a sentence has."""
    things: re.Pattern[str]
    persons: re.Pattern[str]
    places: re.Pattern[str]
    possessives: re.Pattern[str]
    no_things: re.Pattern[str]
    ones: re.Pattern[str]
    article: re.Pattern[str]
    preposition: re.Pattern[str]
    comparative: re.Pattern[str]
    calendar: re.Pattern[str]
    options: re.Pattern[str]
    choice: re.Pattern[str]
    addressed: re.Pattern[str]
    ordinals: tuple[re.Pattern[str], ...]
    function: re.Pattern[str]
    """A word without a topic of its own."""


@cache
def compile_dialogue(language: str) -> DialoguePatterns:
    """The patterns of one of `LANGUAGES`. Raises `FileNotFoundError` for another."""
    words = load_dialogue_words(language)
    prepositions = tuple(each for group in words.prepositions for each in group)
    lead = rf"^[\W_]*(?:{join(words.leads)})\b[\s,:]*"
    return DialoguePatterns(
        words=words,
        lead=compile_any(lead),
        correction=compile_any(rf"^[\W_]*(?:(?:{join(words.corrections)})\b[\s,:!.;-]*)+"),
        correction_end=compile_any(rf"[\s,]+(?:{join(words.corrections)})[\W_]*$"),
        negated=compile_any(rf"(?:,\s*)?(?<!\w)(?:{join(words.negated)})\s*[^,.;!?]*"),
        additions=compile_any(rf"[\s,]*(?<!\w)(?:{join(words.additions)})(?!\w)"),
        question_word=find_any(words.question_words),
        sentence=find_any((*words.question_words, *words.verbs)),
        things=find_any(words.things),
        persons=find_any(words.persons),
        places=find_any(words.places),
        possessives=find_any(words.possessives),
        no_things=find_any(words.no_things),
        ones=find_any(words.ones),
        article=find_any(words.articles),
        preposition=find_any(prepositions),
        comparative=find_any(words.comparatives),
        calendar=find_any(words.calendar),
        options=find_any(words.options),
        choice=find_any(words.choices),
        addressed=find_any(words.addressed),
        ordinals=tuple(find_any((each,)) for each in words.ordinals),
        function=compile_any(rf"(?:{join(_function_words(words))})"),
    )


def _function_words(words: DialogueWords) -> tuple[str, ...]:
    return (
        *words.function_words.split(),
        *words.leads,
        *words.corrections,
        *words.additions,
        *words.question_words,
        *words.verbs,
        *words.things,
        *words.possessives,
        *words.persons,
        *words.places,
        *words.ones,
        *words.articles,
        *(each for group in words.prepositions for each in group),
        *words.options,
    )


def join(patterns: Iterable[str]) -> str:
    """One pattern of several, the longest first; never matches where there is nothing."""
    return "|".join(sorted(patterns, key=lambda each: (-len(each), each))) or r"(?!)"


_ELIDED = join(each for language in LANGUAGES for each in load_dialogue_words(language).elisions)
WORD = re.compile(rf"{VAULT_TOKEN.pattern}|\b(?:{_ELIDED})['’](?=\w)|\w+(?:[.,:/'’-]\w+)*", re.IGNORECASE)


def find_any(patterns: Iterable[str]) -> re.Pattern[str]:
    """Any of the patterns as whole words."""
    return compile_any(rf"(?<![\w'’-])(?:{join(patterns)})(?![\w-])")


def compile_any(pattern: str) -> re.Pattern[str]:
    """Without regard to case."""
    return re.compile(pattern, re.IGNORECASE)


def find_words(text: str) -> list[re.Match[str]]:
    """The words of a text; a vault token is one."""
    return list(WORD.finditer(text))


def topic_words(text: str, patterns: DialoguePatterns) -> list[str]:
    """The words of a text that have a topic."""
    return [word[0] for word in find_words(text) if not patterns.function.fullmatch(word[0])]


def is_named(word: str) -> bool:
    """Whether a word is a name, a code or a number, by how it is written."""
    return word[:1].isupper() or any(letter.isdigit() for letter in word)
