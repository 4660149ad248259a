"""Rewrites a question into a search query, in the words of the documents. Next: hybrid.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence, Set
from functools import lru_cache
from pathlib import Path

import msgspec

from tidegate.schemas.pack import Synonyms
from tidegate.schemas.vault_token import number_tokens, without_tokens
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.index.sentences import split_sentences
from tidegate.services.knowledge.index.storage import replace_file
from tidegate.services.languages.pleasantries import take_pleasantries

FILE = "thesaurus.json"
_LONGEST_QUESTION = 60
"""Words; an embedding can hold about as many."""
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
read_groups = msgspec.json.Decoder(tuple[Synonyms, ...]).decode
"""The groups of a saved thesaurus."""

Phrase = tuple[str, ...]


def rewrite_query(text: str) -> str:
    """A question without its vault tokens, greetings, thanks and signature; of a long text, its sentences with a
    question mark, where there are any.

    The rest of a short text often names what the question is about. The digits of vault tokens change nothing.
    """
    return _rewrite(*number_tokens((text,)).texts)


@lru_cache(maxsize=1024)
def _rewrite(text: str) -> str:
    bare = _without_pleasantries(text)
    return bare if len(bare.split()) <= _LONGEST_QUESTION else " ".join(_questions_in(bare)) or bare


def list_queries(text: str) -> tuple[str, ...]:
    """The ways to read a text as a question, for a reader to choose from: all of it, and its questions alone."""
    whole = rewrite_query(text)
    alone = " ".join(_questions_in(whole))
    return (whole,) if not alone or alone == whole else (whole, alone)


def _without_pleasantries(text: str) -> str:
    bare = without_tokens(take_pleasantries(text).rest)
    return " ".join((bare if bare.strip() else without_tokens(text)).split())


def _questions_in(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text, 0, len(text)) if "?" in text[start:end]]


class Thesaurus:
    """Groups of words for one thing, per language; the documents' own term stands first in each.

    Words are compared by stem, phrases word by word, stop words included ("not open" is not "open"); of overlapping
    phrases the longest counts.
    """

    def __init__(self, groups: Iterable[Synonyms] = ()) -> None:
        self._phrases: dict[str, dict[Phrase, list[str]]] = {}
        self._longest = 1
        for group in groups:
            phrases = self._phrases.setdefault(group.language, {})
            for synonym in group.words[1:]:
                phrase = tuple(stem for stem, _, _ in find_stems(synonym, group.language))
                if phrase:
                    phrases.setdefault(phrase, []).append(group.words[0])
                    self._longest = max(self._longest, len(phrase))

    @classmethod
    def load(cls, directory: Path) -> Thesaurus:
        """The one saved with an index; an empty one where there is none."""
        try:
            return cls(read_groups((directory / FILE).read_bytes()))
        except FileNotFoundError:
            return cls()

    def rewrite(self, text: str, language: str, find_stated: Callable[[Phrase], Set[str]]) -> str:
        """`text` in the words of the documents: their terms follow it, and replace what no document holds.

        `find_stated(terms)` gives those of the terms that any document holds.
        """
        phrases = self._phrases.get(language)
        if not phrases:
            return text
        words = find_stems(text, language)
        kept: list[str] = []
        added: list[str] = []
        position = end = 0
        while position < len(words):
            length = self._longest_at(words, position, phrases)
            if length:
                phrase = tuple(stem for stem, _, _ in words[position : position + length])
                added += phrases[phrase]
                if not find_stated(phrase):
                    kept.append(text[end : words[position][1]])
                    end = words[position + length - 1][2]
            position += length or 1
        return " ".join((*"".join((*kept, text[end:])).split(), *dict.fromkeys(added)))

    def _longest_at(
        self, words: Sequence[tuple[str, int, int]], position: int, phrases: dict[Phrase, list[str]]
    ) -> int:
        for length in range(min(self._longest, len(words) - position), 0, -1):
            if tuple(stem for stem, _, _ in words[position : position + length]) in phrases:
                return length
        return 0


def find_stems(text: str, language: str) -> list[tuple[str, int, int]]:
    """The words of a text by stem, with their first and last character; a stop word stands for itself."""
    found = []
    for match in _WORD.finditer(text):
        stemmed = find_terms(match.group(), language)
        found.append((stemmed[0] if stemmed else match.group().lower(), match.start(), match.end()))
    return found


def save_thesaurus(directory: Path, groups: Sequence[Synonyms]) -> None:
    """Write the thesaurus into an index's directory, in one step; nothing when it is there already."""
    made = msgspec.json.encode(tuple(groups))
    path = directory / FILE
    if not path.exists() or path.read_bytes() != made:
        replace_file(path, made)
