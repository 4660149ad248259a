"""Sentences with their evidence, borne out or planted wrong, from the questions that are kept here.

Next: planting.py, which makes the faults; training/entailment.py, which learns from them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

from tidegate.infra.models.data.planting import PLANTED, plant, rewrite
from tidegate.infra.models.data.qa import TRAIN, QaDocument, QaQuestion, QaSet, load_own
from tidegate.services.answering.sentence_check import SourceText

Split = Literal["train", "dev", "heldout"]
LEAST_WORDS = 5
"""Of a sentence; what is shorter is no sentence that a model writes."""
_NOWHERE = Path("/nonexistent")


class EntailmentPair(msgspec.Struct, frozen=True):
    """A sentence, what it cites, and what kind it is of: one of the faults, or how a true sentence came about."""

    sentence: str
    evidence: tuple[SourceText, ...]
    question: str
    kind: str
    is_supported: bool


def split_of(document: str) -> Split:
    """Three fifths of the documents to learn from, a fifth to choose on, a fifth to be measured on."""
    fifth = sha256(document.encode()).digest()[0] % 5
    return "dev" if fifth == 3 else "heldout" if fifth == 4 else "train"


def load_pairs(split: Split, most_documents: int | None = None) -> list[EntailmentPair]:
    """The pairs of a split, the same at each call."""
    data = load_own(_NOWHERE, TRAIN)
    documents = [each for each in data.documents.values() if split_of(each.id) == split and each.language in PLANTED]
    dice = random.Random(split)
    dice.shuffle(documents)
    return [pair for each in documents[:most_documents] for pair in _pairs_of(data, each, dice)]


def _pairs_of(data: QaSet, document: QaDocument, dice: random.Random) -> Iterator[EntailmentPair]:
    """What a document states, in its words, in others, and in an answer; with one fault each."""
    asked = [each for each in data.questions if each.document == document.id and each.language == document.language]
    for question in asked:
        if len(question.gold) != 1:
            continue
        (number,) = question.gold
        source = source_of(document, number)
        yield from _with_faults(document, question, source, "verbatim", source.text, dice)
        for sentence in rewrite(source.text, document.language, dice):
            pairs = _with_faults(document, question, source, "rewritten", sentence, dice)
            yield from (each for each in pairs if not (each.is_supported and _is_doubtful(each, question, document)))
        if len(question.answer.split()) >= LEAST_WORDS:
            yield from _with_faults(document, question, source, "answered", question.answer, dice)


def _is_doubtful(pair: EntailmentPair, question: QaQuestion, document: QaDocument) -> bool:
    """Whether a yes was put before a sentence that nobody says answers the question with yes."""
    yes = PLANTED[document.language].yes
    return pair.sentence.startswith(yes) and not question.answer.startswith(yes)


def source_of(document: QaDocument, number: int) -> SourceText:
    """A unit of a document as evidence."""
    unit = document.units[number]
    return SourceText(unit.text, document.language, f"{document.title} {unit.heading}")


def _with_faults(
    document: QaDocument, question: QaQuestion, source: SourceText, kind: str, sentence: str, dice: random.Random
) -> Iterator[EntailmentPair]:
    if len(sentence.split()) < LEAST_WORDS or not sentence[0].isalpha():
        return
    evidence = (source,)
    yield EntailmentPair(sentence, evidence, question.text, kind, True)
    around = _other_texts(document, source)
    for fault, false in plant(sentence, source.text, around, document.language, dice):
        if fault == "yes_no" and kind != "answered":
            continue  # a yes that was put before a sentence answers nothing
        yield EntailmentPair(false, evidence, question.text, fault, False)


def _other_texts(document: QaDocument, source: SourceText) -> Sequence[str]:
    return [unit.text for unit in document.units if unit.text != source.text and unit.text[:1].isalpha()]
