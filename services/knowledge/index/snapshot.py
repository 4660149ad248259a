"""What one reader sees of an index. Promises to agree with one manifest, and never to change. Next: hybrid.py."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from tidegate.schemas.answer import Passage
from tidegate.services.knowledge.index.storage import Manifest, Storage, StoredDocument
from tidegate.services.knowledge.index.vectors import DIMENSIONS, Matrix, Numbers


@dataclass(frozen=True)
class IndexSnapshot:
    """`numbers` and `matrix` have one row per live passage; `numbers_in` has those of each language.

    `ranks` gives, for each language, the row of each of its numbers. Rows are in the order of the documents' ids.
    """

    manifest: Manifest
    stamp: tuple[int, int]
    digest: str
    passages: dict[int, Passage]
    numbers: Numbers
    matrix: Matrix
    numbers_in: dict[str, Numbers] = field(default_factory=dict)
    ranks: dict[str, dict[int, int]] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> IndexSnapshot:
        nothing = np.empty((0, DIMENSIONS), np.float32)
        return cls(Manifest(), (-1, -1), "", {}, np.empty(0, np.int64), nothing)


def read_snapshot(
    storage: Storage, manifest: Manifest, stamp: tuple[int, int], previous: IndexSnapshot
) -> IndexSnapshot:
    """Read what `manifest` names, taking from `previous` what both have. Raises `IndexDamagedError`."""
    row_of = {int(number): row for row, number in enumerate(previous.numbers)}
    is_same_build = manifest.built_by == previous.manifest.built_by
    passages: dict[int, Passage] = {}
    rows: list[Matrix] = []
    for name, entry in sorted(manifest.documents.items()):
        if is_same_build and previous.manifest.documents.get(name) == entry:
            passages.update((number, previous.passages[number]) for number in entry.numbers)
            rows.append(previous.matrix[[row_of[number] for number in entry.numbers]])
            continue
        stored = storage.get(name, entry.version, manifest.built_by)
        rows.append(storage.vectors(name, entry.version, manifest.built_by)[: len(stored.chunks)])
        passages.update(zip(entry.numbers, _cut_passages(stored), strict=True))
    ranks: dict[str, dict[int, int]] = {}
    for row, (number, passage) in enumerate(passages.items()):
        ranks.setdefault(passage.language, {})[number] = row
    return IndexSnapshot(
        manifest=manifest,
        stamp=stamp,
        digest=manifest.digest(),
        passages=passages,
        numbers=np.fromiter(passages, np.int64, len(passages)),
        matrix=np.concatenate(rows) if rows else previous.matrix[:0],
        numbers_in={language: np.fromiter(ranks[language], np.int64) for language in sorted(ranks)},
        ranks=ranks,
    )


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
            page=bisect_right(document.page_starts, chunk.start),
            page_breaks=tuple(start for start in document.page_starts if chunk.start < start < chunk.end),
        )
        for chunk in stored.chunks
    ]
