"""Calibrates a reader on a pack's calibration questions against the index it will read from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tidegate.schemas.pack import Pack
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import Calibration, NotCalibrated, fitted
from tidegate.services.knowledge.reader.candidates import Embeds
from tidegate.services.knowledge.reader.evidence import Evidence
from tidegate.services.knowledge.reader.reader import Reader

K = 8
UTTERED_IN = "en"
"""The language in which an intent's utterances are looked for; the pack does not say theirs."""


def prepare(pack: Pack, index: HybridIndex, embedder: Embeds, path: Path) -> Calibration:
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
    except NotCalibrated:
        pass
    labelled = [(question.text, question.language, question.documents) for question in pack.calibration]
    rows, right = gathered(labelled, index, embedder)
    beyond = [intent for intent in pack.intents if intent.verdict == "out_of_scope"]
    utterances = [(said, UTTERED_IN, ()) for intent in beyond for said in intent.utterances]
    strangers, _ = gathered(utterances, index, embedder)
    calibration = msgspec.structs.replace(
        fitted(rows, right, made_from, strangers), beyond=tuple(intent.id for intent in beyond)
    )
    calibration.save(path)
    return calibration


def gathered(
    questions: Iterable[tuple[str, str, tuple[str, ...]]], index: HybridIndex, embedder: Embeds
) -> tuple[list[Evidence], list[bool]]:
    """For each (text, language, documents) the evidence of the reader's answer, and whether it cites one of those."""
    reader = Reader(embedder, _UNFITTED)
    rows: list[Evidence] = []
    right: list[bool] = []
    for text, language, documents in questions:
        focus = index.focus(text, language)
        passages = index.search(focus, embedder.embed(focus), K, language)
        said, proof = reader.read(text, language, passages, index)
        rows.append(proof)
        right.append(bool(said) and said[0].passage.document_id in documents)
    return rows, right


_UNFITTED = Calibration(features=(), mean=(), spread=(), weights=(), bias=0.0, made_from="")
