"""The words by which values are read out of texts, from one data file per language. Next: data/extraction/en.toml.

Promises that a file that is wrong is found when it is first read."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache, lru_cache
from importlib.resources import files

import msgspec

from tidegate.services.languages.words import LANGUAGES

_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_SPANISH_U = re.compile(r"gü(?=[eéií])")
_STEMS = 16_384


class ReadingWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Words that change what a value means; lower case."""

    negations: tuple[str, ...]
    """What makes a clause deny what it says."""
    corrections: tuple[str, ...]
    """What stands before a value that holds no longer, or never did."""
    renewals: tuple[str, ...]
    """What stands before a value that holds from now on."""
    missing: tuple[str, ...]
    """What stands in the place of a value that there is none of."""
    articles: tuple[str, ...]
    links: tuple[str, ...]
    """Words that may stand inside a name or a phrase, never at its end."""
    small_words: tuple[str, ...]
    """Pronouns, prepositions, conjunctions and auxiliary verbs: a name or a phrase neither begins nor ends with one."""
    streets: tuple[str, ...]
    organisations: tuple[str, ...]
    roles: tuple[str, ...]
    """Words of greetings and closings: no name begins with one."""
    today: tuple[str, ...]
    half: tuple[str, ...]
    """What stands before an hour to say half an hour after it; German says half an hour before it."""
    none_options: tuple[str, ...]
    """Options of a form that say that none of the others applies."""
    titles: tuple[str, ...]
    number_signs: tuple[str, ...]
    """Short words and signs that lead a number and are no part of it."""
    addresses: tuple[str, ...]
    """Titles that anybody is addressed by, and that are no part of a whole name."""
    alternatives: tuple[str, ...]
    firm_suffixes: tuple[str, ...]
    """What a firm's name may end in behind a comma, as it is written."""
    counters: tuple[str, ...]
    """What stands around a number in a list and belongs to no name."""
    evening: tuple[str, ...]
    """What stands after an hour to put it in the second half of the day."""
    until: tuple[str, ...]
    """What stands between the first day of a span and the last, or between days of one month."""
    day_leads: tuple[str, ...]
    """What stands before the number of a day whose month is known, where the number has the mark of an ordinal."""
    day_articles: tuple[str, ...]
    """The same for a number without a mark."""


class ExtractionWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's words for extraction."""

    numbers: dict[str, float]
    scales: dict[str, float]
    """Words that multiply the number before them."""
    units: dict[str, tuple[str, ...]]
    """Words for each unit of measure; the symbols of SI units are read without."""
    currencies: dict[str, tuple[str, ...]]
    """Everyday words for the currencies of ISO 4217."""
    zones: dict[str, str]
    """Names of zones of time, as they are written, with their offset from UTC as RFC 3339 has it."""
    words: ReadingWords
    concepts: dict[str, tuple[str, ...]]
    """Words that name the same thing in forms and messages, by a name that all languages share."""


@cache
def load_extraction_words(language: str) -> ExtractionWords:
    """The words of one of `LANGUAGES`. Raises `FileNotFoundError` for another."""
    text = (files("tidegate.services.languages") / "data" / "extraction" / f"{language}.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), ExtractionWords)


@cache
def field_words(language: str) -> frozenset[str]:
    """The words by which a language names fields, units and large numbers, folded."""
    words = load_extraction_words(language)
    named = (*words.concepts.values(), *words.units.values(), *words.currencies.values(), tuple(words.scales))
    return frozenset(fold(word) for group in named for word in group)


@cache
def all_words(kind: str) -> frozenset[str]:
    """The words of one field of `ReadingWords` in every language, folded."""
    return frozenset(
        fold(word) for language in LANGUAGES for word in getattr(load_extraction_words(language).words, kind)
    )


@cache
def all_zones() -> dict[str, str]:
    """The offset from UTC of each zone of time that a language names."""
    return {name: offset for language in LANGUAGES for name, offset in load_extraction_words(language).zones.items()}


@cache
def any_of(kind: str) -> str:
    """A pattern of the words of one field of `ReadingWords` in every language, as they are written, longest first."""
    words = {word for code in LANGUAGES for word in getattr(load_extraction_words(code).words, kind)}
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


@cache
def concepts_by_word() -> dict[str, frozenset[str]]:
    """The concepts that each folded word may stand for, in any language."""
    found: dict[str, set[str]] = {}
    for language in LANGUAGES:
        for concept, words in load_extraction_words(language).concepts.items():
            found.setdefault(stem(concept), set()).add(concept)
            for word in words:
                found.setdefault(stem(word), set()).add(concept)
    return {word: frozenset(concepts) for word, concepts in found.items()}


def fold(text: str) -> str:
    """`text` in lower case without accents, `ß` as `ss` and German `ä`, `ö`, `ü` as `ae`, `oe`, `ue`, as the
    names of fields have them; a Spanish `ü` as `u`."""
    if text.isascii():
        return text.lower()
    spelled = _SPANISH_U.sub("gu", unicodedata.normalize("NFC", text.casefold())).translate(_UMLAUTS)
    spread = unicodedata.normalize("NFKD", spelled)
    return "".join(char for char in spread if not unicodedata.combining(char))


@lru_cache(maxsize=_STEMS)
def stem(word: str) -> str:
    """The part of a word that its forms share, roughly: the first six letters, without a plural `s`."""
    folded = fold(word)
    if len(folded) > 3 and folded.endswith("s") and not folded.endswith("ss"):
        folded = folded[:-1]
    return folded[:6]
