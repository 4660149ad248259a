"""Calibrates a reader on a pack's calibration questions against the index it will read from. Next: calibration.py."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tidegate.schemas.pack import Pack
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import (
    SHIPPED,
    Calibration,
    CalibrationMissingError,
    fit_calibration,
)
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
    labelled = [(question.text, question.language, question.documents) for question in pack.calibration]
    rows, right = gather_evidence(labelled, index, units, effort)
    out_of_scope = [intent for intent in pack.intents if intent.verdict == "out_of_scope"]
    utterances = [(text, UTTERED_IN, ()) for intent in out_of_scope for text in intent.utterances]
    unanswerable, _ = gather_evidence(utterances, index, units, effort)
    return fit_calibration(rows, right, unanswerable)


def gather_evidence(
    questions: Iterable[tuple[str, str, tuple[str, ...]]], index: HybridIndex, units: UnitReader, effort: Effort
) -> tuple[list[AnswerEvidence], list[bool]]:
    """For each (text, language, documents) the evidence of the reader's answer, and whether it cites one of those."""
    reader = Reader(units, SHIPPED, effort)
    rows: list[AnswerEvidence] = []
    right: list[bool] = []
    for text, language, documents in questions:
        query = index.rewrite_query(text, language)
        passages = index.search(query, units.embedder.embed(query), K, language)
        _, selection, evidence = reader.read(text, language, passages, index)
        rows.append(evidence)
        right.append(bool(selection.units) and selection.units[0].passage.document_id in documents)
    return rows, right
