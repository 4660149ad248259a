"""Groups the words that a model takes for names or addresses, and describes each group by features for a filter.

Pure: texts and probabilities in, spans and features out. Training and the product share it. Next: person_model.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

LABELS = {
    "NAME": ("GIVEN_NAME", "SURNAME"),
    "ADDRESS": ("BUILDING_NUMBER", "STREET_NAME", "SECONDARY_ADDRESS", "CITY", "STATE", "ZIP_CODE"),
}
"""The kinds that are looked for, and the labels of the model that speak for each."""
LEAST = 0.35
"""The probability of a kind that one word of a candidate has at least; the filter decides what becomes of it."""
JOINED = 0.2
"""And that which each of its words has."""
BUCKETS = 4096
WORD = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")
GAP = re.compile(r"\.?[\"'\u201c\u201d\u201e\u00ab\u00bb)]?[ \t]{1,2}[\"'\u201c\u201d\u201e\u00ab\u00bb(]?|\.")
"""Between the words of a name: a blank, the dot of an initial, the marks of a nickname."""
ADDRESS_GAP = re.compile(r"[\s,./\u2013-]{1,3}")
SENTENCE_START = re.compile(r"(?:^|[.!?:\n])[\s\"'\u00ab\u201e\u00bf\u00a1(-]*$")
MOST_WORDS = {"NAME": 5, "ADDRESS": 12}


class ScoredWord(NamedTuple):
    """Characters `start` to `end` of a text are a word; `shares` are its probabilities by label of the model."""

    start: int
    end: int
    shares: FloatArray


class PersonCandidate(NamedTuple):
    """Words that may be a name or an address together: `first` to `last` of the text's words, both counted."""

    kind: str
    first: int
    last: int


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
            words.append(ScoredWord(found.start(), found.end(), shares[first:piece].mean(axis=0)))
    return words


def find_candidates(
    text: str, words: Sequence[ScoredWord], columns: Callable[[str], Sequence[int]]
) -> Iterator[PersonCandidate]:
    """Runs of neighbouring words of each kind; `columns` tells which of a word's shares speak for a label."""
    for kind, labels in LABELS.items():
        wanted = [column for label in labels for column in columns(label)]
        masses = [float(word.shares[wanted].sum()) for word in words]
        for first, last in _runs(text, words, masses, kind):
            if max(masses[first : last + 1]) >= LEAST:
                yield PersonCandidate(kind, first, last)


def _runs(text: str, words: Sequence[ScoredWord], masses: Sequence[float], kind: str) -> Iterator[tuple[int, int]]:
    """First and last of each run of words that may belong to the kind, with no more between them than it allows."""
    gap = GAP if kind == "NAME" else ADDRESS_GAP
    first: int | None = None
    for number, word in enumerate(words):
        joins = masses[number] >= JOINED
        if first is not None:
            is_near = gap.fullmatch(text, words[number - 1].end, word.start) is not None
            if not (joins and is_near) or number - first >= MOST_WORDS[kind]:
                yield first, number - 1
                first = None
        if joins and first is None:
            first = number
    if first is not None:
        yield first, len(words) - 1


def describe(
    text: str, words: Sequence[ScoredWord], candidate: PersonCandidate, columns: Callable[[str], Sequence[int]]
) -> tuple[FloatArray, list[int]]:
    """What the filter weighs: numbers (see the code), and buckets of the words, their ends and their neighbours.

    Hashed features: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", 2009.
    """
    inner = words[candidate.first : candidate.last + 1]
    spelled = [text[word.start : word.end] for word in inner]
    labels = LABELS[candidate.kind]
    by_label = np.stack([[float(word.shares[list(columns(label))].sum()) for label in labels] for word in inner])
    mass = by_label.sum(axis=1).clip(0, 1)
    strongest = by_label.max(axis=0)
    has_capitals = [each[0].isupper() for each in spelled]
    dense = [
        1.0,
        float(mass.mean()),
        float(mass.min()),
        float(np.log(mass.mean() / (1 - min(mass.mean(), 0.9999)))) / 4,
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
    ]
    before = text[words[candidate.first - 1].start : words[candidate.first - 1].end].lower() if candidate.first else ""
    following = words[candidate.last + 1 : candidate.last + 2]
    after = text[following[0].start : following[0].end].lower() if following else ""
    hashed = [f"{candidate.kind}<{before}", f"{candidate.kind}>{after}"]
    for each in spelled:
        low = each.lower()
        hashed += [f"={low}", f"^{low[:3]}", f"${low[-3:]}", f"${low[-2:]}"]
    return np.array(dense, np.float32), [crc32(each.encode()) % BUCKETS for each in hashed]
