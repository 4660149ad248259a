"""Whether a sentence denies what its evidence asserts, or the other way round, clause by clause.

Pure. Next: `sentence_check`; services/languages/claim_words.py, the words that deny."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tidegate.services.answering.claim_edits import marks_in
from tidegate.services.answering.quantities import split_words
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.languages.claim_words import DENIAL, ClaimMark, load_claim_words

_CLAUSES = re.compile(r"[,;:](?!\d)|[.!?](?=\s)|[()–—]|\s-\s")
_REFUSING = frozenset({ClaimMark("opposite", value) for value in ("forbidden", "excluded", "closed")})
"""What says no without a word of denial."""
_WITH, _WITHOUT = (ClaimMark("opposite", value) for value in ("with", "without"))


def wrong_denial(sentence: str, parts: Sequence[str], language: str) -> str:
    """The fault, or nothing: each clause denies as the clause of `parts` that says the same, or as its whole sentence.

    "Photos are not allowed" and "photos are forbidden" deny alike."""
    clauses = [clause for part in parts for clause in (*split_clauses(part), part)]
    for clause in split_clauses(sentence):
        terms = set(content_of(clause, language))
        shared = [(len(terms & set(content_of(other, language))), other) for other in clauses]
        most = max((count for count, _ in shared), default=0)
        closest = [other for count, other in shared if count == most]
        if not most:
            continue
        shortest = min(len(content_of(other, language)) for other in closest)
        nearest = [other for other in closest if len(content_of(other, language)) == shortest]
        if all(denies(other, language) != denies(clause, language) for other in nearest) and all(
            refuses(other, language) != refuses(clause, language) for other in nearest
        ):
            return "it denies what it cites" if denies(clause, language) else "it asserts what its source denies"
    return ""


def denies(text: str, language: str, *, is_of_statement: bool = False) -> bool:
    """Whether a text denies: an odd number of words do, or any where denials are repeated. `is_of_statement` leaves out
    those that deny only the words behind them ("without a fee")."""
    lexicon = load_claim_words(language)
    words = split_words(text)
    count = marks_in(words, lexicon).count(DENIAL)
    if is_of_statement:
        count -= sum(word in lexicon.absences for word in words)
    return count > 0 if lexicon.repeats_denials else count % 2 == 1


def refuses(text: str, language: str) -> bool:
    """Whether a text says no: it denies, or says *forbidden*, *excluded* or *closed*."""
    if denies(text, language, is_of_statement=True):
        return True
    return not _REFUSING.isdisjoint(marks_in(split_words(text), load_claim_words(language)))


def count_absences(sentence: str, evidence: str, language: str) -> int:
    """Words that the sentence says something goes with where the evidence says without, or the other way round."""
    own, theirs = (_absences(text, language) for text in (sentence, evidence))
    return sum((not is_without, word) in theirs and (is_without, word) not in theirs for is_without, word in own)


def _absences(text: str, language: str) -> set[tuple[bool, str]]:
    """The terms behind each *with* and *without*, two of them: an adjective may stand before the thing."""
    marks, words = load_claim_words(language).marks, split_words(text)
    found = set()
    for at, word in enumerate(words):
        of = marks.get(word, ())
        if _WITH in of or _WITHOUT in of:
            terms = [term for each in words[at + 1 : at + 5] for term in find_terms(each, language)]
            found |= {(_WITHOUT in of, term) for term in terms[:2]}
    return found


def split_clauses(text: str) -> list[str]:
    """The parts between commas, colons, semicolons, ends of sentences, brackets and dashes."""
    return [part for part in _CLAUSES.split(text) if part.strip()]


def content_of(clause: str, language: str) -> list[str]:
    """The terms of a clause that deny nothing."""
    denials = load_claim_words(language).denials
    return [term for term in find_terms(clause, language) if term not in denials]
