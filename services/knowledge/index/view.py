"""What one reader sees of an index: a consistent picture of one manifest, never changed once made."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tidegate.schemas.question import Passage
from tidegate.services.knowledge.index.storage import Manifest, Storage
from tidegate.services.knowledge.index.vectors import DIMENSIONS, Mask, Matrix, Numbers


@dataclass(frozen=True)
class View:
    """`numbers` and `matrix` have one row per live passage; `masks` marks the rows of each language."""

    manifest: Manifest
    stamp: tuple[int, int]
    digest: str
    passages: dict[int, Passage]
    numbers: Numbers
    matrix: Matrix
    masks: dict[str, Mask] = field(default_factory=dict)

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.masks)

    @classmethod
    def empty(cls) -> View:
        nothing = np.empty((0, DIMENSIONS), np.float32)
        return cls(Manifest(), (-1, -1), "", {}, np.empty(0, np.int64), nothing)


def view_of(storage: Storage, manifest: Manifest, stamp: tuple[int, int], before: View) -> View:
    """Read what `manifest` names, taking from the view `before` what both have. Raises `IndexDamaged`."""
    row_of = {int(number): row for row, number in enumerate(before.numbers)}
    same_making = manifest.making == before.manifest.making
    passages: dict[int, Passage] = {}
    rows: list[Matrix] = []
    for name, entry in sorted(manifest.documents.items()):
        if same_making and all(number in before.passages for number in entry.numbers):
            passages.update((number, before.passages[number]) for number in entry.numbers)
            rows.append(before.matrix[[row_of[number] for number in entry.numbers]])
            continue
        stored = storage.get(name, entry.version, manifest.making)
        document = stored.document
        rows.append(storage.vectors(name, entry.version, manifest.making)[: len(stored.chunks)])
        for number, chunk in zip(entry.numbers, stored.chunks, strict=True):
            passages[number] = Passage(
                document_id=name,
                document_version=entry.version,
                title=document.title,
                text=document.text[chunk.start : chunk.end],
                language=document.language,
                start=chunk.start,
                end=chunk.end,
                score=0.0,
                heading=chunk.heading,
            )
    languages = np.array([passage.language for passage in passages.values()])
    return View(
        manifest=manifest,
        stamp=stamp,
        digest=manifest.digest(),
        passages=passages,
        numbers=np.fromiter(passages, np.int64, len(passages)),
        matrix=np.concatenate(rows) if rows else before.matrix[:0],
        masks={language: languages == language for language in sorted(set(languages.tolist()))},
    )
