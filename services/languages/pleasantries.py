"""Takes greetings, thanks, polite phrases and a signature off a text, and says what a text is that has nothing else.

Promises that a text's own words stay as they are. Next: prose.py, whose patterns it searches.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Literal, NamedTuple

from tidegate.schemas.vault_token import without_tokens
from tidegate.services.languages.prose import PROSE_LANGUAGES, join_prose, load_prose

PleasantryKind = Literal["greeting", "thanks", "farewell", "identity"]
_KINDS: tuple[PleasantryKind, ...] = ("identity", "thanks", "farewell", "greeting")
"""The most telling first."""

_GREETINGS = join_prose(lambda words: words.greetings)
_POLITE = join_prose(lambda words: (*words.greetings, *words.openings, *words.thanks, *words.farewells))
_ENDING = join_prose(lambda words: (*words.openings, *words.thanks, *words.farewells, *words.closings))
_CLOSING = join_prose(lambda words: words.closings)
_NAME = r"(?:[ ,]+(?:<\S{1,40}>|[^\W\d_a-zß-ÿ][\w'’-]+)){0,2}"
_LEAD = re.compile(
    rf"[\W_]*(?:(?:{_GREETINGS})(?-i:{_NAME})|(?:{_POLITE}))(?:\s*[,.!?;:…–—\n-]+\s*|\s*$)", re.IGNORECASE
)
_BARE_GREETING = re.compile(rf"[\W_]*(?:{_GREETINGS})\s+(?=\S+\s+\S+\s+\S)", re.IGNORECASE)
_TAIL = re.compile(rf"(?:^|(?<=[,.!?;:…–—\n-]))\s*(?:{_ENDING})[\s,.!:;)…-]*$", re.IGNORECASE)
_SIGNATURE = re.compile(
    rf"(?:^|[.!?,\n])[^\S\n]*(?:{_CLOSING})[ \t]*[,.!]?[ \t]*(?:\n|$)(?P<rest>(?:.*\n?){{0,4}})$", re.IGNORECASE
)
_SIGNED_THANKS = re.compile(
    rf"(?:{join_prose(lambda words: (*words.thanks, *words.farewells))})[ \t]*[,.!]*[ \t]*\n+(?P<rest>[^\n?]*)$",
    re.IGNORECASE,
)
_MOST_SIGNATURE_WORDS = 12
_MOST_NAME_WORDS = 3


class Pleasantries(NamedTuple):
    """A text without its pleasantries; `kind` is there where nothing is left, with the languages that it may be in."""

    rest: str
    kind: PleasantryKind | None = None
    languages: tuple[str, ...] = ()


@lru_cache(maxsize=1024)
def take_pleasantries(text: str) -> Pleasantries:
    """What is asked or told in `text`; its kind where that is nothing but pleasantries. The last texts are remembered:
    several stages ask of the same one."""
    rest = _without_signature(text).strip()
    while (lead := _LEAD.match(rest) or _BARE_GREETING.match(rest)) and lead.end():
        rest = rest[lead.end() :]
    while (tail := _TAIL.search(rest)) and tail.group().strip():
        rest = rest[: tail.start()].rstrip(" \t\n,;–—")
    if any(letter.isalnum() for letter in without_tokens(rest)):
        kind, languages = _kind_of(rest, ("identity",))
        return Pleasantries(rest, kind, languages)
    kind, languages = _kind_of(text, _KINDS)
    return Pleasantries("", kind, languages)


def _without_signature(text: str) -> str:
    patterns = [(_SIGNATURE, _MOST_SIGNATURE_WORDS)]
    if "\n" in text:  # there is a line of its own in those, and looking for them takes longest
        patterns.append((_SIGNED_THANKS, _MOST_NAME_WORDS))
    for pattern, most in patterns:
        found = pattern.search(text)
        if found and found.start() and len(found["rest"].split()) <= most and "?" not in found["rest"]:
            text = text[: found.start() + (pattern is _SIGNATURE)]
    return text


def _kind_of(text: str, kinds: Sequence[PleasantryKind]) -> tuple[PleasantryKind | None, tuple[str, ...]]:
    """The first of these kinds of pleasantry that a text holds, and the languages whose words say so."""
    for kind in kinds:
        languages = tuple(language for language in PROSE_LANGUAGES if _patterns(language)[kind].search(text.strip()))
        if languages:
            return kind, languages
    return None, ()


@cache
def _patterns(language: str) -> dict[PleasantryKind, re.Pattern[str]]:
    def compile_any(choose: tuple[str, ...], *, is_whole: bool = False) -> re.Pattern[str]:
        joined = "|".join(sorted(choose, key=lambda pattern: (-len(pattern), pattern)))
        return re.compile(rf"^\W*(?:{joined})\W*$" if is_whole else rf"\b(?:{joined})(?!\w)", re.IGNORECASE)

    words = load_prose(language)
    return {
        "identity": compile_any(words.identity_questions, is_whole=True),
        "thanks": compile_any(words.thanks),
        "farewell": compile_any((*words.farewells, *words.closings)),
        "greeting": compile_any((*words.greetings, *words.openings)),
    }
