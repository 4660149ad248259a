"""Calibrates a reader on a pack's calibration questions against the index it will read from. Next: calibration.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tidegate.schemas.pack import Pack
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import (
    SHIPPED,
    Calibration,
    CalibrationMissingError,
    LabelledEvidence,
    fit_confidence,
)
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.evidence import AnswerEvidence
from tidegate.services.knowledge.reader.reader import AT_SITE, Effort, Reader, Retrieval
from tidegate.services.knowledge.reader.unit_reader import UnitReader

K = 8
UTTERED_IN = "en"
"""The language in which an intent's utterances are looked for; the pack does not say theirs."""


def prepare_calibration(
    pack: Pack, index: HybridIndex, units: UnitReader, path: Path, effort: Effort = AT_SITE
) -> Calibration:
    """Fit the confidence on the pack's calibration questions, and on the utterances of intents that no corpus answers,
    never on the questions it is measured on; write it to `path`. A pack without any gets the shipped calibration.

    Does nothing when `path` holds the calibration of this pack, index, models and effort already. A question whose
    documents this index does not hold counts as one without an answer: an edge must be unsure of what the hub knows.
    """
    made_from = f"{pack.version}/{index.version}/{units.version}/{effort.windows}"
    try:
        found = Calibration.load(path)
        if found.made_from == made_from:
            return found
    except CalibrationMissingError:
        pass
    calibration = _fit(pack, index, units, effort) if pack.calibration else SHIPPED
    out_of_scope = tuple(intent.id for intent in pack.intents if intent.verdict == "out_of_scope")
    calibration = msgspec.structs.replace(calibration, made_from=made_from, out_of_scope_intents=out_of_scope)
    calibration.save(path)
    return calibration


def _fit(pack: Pack, index: HybridIndex, units: UnitReader, effort: Effort) -> Calibration:
    """What retrieval alone makes of the questions says which are read, and with those that were the rest is fitted."""
    asked = retrieve_all(pack, index, Reader(units, SHIPPED, effort))
    unread, _ = fit_confidence(_label(asked, lambda found: (found.ranked[:1], found.evidence)))
    first = msgspec.structs.replace(SHIPPED, unread=unread)
    reader = Reader(units, first, effort)

    def read(found: Retrieval) -> Judged:
        _, selection, evidence = reader.read_retrieved(found)
        return selection.units, evidence

    fitted, quality = fit_confidence(_label(asked, read))
    return msgspec.structs.replace(first, read=fitted, fit=quality)


class AskedQuestions(msgspec.Struct, frozen=True):
    """What was retrieved for each calibration question, the documents that answer it, and what was retrieved for each
    utterance of an intent that no corpus answers."""

    labelled: Sequence[Retrieval]
    documents: Sequence[Sequence[str]]
    unanswerable: Sequence[Retrieval]


Judged = tuple[Sequence[Candidate], AnswerEvidence]
"""The units of an answer, none where there is none, and the evidence for it."""


def retrieve_all(pack: Pack, index: HybridIndex, reader: Reader) -> AskedQuestions:
    """The calibration questions of the pack, and what is out of its scope, each looked for once."""

    def retrieve(text: str, language: str) -> Retrieval:
        return reader.retrieve(text, language, index.find(text, K, language), index)

    return AskedQuestions(
        [retrieve(question.text, question.language) for question in pack.calibration],
        [question.documents for question in pack.calibration],
        [
            retrieve(text, UTTERED_IN)
            for intent in pack.intents
            if intent.verdict == "out_of_scope"
            for text in intent.utterances
        ],
    )


def _label(asked: AskedQuestions, judge: Callable[[Retrieval], Judged]) -> LabelledEvidence:
    """The evidence for each answer; it is right where it cites one of the question's documents."""
    judged = [judge(found) for found in asked.labelled]
    right = [
        bool(units) and units[0].passage.document_id in documents
        for (units, _), documents in zip(judged, asked.documents, strict=True)
    ]
    rows = [evidence for _, evidence in judged]
    return LabelledEvidence(rows, right, [judge(found)[1] for found in asked.unanswerable])
