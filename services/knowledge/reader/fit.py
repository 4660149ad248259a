"""Calibrates a reader on a pack's calibration questions against the index it will read from. Next: calibration.py."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tidegate.schemas.pack import Pack
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import Calibration, CalibrationMissingError, fit_calibration
from tidegate.services.knowledge.reader.evidence import AnswerEvidence
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.text_embedder import TextEmbedder

K = 8
UTTERED_IN = "en"
"""The language in which an intent's utterances are looked for; the pack does not say theirs."""


def prepare_calibration(pack: Pack, index: HybridIndex, embedder: TextEmbedder, path: Path) -> Calibration:
    """Fit the confidence on the pack's calibration questions, and on the utterances of intents that no corpus answers,
    never on the questions it is measured on; write it to `path`.

    Does nothing when `path` holds the calibration of this pack, this index and this embedder already. A question whose
    documents this index does not hold counts as one without an answer: an edge must be unsure of what the hub knows.
    """
    made_from = f"{pack.version}/{index.version}/{embedder.version}"
    try:
        found = Calibration.load(path)
        if found.made_from == made_from:
            return found
    except CalibrationMissingError:
        pass
    labelled = [(question.text, question.language, question.documents) for question in pack.calibration]
    rows, right = gather_evidence(labelled, index, embedder)
    out_of_scope = [intent for intent in pack.intents if intent.verdict == "out_of_scope"]
    utterances = [(text, UTTERED_IN, ()) for intent in out_of_scope for text in intent.utterances]
    unanswerable, _ = gather_evidence(utterances, index, embedder)
    calibration = msgspec.structs.replace(
        fit_calibration(rows, right, made_from, unanswerable),
        out_of_scope_intents=tuple(intent.id for intent in out_of_scope),
    )
    calibration.save(path)
    return calibration


def gather_evidence(
    questions: Iterable[tuple[str, str, tuple[str, ...]]], index: HybridIndex, embedder: TextEmbedder
) -> tuple[list[AnswerEvidence], list[bool]]:
    """For each (text, language, documents) the evidence of the reader's answer, and whether it cites one of those."""
    reader = Reader(embedder, _UNFITTED)
    rows: list[AnswerEvidence] = []
    right: list[bool] = []
    for text, language, documents in questions:
        query = index.rewrite_query(text, language)
        passages = index.search(query, embedder.embed(query), K, language)
        _, selection, evidence = reader.read(text, language, passages, index)
        rows.append(evidence)
        right.append(bool(selection.units) and selection.units[0].passage.document_id in documents)
    return rows, right


_UNFITTED = Calibration(features=(), mean=(), spread=(), weights=(), bias=0.0, made_from="")
