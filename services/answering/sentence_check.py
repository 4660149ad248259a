"""Whether passages bear out a sentence that a model wrote of them: its numbers, denials, names, small words and words.

Rules find what differs, and a fitted model weighs it; rather too strict, for a sentence that fails is replaced by a
quotation. Next: `claim_edits`, `entailment`, `grounded_writer`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import log1p
from typing import NamedTuple

import msgspec

from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.answering.claim_edits import EDIT_FEATURES, measure_edits
from tidegate.services.answering.entailment import load_entailment
from tidegate.services.answering.quantities import Quantity, find_quantities, leave_out_quantities, split_words
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.index.sentences import split_sentences
from tidegate.services.knowledge.reader.yes_no import find_polarity
from tidegate.services.languages.claim_words import load_claim_words
from tidegate.services.languages.extraction_words import all_words, fold
from tidegate.services.languages.prose import load_prose

BORNE_OUT_FROM = 0.6
"""The share of a sentence's terms that its evidence, its headings or the question must hold, whatever else it says."""
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
    """`score` is the chance that it is borne out, see `entailment`; `fault` says what is not, empty where it passed."""

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
    whole = " ".join(f"{each.around} {each.text}" for each in evidence)
    if lost := set(VAULT_TOKEN.findall(sentence)) - set(VAULT_TOKEN.findall(f"{whole} {question}")):
        return SentenceCheck(0.0, f"{len(lost)} vault tokens are in no passage")
    sentence = VAULT_TOKEN.sub(" ", sentence)
    if not find_terms(sentence, evidence[0].language):
        return SentenceCheck(0.0, "it says nothing")
    found = describe_claim(sentence, evidence, question)
    model = load_entailment()
    score = model.score(found.row)
    if found.is_lost:
        score = min(score, model.threshold / 2)
    return SentenceCheck(score, "" if score >= model.threshold else found.fault)


class FoundInClaim(NamedTuple):
    """The features of a sentence beside its evidence, and the first fault in words; `is_lost` where no other feature
    can make good for it."""

    row: dict[str, float]
    fault: str
    is_lost: bool


def describe_claim(sentence: str, evidence: Sequence[SourceText], question: str = "") -> FoundInClaim:
    """What the model of `entailment` weighs; see `CLAIM_FEATURES`. `evidence` is not empty."""
    language = evidence[0].language
    lead, sentence = _split_lead(sentence, language)
    fillers = load_claim_words(language).fillers
    parts = _choose(find_terms(sentence, language), evidence)
    around = " ".join(each.around for each in evidence)
    whole = f"{' '.join(each.text for each in evidence)} {around}"
    known = set(find_terms(f"{' '.join(parts)} {around} {question}", language))
    words = [word for word in leave_out_quantities(sentence, language).split() if fold(word) not in fillers]
    own = find_terms(" ".join(words), language)
    missing = [term for term in own if term not in known]
    share = 1.0 - len(missing) / len(own) if own else 1.0
    polarity = find_polarity(question, language, parts[0], language) if lead and question and parts else ""
    lead_fault = f"it says {lead} where what it cites says {polarity}" if polarity not in ("", lead) else ""
    number = _wrong_number(sentence, parts, around, language)
    name = _wrong_name(sentence, {*known, *find_terms(whole, language)}, language)
    denial = _wrong_denial(sentence, parts, language)
    edits = measure_edits(sentence, " ".join(each.text for each in evidence), f"{around} {question}", language)
    row = {
        "borne_out": share,
        "missing": float(min(4, len(missing))),
        "one_missing": float(len(missing) == 1),
        "terms": min(3.0, log1p(len(own))),
        "number": float(bool(number)),
        "name": float(bool(name)),
        "denial": float(bool(denial)),
        "lead": float(bool(lead_fault)),
        **edits,
    }
    fault = (
        number
        or name
        or lead_fault
        or denial
        or _name_edit(edits)
        or f"only {share:.0%} of its words are in what it cites"
    )
    return FoundInClaim(row, fault, bool(number or name or lead_fault) or share < BORNE_OUT_FROM)


CLAIM_FEATURES = ("borne_out", "missing", "one_missing", "terms", "number", "name", "denial", "lead", *EDIT_FEATURES)
"""`borne_out`: the share of its terms that the evidence, its headings or the question hold."""


def _split_lead(sentence: str, language: str) -> tuple[str, str]:
    """The yes or no that a sentence begins with, and what is said after it; all of it where that is nothing."""
    words = load_prose(language)
    for lead, word in (("yes", words.yes), ("no", words.no)):
        rest = re.match(rf"\s*{word}\s*[,.;:!–—-]+\s*(?=\w)", sentence, re.IGNORECASE)
        if rest:
            return lead, sentence[rest.end() :]
    return "", sentence


def _name_edit(edits: dict[str, float]) -> str:
    """The first difference in small words, said in words; empty where there is none."""
    if edits["denial_changed"] or edits["denial_added"] or edits["denial_dropped"]:
        return "it denies otherwise than what it cites"
    if edits["swapped"]:
        return "what it says of one thing is said of another in what it cites"
    if edits["beside_number"]:
        return "a number has another unit in what it cites"
    kinds = [name.split("_")[-1] for name, value in edits.items() if value and name.startswith(("exchanged", "only"))]
    return f"it says another {kinds[0]} than what it cites" if kinds else ""


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
