"""Where a question names several entries of one list or table, the answer has each of them. Next: selection.py."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.selection import FindGroup, Selection, label_of, unnumbered
from tidegate.services.languages.prose import PROSE_LANGUAGES, load_prose
from tidegate.services.languages.words import LANGUAGES, load_words

_FEWEST_NAMED = 2


def select_named(selection: Selection, question: str, language: str, find_group: FindGroup) -> Selection:
    """The selection of a question that joins several things (`A and B`, `A or B`), with the entries of each of them. As
    it is where the question names fewer than two entries, or none of those selected; for `find_group` see
    `select_units`.
    """
    if not selection.units or selection.units[0].unit.kind == "sentence" or not _joins(language).search(question):
        return selection
    group = find_group(selection.units[0])
    if not _joins_entries(group, question, language):
        return selection
    named = _find_named(group, question)
    is_of_them = any(each.span == unit.span for each in named for unit in selection.units)
    if not is_of_them or len(named) < _FEWEST_NAMED:
        return selection
    return Selection(units=tuple(map(unnumbered, named)))


def _joins_entries(group: Sequence[Candidate], question: str, language: str) -> bool:
    """Whether somewhere what stands before an `and` or `or` names other entries than what stands behind: of
    `telephones and keys` one entry may be the label."""
    labels = [frozenset(find_terms(label_of(each), each.passage.language)) for each in group]

    def nearest(words: Iterable[str]) -> frozenset[int]:
        """The entries that the first of the words names that names any."""
        for word in words:
            terms = frozenset(find_terms(word, group[0].passage.language))
            found = frozenset(number for number, label in enumerate(labels) if not terms.isdisjoint(label))
            if found:
                return found
        return frozenset()

    for joint in _joins(language).finditer(question):
        before = nearest(reversed(question[: joint.start()].split()))
        behind = nearest(question[joint.end() :].split())
        if before and behind and before != behind:
            return True
    return False


def _find_named(group: Sequence[Candidate], question: str) -> list[Candidate]:
    """The entries with a word of the question in their label that no other label has; and of several with the same word
    all, where the question tells none of them apart."""
    spoken = group[0].passage.language if group else ""
    labels = [frozenset(find_terms(label_of(each), spoken)) for each in group]
    asked = frozenset(term for term in find_terms(question, spoken) if not term.isdigit())
    counts = Counter(term for label in labels for term in label & asked)
    own = [any(counts[term] == 1 for term in label & asked) for label in labels]
    stated = frozenset().union(*(label for label, is_own in zip(labels, own, strict=True) if is_own))
    return [
        each
        for each, label, is_own in zip(group, labels, own, strict=True)
        if is_own or (label & asked and not label & asked & stated)
    ]


@cache
def _joins(language: str) -> re.Pattern[str]:
    """The words that join things, or offer one of them, in a language; nothing in one that is not known here."""
    words = (*load_prose(language).alternatives,) if language in PROSE_LANGUAGES else ()
    words += (*load_words(language).conjunctions,) if language in LANGUAGES else ()
    return re.compile(rf"(?<!\w)(?:{'|'.join(words) or '(?!)'})(?!\w)", re.IGNORECASE)
