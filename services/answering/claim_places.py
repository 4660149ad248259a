"""Whether the things of a sentence stand in each other's place: two words exchanged, a value under another label.

Pure. Next: `claim_edits`, which lays the two texts beside each other; `sentence_check`, which weighs it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations, pairwise

from tidegate.services.answering.claim_edits import align, is_content, split_numbered
from tidegate.services.knowledge.index.keyword import find_terms

PLACE_FEATURES = ("exchanged_pair", "transposed", "other_label")
_SUBJECT = re.compile(r"\s[–—]\s")


def measure_places(sentence: str, evidence: str, language: str) -> dict[str, float]:
    """The values of `PLACE_FEATURES`, each a count up to 2; of the whole sentence, not clause by clause, for two halves
    of a row or a comparison exchange what stands in them."""
    stated, source = split_numbered(sentence, language), split_numbered(evidence, language)
    counts = {
        "exchanged_pair": _exchanged_pairs(stated, source, language),
        "transposed": _transposed(stated, source, language),
        "other_label": _other_labels(sentence, evidence, language),
    }
    return {name: float(min(2, count)) for name, count in counts.items()}


def _exchanged_pairs(stated: Sequence[str], source: Sequence[str], language: str) -> int:
    """Pairs of edits of which each puts in what the other takes out."""
    edits = [
        ({word for word in edit.stated if is_content(word, language)}, {*edit.source})
        for edit in align(stated, source)[0]
        if edit.kind == "replace"
    ]
    return sum(bool(one[0] & other[1]) and bool(other[0] & one[1]) for one, other in combinations(edits, 2))


def _transposed(stated: Sequence[str], source: Sequence[str], language: str) -> int:
    """Neighbours that stand the other way round in the evidence, and nowhere as in the sentence."""
    own, theirs = set(pairwise(stated)), set(pairwise(source))
    return sum(
        (other, one) in theirs and (one, other) not in theirs and one != other
        for one, other in own
        if is_content(one, language) and is_content(other, language)
    )


def _other_labels(sentence: str, evidence: str, language: str) -> int:
    """Cells of a row ("A – Price: 5 €; Weight: 2 kg") whose value the evidence has under another label only, and a row
    that is of another subject."""
    theirs = _cells(evidence, language)
    if not theirs:
        return 0
    wrong = 0
    for label, value in _cells(sentence, language):
        labels = [each for each, other in theirs if _is_of_the_same(value, other)]
        wrong += bool(labels) and not any(_is_of_the_same(label, each) for each in labels)
        wrong += not labels and any(label == each for each, _ in theirs)
    subjects = [_subject(text, language) for text in (sentence, evidence)]
    return wrong + (all(subjects) and not _is_of_the_same(*subjects))


def _is_of_the_same(one: frozenset[str], other: frozenset[str]) -> bool:
    return one <= other or other <= one


def _cells(text: str, language: str) -> list[tuple[frozenset[str], frozenset[str]]]:
    """The terms of each label with those of its value; none of a text without the dash of a row, for a colon alone
    stands in prose too."""
    row = _SUBJECT.split(text)
    if len(row) == 1:
        return []
    cells = (cell.partition(": ") for cell in row[-1].split(";"))
    found = [(_terms(label, language), _terms(value, language)) for label, _, value in cells]
    return [(label, value) for label, value in found if value]


def _subject(text: str, language: str) -> frozenset[str]:
    parts = _SUBJECT.split(text)
    return _terms(parts[0], language) if len(parts) > 1 and ": " in parts[-1] else frozenset()


def _terms(text: str, language: str) -> frozenset[str]:
    return frozenset(find_terms(" ".join(split_numbered(text, language)), language))
