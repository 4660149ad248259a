"""Calibrates a reader on a pack's calibration questions against the index it will read from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from schemas.pack import Calibration as Labelled
from schemas.pack import Pack
from services.reading.calibration import Calibration, NotCalibrated, fitted
from services.reading.candidates import Embeds
from services.reading.evidence import Evidence
from services.reading.reader import Reader
from services.search import HybridIndex
from services.search.asking import sought

K = 8


def prepare(pack: Pack, index: HybridIndex, embedder: Embeds, path: Path) -> Calibration:
    """Fit the confidence on the pack's calibration questions, never on those it is measured on, and write it to `path`.

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
    rows, right = gathered(pack.calibration, index, embedder)
    calibration = fitted(rows, right, made_from)
    calibration.save(path)
    return calibration


def gathered(questions: Sequence[Labelled], index: HybridIndex, embedder: Embeds) -> tuple[list[Evidence], list[bool]]:
    """For each question the evidence of the reader's answer, and whether it cites one of the labelled documents."""
    reader = Reader(embedder, _UNFITTED)
    rows: list[Evidence] = []
    right: list[bool] = []
    for question in questions:
        vector = embedder.embed(sought(question.text))
        passages = index.search(sought(question.text), vector, K, question.language)
        said, proof = reader.read(question.text, question.language, passages, index)
        if said:
            rows.append(proof)
            right.append(said[0].passage.document_id in question.documents)
    return rows, right


_UNFITTED = Calibration(features=(), mean=(), spread=(), weights=(), bias=0.0, made_from="")
