"""Groups the words that may be a name or an address, and describes each group by features for a filter.

What is known of a word are lists of names, its letters, its neighbours and, where a model has read it, probabilities.
Pure: texts and probabilities in, spans and features out; training and the product share it. Next: person_filter.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.services.languages.identity_words import list_identity_words
from tidegate.services.languages.person_names import load_person_names, plain_name
from tidegate.services.languages.words import LANGUAGES, load_words
from tidegate.services.privacy.dlp.names import PARTICLES

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
KNOWN, BESIDE = 0.5, 0.25
"""What counts instead for a word in the lists of names, and for one that stands beside such a word."""
WORD = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")
GAP = re.compile(r"\.?[\"'\u201c\u201d\u201e\u00ab\u00bb)]?\s{1,3}[\"'\u201c\u201d\u201e\u00ab\u00bb(]?|\.")
"""Between the words of a name: white space, the dot of an initial, the marks of a nickname."""
ADDRESS_GAP = re.compile(r"[\s,./\u2013-]{1,3}")
SENTENCE_START = re.compile(r"(?:^|[.!?:\n])[\s\"'\u00ab\u201e\u00bf\u00a1(-]*$")
PART = re.compile(r"[^\W\d_]+")
MOST_WORDS = {"NAME": 5, "ADDRESS": 12}
INITIALS = 3
"""Letters of the longest word that a dot may stand behind within a name."""
GIVEN, SURNAME = 1, 2
TITLES = frozenset(plain_name(word) for word in list_identity_words("TITLE"))
ORDINARY = frozenset(
    plain_name(word)
    for words in map(load_words, LANGUAGES)
    for word in f"{words.stop_words} {words.personal.no_names} {' '.join(words.open_questions)}".split()
)
"""Words that are no part of a name though they stand beside one, with a capital where they open a sentence."""
NO_NAMES = ORDINARY | TITLES


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


def find_candidates(text: str, words: Sequence[ScoredWord], columns: Columns) -> Iterator[PersonCandidate]:
    """Runs of neighbouring words of each kind."""
    if not words:
        return
    table = np.stack([word.shares for word in words])
    for kind, labels in LABELS.items():
        wanted = [column for label in labels for column in columns(label)]
        masses: list[float] = table[:, wanted].sum(axis=1).tolist()
        if kind == "NAME":
            _raise_known(text, words, masses)
        for first, last in _runs(text, words, masses, kind):
            if max(masses[first : last + 1]) >= LEAST:
                yield PersonCandidate(kind, first, last)


def _raise_known(text: str, words: Sequence[ScoredWord], masses: list[float]) -> None:
    """Let the lists of names speak beside the model: for the words in them, those beside these, and two in capitals."""
    has_capitals = any(map(str.isupper, text))
    spelled = [text[word.start : word.end] for word in words]
    proper = [each[0].isupper() and plain_name(each) not in NO_NAMES for each in spelled]
    near = [_is_near(text, one, other, "NAME") for one, other in pairwise(words)]
    for number, word in enumerate(words):
        follows = number > 0 and near[number - 1]
        if word.known and (proper[number] or not has_capitals) and plain_name(spelled[number]) not in ORDINARY:
            masses[number] = max(masses[number], KNOWN)
        elif proper[number] and follows and (proper[number - 1] or plain_name(spelled[number - 1]) in TITLES):
            masses[number] = max(masses[number], LEAST)
            if proper[number - 1]:
                masses[number - 1] = max(masses[number - 1], LEAST)
    for number, each in enumerate(spelled):
        if 0 < number < len(words) - 1 and each in PARTICLES and near[number - 1] and masses[number - 1] >= JOINED:
            masses[number] = max(masses[number], BESIDE)


def _is_near(text: str, word: ScoredWord, other: ScoredWord, kind: str) -> bool:
    """Whether no more stands between two words than does in a name or an address; a dot behind a long word ends a
    sentence."""
    if kind != "NAME":
        return ADDRESS_GAP.fullmatch(text, word.end, other.start) is not None
    if text[word.end] == "." and word.end - word.start > INITIALS:
        return False
    return GAP.fullmatch(text, word.end, other.start) is not None


def _runs(text: str, words: Sequence[ScoredWord], masses: Sequence[float], kind: str) -> Iterator[tuple[int, int]]:
    """First and last of each run of words that may belong to the kind, with no more between them than it allows."""
    first: int | None = None
    for number, word in enumerate(words):
        joins = masses[number] >= JOINED
        if first is not None:
            is_near = joins and _is_near(text, words[number - 1], word, kind)
            if not is_near or number - first >= MOST_WORDS[kind]:
                yield _trimmed(text, words, first, number - 1)
                first = None
        if joins and first is None:
            first = number
    if first is not None:
        yield _trimmed(text, words, first, len(words) - 1)


def _trimmed(text: str, words: Sequence[ScoredWord], first: int, last: int) -> tuple[int, int]:
    """Without particles at the end, and with one that stands between a title and the name."""
    spelled = [text[word.start : word.end] for word in words[max(0, first - 2) : last + 1]]
    while last > first and text[words[last].start : words[last].end] in PARTICLES:
        last -= 1
    if first > 1 and spelled[1] in PARTICLES and plain_name(spelled[0]) in TITLES:
        first -= 1
    return first, last


def follows_title(text: str, words: Sequence[ScoredWord], candidate: PersonCandidate) -> bool:
    """Whether a title stands before a name in capitals."""
    if candidate.kind != "NAME" or not candidate.first or not text[words[candidate.first].start].isupper():
        return False
    before, name = words[candidate.first - 1], words[candidate.first]
    return (
        plain_name(text[before.start : before.end]) in TITLES
        and GAP.fullmatch(text, before.end, name.start) is not None
    )


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
