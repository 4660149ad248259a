"""What one reader sees of an index. Promises to agree with one manifest, and never to change. Next: hybrid.py."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tidegate.schemas.answer import Passage
from tidegate.services.knowledge.index.storage import Manifest, Storage, StoredDocument
from tidegate.services.knowledge.index.vectors import DIMENSIONS, Matrix, Numbers

_POSITION_BITS = 16
"""More units than a passage can hold."""


@dataclass(frozen=True)
class IndexSnapshot:
    """`labels` and `matrix` have one row per unit of a live passage, in the order of the documents' ids.

    A label holds the passage's number (`passage_of`). `ranks` gives, for each language, the place of each of its
    passages in that order.
    """

    manifest: Manifest
    stamp: tuple[int, int]
    digest: str
    passages: dict[int, Passage]
    labels: Numbers
    matrix: Matrix
    ranks: dict[str, dict[int, int]] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> IndexSnapshot:
        nothing = np.empty((0, DIMENSIONS), np.float32)
        return cls(Manifest(), (-1, -1), "", {}, np.empty(0, np.int64), nothing)


def read_snapshot(
    storage: Storage, manifest: Manifest, stamp: tuple[int, int], previous: IndexSnapshot
) -> IndexSnapshot:
    """Read what `manifest` names, taking from `previous` what both have. Raises `IndexDamagedError`."""
    rows_of = _rows_by_passage(previous.labels)
    is_same_build = manifest.built_by == previous.manifest.built_by
    passages: dict[int, Passage] = {}
    labels: list[Numbers] = []
    rows: list[Matrix] = []
    for name, entry in sorted(manifest.documents.items()):
        if is_same_build and previous.manifest.documents.get(name) == entry:
            passages.update((number, previous.passages[number]) for number in entry.numbers)
            kept = slice(rows_of[entry.numbers[0]].start, rows_of[entry.numbers[-1]].stop)
            labels.append(previous.labels[kept])
            rows.append(previous.matrix[kept])
            continue
        stored = storage.get(name, entry.version, manifest.built_by)
        labels.append(_label_units(stored, entry.first))
        rows.append(storage.vectors(name, entry.version, manifest.built_by))
        passages.update(zip(entry.numbers, _cut_passages(stored), strict=True))
    ranks: dict[str, dict[int, int]] = {}
    for position, (number, passage) in enumerate(passages.items()):
        ranks.setdefault(passage.language, {})[number] = position
    return IndexSnapshot(
        manifest=manifest,
        stamp=stamp,
        digest=manifest.digest(),
        passages=passages,
        labels=np.concatenate(labels) if labels else previous.labels[:0],
        matrix=np.concatenate(rows) if rows else previous.matrix[:0],
        ranks=ranks,
    )


def passage_of(label: int) -> int:
    """The number of the passage that a unit stands in."""
    return label >> _POSITION_BITS


def _label_units(stored: StoredDocument, first: int) -> Numbers:
    labels = [
        number << _POSITION_BITS | position
        for number, chunk in enumerate(stored.chunks, start=first)
        for position in range(len(chunk.units))
    ]
    return np.array(labels, np.int64)


def _rows_by_passage(labels: Numbers) -> dict[int, slice]:
    """The rows of each passage's units, which lie together."""
    found: dict[int, slice] = {}
    for row, number in enumerate((labels >> _POSITION_BITS).tolist()):
        found[number] = slice(found[number].start if number in found else row, row + 1)
    return found


def _cut_passages(stored: StoredDocument) -> list[Passage]:
    document = stored.document
    return [
        Passage(
            document_id=document.id,
            document_version=document.version,
            title=document.title,
            text=document.text[chunk.start : chunk.end],
            language=document.language,
            start=chunk.start,
            end=chunk.end,
            score=0.0,
            heading=chunk.heading,
            page=document.page_at(chunk.start),
            page_breaks=tuple(start for start in document.page_starts if chunk.start < start < chunk.end),
            recognised=tuple(
                (max(first, chunk.start), min(last, chunk.end))
                for first, last in document.recognised
                if first < chunk.end and chunk.start < last
            ),
        )
        for chunk in stored.chunks
    ]
