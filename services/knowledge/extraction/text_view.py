"""A text cut into words, clauses and lines, once for all fields. Promises offsets into the text as it was given. Next:
features.py."""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import cache, cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from tidegate.services.languages.extraction_words import all_words, concepts_by_word, fold, stem
from tidegate.services.languages.prose import PROSE_LANGUAGES, load_prose

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|[#&]|n[º°]")
_STRONG = re.compile(r"[\n;]|[.!?](?=\s|$)")


class Word(msgspec.Struct, frozen=True):
    """A word with its folded form, its stem, what it may stand for, and the clause and line that it is in."""

    start: int
    end: int
    folded: str
    stem: str
    concepts: frozenset[str]
    clause: int
    line: int


class TextView:
    """The words of one text and where its clauses and lines begin and end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.clauses = _split(text)
        self._clause_ends = [end for _, end in self.clauses]
        self._line_ends = [match.start() for match in re.finditer(r"\n", text)]
        known = concepts_by_word()
        self.words: list[Word] = []
        for match in _WORD.finditer(text):
            own = stem(match[0])
            found = known.get(own, frozenset())
            clause, line = self.clause_of(match.start()), bisect_left(self._line_ends, match.start())
            self.words.append(Word(match.start(), match.end(), fold(match[0]), own, found, clause, line))
        self._starts = [word.start for word in self.words]

    def clause_of(self, offset: int) -> int:
        """The number of the clause that an offset is in."""
        return min(bisect_left(self._clause_ends, offset + 1), len(self.clauses) - 1)

    def line_of(self, offset: int) -> int:
        """The number of the line that an offset is in."""
        return bisect_left(self._line_ends, offset)

    def clause_text(self, clause: int) -> str:
        """A clause as it stands in the text."""
        start, end = self.clauses[clause]
        return self.text[start:end]

    def word_range(self, start: int, end: int) -> tuple[int, int]:
        """The numbers of the first word from `start` on and of the first that does not begin before `end`."""
        return bisect_left(self._starts, start), bisect_left(self._starts, end)

    @cached_property
    def breaks(self) -> npt.NDArray[np.int64]:
        """For each word, how many commas, brackets and dashes stand before it in the text."""
        marks = [match.start() for match in re.finditer(r",(?=\s)|[()]|\s[—–-]\s|\s{2,}|[:]", self.text)]
        return np.array([bisect_left(marks, word.start) for word in self.words], dtype=np.int64)

    @cached_property
    def negations(self) -> list[int]:
        """Where words stand that deny something."""
        single = {word for word in all_words("negations") if " " not in word}
        return [word.start for word in self.words if word.folded in single]


def _split(text: str) -> list[tuple[int, int]]:
    ends_no_clause = _abbreviations()
    clauses, start = [], 0
    for match in _STRONG.finditer(text):
        if match[0] == "." and ends_no_clause.search(text, max(0, match.start() - 12), match.start()):
            continue
        clauses.append((start, match.end()))
        start = match.end()
    if start < len(text) or not clauses:
        clauses.append((start, len(text)))
    return clauses


@cache
def _abbreviations() -> re.Pattern[str]:
    known = [load_prose(language) for language in PROSE_LANGUAGES]
    words = {pattern for each in known for pattern in (*each.abbreviations, *each.number_abbreviations)}
    return re.compile(rf"(?:\b(?:{'|'.join(sorted(words))})|(?:^|[\s.(])[^\W_]|(?<!\d)\d{{1,2}})$", re.IGNORECASE)
