"""Looks words up in lists of names, and describes groups of them by features for a filter.

What is known of a word are lists of names, its letters, its neighbours and, where a model has read it, probabilities.
Pure: texts and probabilities in, spans and features out; training and the product share it. Next: person_groups.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.services.languages.person_names import load_person_names, plain_name
from tidegate.services.privacy.dlp.person_context import SENTENCE_START, WORD

FloatArray = NDArray[np.float32]

LABELS = {
    "NAME": ("GIVEN_NAME", "SURNAME"),
    "ADDRESS": ("BUILDING_NUMBER", "STREET_NAME", "SECONDARY_ADDRESS", "CITY", "STATE", "ZIP_CODE"),
}
"""The kinds that are looked for, and the labels of the model that speak for each."""
PART = re.compile(r"[^\W\d_]+")
GIVEN, SURNAME = 1, 2


class ScoredWord(NamedTuple):
    """Characters `start` to `end` of a text are a word; `shares` are its probabilities by label of the model, zeros
    where no model has read it; `known` says in which lists of names it is (`GIVEN`, `SURNAME`)."""

    start: int
    end: int
    shares: FloatArray
    known: int = 0


class PersonCandidate(NamedTuple):
    """Words that may be a name or an address together: `first` to `last` of the text's words, both counted."""

    kind: str
    first: int
    last: int


Columns = Callable[[str], Sequence[int]]
"""Which of a word's shares speak for a label."""


def look_up(word: str) -> int:
    """In which lists of names a word is, or the parts of one with a hyphen."""
    names = load_person_names()
    parts = PART.findall(plain_name(word))
    return GIVEN * any(part in names.given for part in parts) | SURNAME * any(part in names.surnames for part in parts)


def split_words(text: str, labels: int) -> list[ScoredWord]:
    """The words of a text that no model has read."""
    nothing = np.zeros(labels, np.float32)
    return [ScoredWord(found.start(), found.end(), nothing, look_up(found.group())) for found in WORD.finditer(text)]


def average_pieces(text: str, offsets: Sequence[tuple[int, int]], shares: FloatArray) -> list[ScoredWord]:
    """The words of the text with the mean of their pieces' probabilities; words without a piece are left out."""
    words: list[ScoredWord] = []
    piece = 0
    for found in WORD.finditer(text):
        while piece < len(offsets) and offsets[piece][1] <= found.start():
            piece += 1
        first = piece
        while piece < len(offsets) and offsets[piece][0] < found.end():
            piece += 1
        if piece > first:
            mean = shares[first:piece].mean(axis=0)
            words.append(ScoredWord(found.start(), found.end(), mean, look_up(found.group())))
    return words


def describe(
    text: str, words: Sequence[ScoredWord], candidate: PersonCandidate, columns: Columns
) -> tuple[FloatArray, list[str]]:
    """What the filter weighs: numbers (see the code), and the words, their ends and their neighbours as keys."""
    inner = words[candidate.first : candidate.last + 1]
    spelled = [text[word.start : word.end] for word in inner]
    labels = LABELS[candidate.kind]
    by_label = np.stack([[float(word.shares[list(columns(label))].sum()) for label in labels] for word in inner])
    mass = by_label.sum(axis=1).clip(1e-4, 0.9999)
    strongest = by_label.max(axis=0)
    has_capitals = [each[0].isupper() for each in spelled]
    given = [bool(word.known & GIVEN) for word in inner]
    surname = [bool(word.known & SURNAME) for word in inner]
    dense = [
        1.0,
        float(mass.mean()),
        float(mass.min()),
        float(np.log(mass.mean() / (1 - mass.mean()))) / 4,
        float(len(inner) == 1),
        float(len(inner) == 2),
        float(all(has_capitals)),
        float(all(has_capitals) and len(inner) > 1),
        float(not any(has_capitals)),
        float(all(each.isupper() for each in spelled)),
        float(bool(SENTENCE_START.search(text, max(0, inner[0].start - 6), inner[0].start))),
        float(not any(map(str.isupper, text))),
        float(any(letter.isdecimal() for each in spelled for letter in each)),
        float(strongest[:2].min()),  # a given name and a surname; a number and a street
        *(float(each) for each in np.pad(strongest, (0, 6 - len(labels)))),
        *((float(given[0]), float(surname[-1]), float(given[0] and surname[-1]) if len(inner) > 1 else 0.0)),
        sum(map(bool, (word.known for word in inner))) / len(inner),
        float(given[0] and len(inner) > 1),
        float(not any(word.known for word in inner)),
        float(len(inner) > 2),
    ]
    return np.array(dense, np.float32), _keys(text, words, candidate, spelled)


def _keys(text: str, words: Sequence[ScoredWord], candidate: PersonCandidate, spelled: Sequence[str]) -> list[str]:
    def neighbour(number: int) -> str:
        return text[words[number].start : words[number].end].lower() if 0 <= number < len(words) else ""

    kind = candidate.kind
    before, after = neighbour(candidate.first - 1), neighbour(candidate.last + 1)
    keys = [f"{kind}<{before}", f"{kind}>{after}", f"{kind}<<{neighbour(candidate.first - 2)} {before}"]
    for each in spelled:
        low = each.lower()
        keys += [f"={low}", f"^{low[:3]}", f"${low[-3:]}", f"${low[-2:]}"]
    return keys
