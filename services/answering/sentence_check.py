"""Whether passages bear out a sentence that a model wrote of them: its numbers, denials, names and words.

By rules alone, and rather too strict: a sentence that fails is replaced by a quotation. Next: `grounded_writer`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.answering.quantities import Quantity, find_quantities, leave_out_quantities, split_words
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.index.sentences import split_sentences
from tidegate.services.languages.extraction_words import all_words

BORNE_OUT_FROM = 0.85
"""The share of a sentence's terms that its evidence, its headings or the question must hold."""
MOST_EVIDENCE = 3
"""Sentences that one sentence may be drawn from."""
WINDOW = 4
"""Words on either side of a number that say what it is the number of."""
CLEARLY = 0.5
"""By how much the words around another number must fit better: more than one word that is a little farther away."""
_CLAUSES = re.compile(r"[,;:()–—]|\s-\s")
_CAPITALISED = re.compile(r"(?<=[^\s.!?:])\s+[\"'“‘(]*([A-ZÀ-Þ][\w’'-]*)")


class SourceText(msgspec.Struct, frozen=True):
    """A text that a sentence may rest on; `around` is what stands over it (title, heading, a table's header)."""

    text: str
    language: str
    around: str = ""


class SentenceCheck(msgspec.Struct, frozen=True):
    """`score` is the share of terms that are borne out; `fault` says what is not, empty where it passed."""

    score: float
    fault: str = ""

    @property
    def passed(self) -> bool:
        """Whether the sentence may be said."""
        return not self.fault


def check_sentence(sentence: str, evidence: Sequence[SourceText], question: str = "") -> SentenceCheck:
    """Hold a sentence against all of `evidence` together; the question lends it words, never numbers."""
    if not evidence:
        return SentenceCheck(0.0, "it cites nothing")
    language = evidence[0].language
    whole = " ".join(f"{each.around} {each.text}" for each in evidence)
    if lost := set(VAULT_TOKEN.findall(sentence)) - set(VAULT_TOKEN.findall(f"{whole} {question}")):
        return SentenceCheck(0.0, f"{len(lost)} vault tokens are in no passage")
    sentence = VAULT_TOKEN.sub(" ", sentence)
    terms = find_terms(sentence, language)
    if not terms:
        return SentenceCheck(0.0, "it says nothing")
    parts = _choose(terms, evidence)
    around = " ".join(each.around for each in evidence)
    known = set(find_terms(f"{' '.join(parts)} {around} {question}", language))
    own = find_terms(leave_out_quantities(sentence, language), language)
    score = sum(term in known for term in own) / len(own) if own else 1.0
    fault = (
        _wrong_number(sentence, parts, around, language)
        or _wrong_name(sentence, {*known, *find_terms(whole, language)}, language)
        or _wrong_denial(sentence, parts, language)
        or ("" if score >= BORNE_OUT_FROM else f"only {score:.0%} of its words are in what it cites")
    )
    return SentenceCheck(score, fault)


def _choose(terms: Sequence[str], evidence: Sequence[SourceText]) -> list[str]:
    """The sentences of the evidence that hold most of the terms, each for what the ones before it lack."""
    language = evidence[0].language
    parts = [each.text[slice(*span)] for each in evidence for span in split_sentences(each.text, 0, len(each.text))]
    held = [set(find_terms(part, language)) for part in parts]
    wanted = set(terms)
    chosen: list[str] = []
    while parts and len(chosen) < MOST_EVIDENCE:
        gains = [len(wanted & own) for own in held]
        best = max(range(len(parts)), key=gains.__getitem__)
        if chosen and not gains[best]:
            break
        chosen.append(parts[best])
        wanted -= held[best]
        held[best] = set()
    return chosen


def _wrong_number(sentence: str, parts: Sequence[str], around: str, language: str) -> str:
    words = split_words(sentence)
    stated = split_words(f"{around} . {' '.join(parts)}")
    theirs = find_quantities(stated, language)
    for quantity in find_quantities(words, language):
        same = [each for each in theirs if each.value == quantity.value]
        if not same:
            return f"the number {words[quantity.at]} is not in what it cites"
        fitting = [each for each in same if not quantity.unit or not each.unit or each.unit == quantity.unit]
        if not fitting:
            return f"{words[quantity.at]} has another unit in what it cites"
        if _is_of_something_else(quantity, words, theirs, stated):
            return f"{words[quantity.at]} is the number of something else in what it cites"
    return ""


def _is_of_something_else(
    quantity: Quantity, words: Sequence[str], theirs: Sequence[Quantity], stated: Sequence[str]
) -> bool:
    """Whether the words around the number are those around another number of the same unit."""
    own = _around(quantity, words)
    rivals = [each for each in theirs if each.unit == quantity.unit or each.value == quantity.value]
    overlaps = {each: _shared(own, _around(each, stated)) for each in rivals}
    best = max(overlaps.values(), default=0.0)
    mine = max((overlap for each, overlap in overlaps.items() if each.value == quantity.value), default=0.0)
    return best > mine + CLEARLY


def _around(quantity: Quantity, words: Sequence[str]) -> dict[str, float]:
    """The words near a number, the nearer the heavier; the nearer place counts for one that is there twice."""
    near: dict[str, float] = {}
    for at in range(max(0, quantity.at - WINDOW), min(len(words), quantity.at + WINDOW + 1)):
        if at != quantity.at:
            near[words[at]] = max(near.get(words[at], 0.0), 1.0 / abs(at - quantity.at))
    return near


def _shared(own: dict[str, float], other: dict[str, float]) -> float:
    return sum(min(weight, other[word]) for word, weight in own.items() if word in other)


def _wrong_name(sentence: str, known: set[str], language: str) -> str:
    for name in _CAPITALISED.findall(sentence):
        if any(term not in known for term in find_terms(name, language)):
            return f"the name {name} is not in what it cites"
    return ""


def _wrong_denial(sentence: str, parts: Sequence[str], language: str) -> str:
    """Each clause denies as often as the clause that says the same, or as its whole sentence."""
    clauses = [clause for part in parts for clause in (*_clauses(part), part)]
    for clause in _clauses(sentence):
        terms = set(_content(clause, language))
        shared = [(len(terms & set(_content(other, language))), other) for other in clauses]
        most = max((count for count, _ in shared), default=0)
        closest = [other for count, other in shared if count == most]
        if not most:
            continue
        shortest = min(len(_content(other, language)) for other in closest)
        nearest = [other for other in closest if len(_content(other, language)) == shortest]
        if all(_denies(other) != _denies(clause) for other in nearest):
            return "it denies what it cites" if _denies(clause) else "it asserts what its source denies"
    return ""


def _clauses(text: str) -> list[str]:
    return [part for part in _CLAUSES.split(text) if part.strip()]


def _content(clause: str, language: str) -> list[str]:
    denials = all_words("negations")
    return [term for term in find_terms(clause, language) if term not in denials]


def _denies(text: str) -> int:
    """Whether an odd number of words deny."""
    denials = all_words("negations")
    return sum(word in denials or word.endswith(("n't", "n’t")) for word in split_words(text)) % 2
