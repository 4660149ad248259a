"""What people say for the words of the documents: a question is looked for as the documents would put it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from tidegate.schemas.pack import Synonyms
from tidegate.services.knowledge.index.keyword import terms

FILE = "thesaurus.json"
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_read = msgspec.json.Decoder(tuple[Synonyms, ...]).decode

Phrase = tuple[str, ...]


class Thesaurus:
    """Groups of words for one thing, per language; the documents' own term stands first in each.

    Words are compared by stem, phrases word by word, stop words included ("not open" is not "open"); of overlapping
    phrases the longest counts.
    """

    def __init__(self, groups: Iterable[Synonyms] = ()) -> None:
        self._own: dict[str, dict[Phrase, list[str]]] = {}
        self._longest = 1
        for group in groups:
            held = self._own.setdefault(group.language, {})
            for said in group.words[1:]:
                phrase = tuple(stem for stem, _, _ in stems(said, group.language))
                if phrase:
                    held.setdefault(phrase, []).append(group.words[0])
                    self._longest = max(self._longest, len(phrase))

    @classmethod
    def load(cls, directory: Path) -> Thesaurus:
        """The one kept beside an index; an empty one where there is none."""
        try:
            return cls(_read((directory / FILE).read_bytes()))
        except FileNotFoundError:
            return cls()

    def worded(self, text: str, language: str, is_known: Callable[[str], bool]) -> str:
        """`text` as the documents would put it: their terms follow it, and stand in place of what they never say.

        `is_known(term)` says whether any document holds a term.
        """
        held = self._own.get(language)
        if not held:
            return text
        said = stems(text, language)
        kept: list[str] = []
        added: list[str] = []
        place = end = 0
        while place < len(said):
            length = self._longest_at(said, place, held)
            if length:
                phrase = tuple(stem for stem, _, _ in said[place : place + length])
                added += held[phrase]
                if not any(is_known(stem) for stem in phrase):
                    kept.append(text[end : said[place][1]])
                    end = said[place + length - 1][2]
            place += length or 1
        return " ".join((*"".join((*kept, text[end:])).split(), *dict.fromkeys(added)))

    def _longest_at(self, said: Sequence[tuple[str, int, int]], place: int, held: dict[Phrase, list[str]]) -> int:
        for length in range(min(self._longest, len(said) - place), 0, -1):
            if tuple(stem for stem, _, _ in said[place : place + length]) in held:
                return length
        return 0


def stems(text: str, language: str) -> list[tuple[str, int, int]]:
    """The words of a text by stem, with their first and last character; a stop word stands for itself."""
    found = []
    for match in _WORD.finditer(text):
        stemmed = terms(match.group(), language)
        found.append((stemmed[0] if stemmed else match.group().lower(), match.start(), match.end()))
    return found


def keep(directory: Path, groups: Sequence[Synonyms]) -> None:
    """Write the thesaurus beside an index, in one step; nothing when it is there already."""
    made = msgspec.json.encode(tuple(groups))
    path = directory / FILE
    if path.exists() and path.read_bytes() == made:
        return
    directory.mkdir(parents=True, exist_ok=True)
    draft = directory / f"{FILE}.part"
    draft.write_bytes(made)
    draft.replace(path)
