"""Splits compound words of German into the words that they are made of. Next: data/compounds/NOTICE.md.

Promises the same parts at every site: what is split depends on nothing but the word and the lists that are shipped.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from hashlib import sha256
from importlib.resources import files

import msgspec

SPLIT = frozenset({"de"})
"""The languages whose compounds are split."""

SHORTEST, LONGEST = 7, 60
"""Letters of a word that is split; a longer one is no word."""
_LONGEST_PART = 24
_SHORTEST_PART = 2
_LEARNED_FROM = 6
"""So long is a word of `last` that may begin a compound, ..."""
_SHORTEST_MIDDLE = 4
"""... and one that may stand in its middle, where less else fits."""
_WORD = re.compile(r"[^\W_]+")


class CompoundParts(msgspec.Struct, frozen=True):
    """What compounds of a language are made of, in small letters, `ss` for `ß`.

    `first` are words as they stand before another one, with what joins them (`überweisungs`); `last` are words that end
    compounds, with `endings`; `whole` are words that are not split, with `endings`. A word of `last` may stand before
    another one, too, as it is or with one of the letters `joints`.
    """

    first: frozenset[str]
    last: frozenset[str]
    whole: frozenset[str]
    endings: tuple[str, ...]
    joints: frozenset[str]

    def split(self, word: str) -> tuple[str, ...]:
        """The parts of a word in small letters, which joined are the word; none where it is no compound.

        The fewest parts are taken, and of those the longest last one: "wasser-sport", not "wassers-port".
        """
        if self._is_one_word(word):
            return ()
        beginnings = self._beginnings(word)
        found: tuple[str, ...] = ()
        for end in range(len(word) - _SHORTEST_PART, _SHORTEST_PART - 1, -1):
            before = beginnings.get(end)
            if before and (not found or len(before) < len(found)) and self._ends(word[end:], self.last):
                found = (*before, word[end:])
        return found

    def _is_one_word(self, word: str) -> bool:
        return word in self.first or self._ends(word, self.last) or self._ends(word, self.whole)

    def _beginnings(self, word: str) -> dict[int, tuple[str, ...]]:
        """How the first letters of a word are made of parts that stand before another one, by their number."""
        found: dict[int, tuple[str, ...]] = {0: ()}
        for end in range(_SHORTEST_PART, len(word) - _SHORTEST_PART + 1):
            best: tuple[str, ...] | None = None
            for start in range(max(0, end - _LONGEST_PART), end - _SHORTEST_PART + 1):
                before = found.get(start)
                if before is None or (best is not None and len(before) + 1 >= len(best)):
                    continue
                if self._begins(word[start:end], shortest=_SHORTEST_MIDDLE if start else _LEARNED_FROM):
                    best = (*before, word[start:end])
            if best is not None:
                found[end] = best
        return found

    def _begins(self, part: str, shortest: int) -> bool:
        if part in self.first:
            return True
        if len(part) < shortest:
            return False
        return part in self.last or (part[-1] in self.joints and len(part) > shortest and part[:-1] in self.last)

    def _ends(self, part: str, words: frozenset[str]) -> bool:
        return part in words or any(part.endswith(each) and part[: -len(each)] in words for each in self.endings)


def split_compounds(text: str, language: str) -> str:
    """The words of a text, with the parts of a compound in its place."""
    found: list[str] = []
    for word in _WORD.findall(text):
        found += split_compound(word, language) or (word,)
    return " ".join(found)


@lru_cache(maxsize=8192)
def split_compound(word: str, language: str) -> tuple[str, ...]:
    """The parts of a compound, in small letters and with `ss` for `ß`; none for other words, and for one with digits.

    Joined, the parts are the word: what joins them stays with the part before ("überweisungs", "gebühr").
    """
    low = word.casefold()
    if language not in SPLIT or not SHORTEST <= len(low) <= LONGEST:
        return ()
    return load_parts(language).split(low)


def is_part(word: str, language: str) -> bool:
    """Whether compounds of a language of `SPLIT` are made of this word or of one of those that a hyphen joins in it:
    a common noun in nearly all cases, and no name."""
    parts = load_parts(language)
    forms = [form for each in word.casefold().split("-") for form in (each, f"{each}s")]
    return any(form.replace("ß", "ss") in words for form in forms for words in (parts.first, parts.last, parts.whole))


def digest_parts(language: str) -> bytes:
    """What the lists of a language of `SPLIT` are told apart by: SHA-256 of their file."""
    data = files("tidegate.services.languages") / "data" / "compounds" / f"{language}.toml"
    return sha256(data.read_bytes()).digest()


@cache
def load_parts(language: str) -> CompoundParts:
    """What compounds of one of the languages of `SPLIT` are made of, read once."""
    text = (files("tidegate.services.languages") / "data" / "compounds" / f"{language}.toml").read_text("utf-8")
    lists = {name: words.split() for name, words in tomllib.loads(text).items()}
    return CompoundParts(
        first=frozenset(lists["first"]),
        last=frozenset(lists["last"]),
        whole=frozenset(lists["whole"]),
        endings=tuple(lists["endings"]),
        joints=frozenset(lists["joints"]),
    )
