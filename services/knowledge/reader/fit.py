"""Calibrates a reader on a pack's calibration questions against the index it will read from. Next: calibration.py."""

from __future__ import annotations

from collections.abc import Sequence
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
from tidegate.services.knowledge.reader.reader import AT_SITE, Effort, Reader
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
    unread, _ = fit_confidence(gather_evidence(pack, index, Reader(units, SHIPPED, effort), are_read=False))
    first = msgspec.structs.replace(SHIPPED, unread=unread)
    read, quality = fit_confidence(gather_evidence(pack, index, Reader(units, first, effort), are_read=True))
    return msgspec.structs.replace(first, read=read, fit=quality)


def gather_evidence(pack: Pack, index: HybridIndex, reader: Reader, *, are_read: bool) -> LabelledEvidence:
    """The evidence for the reader's answers to the pack's calibration questions, each right where it cites one of the
    question's documents, and to what is out of scope; or for the best unit of each before any is read."""

    def judge(text: str, language: str, documents: Sequence[str]) -> tuple[AnswerEvidence, bool]:
        passages = index.find(text, K, language)
        if are_read:
            _, selection, evidence = reader.read(text, language, passages, index)
            best: Sequence[Candidate] = selection.units
        else:
            best, evidence = reader.retrieve(text, language, passages, index)
        return evidence, bool(best) and best[0].passage.document_id in documents

    labelled = [judge(question.text, question.language, question.documents) for question in pack.calibration]
    out_of_scope = [intent for intent in pack.intents if intent.verdict == "out_of_scope"]
    beside = [judge(text, UTTERED_IN, ()) for intent in out_of_scope for text in intent.utterances]
    rows, right = [evidence for evidence, _ in labelled], [is_right for _, is_right in labelled]
    return LabelledEvidence(rows, right, [evidence for evidence, _ in beside])
