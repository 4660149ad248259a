"""Brings an index to what a pack holds. Promises to keep what people added or deleted by hand. Next: hybrid.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tidegate.schemas.pack import Document, Domain, Pack, is_held
from tidegate.services.knowledge.index import thesaurus
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.storage import Tombstone
from tidegate.services.knowledge.text_embedder import TextEmbedder

BATCH = 16
"""Documents in a write, at least; replacing any costs a writing of the whole keyword leg, so there are few writes."""


def prepare_index(
    pack: Pack, domain: Domain, embedder: TextEmbedder, path: Path, progress: Callable[[int, int], None] | None = None
) -> HybridIndex:
    """Bring the index in `path` to the pack's documents and return it open.

    A site holds what is shared and what is the sites' own; the hub what is shared and what is the hub's own. Documents
    that came from the pack and are no longer in it are deleted; added ones are kept. What was deleted by hand stays
    deleted until the pack brings a new version. `progress(done, total)` is called for each document. Stops and goes on
    at any point.
    """
    thesaurus.save_thesaurus(path, pack.thesaurus)
    index = HybridIndex.open(path, embedder)
    tombstones = index.tombstones()
    wanted = [
        document
        for document in pack.documents
        if is_held(document.scope, domain) and not _is_deleted_by_hand(document, tombstones)
    ]
    names = {document.id for document in wanted}
    stale = [name for name, origin in index.origins().items() if origin == "pack" and name not in names]
    index.delete(stale, origin="pack")
    size = max(BATCH, len(wanted) // 8)
    for start in range(0, len(wanted), size):
        index.upsert(wanted[start : start + size], origin="pack")
        for done in range(start, min(start + size, len(wanted))):
            if progress is not None:
                progress(done + 1, len(wanted))
    return index


def _is_deleted_by_hand(document: Document, tombstones: dict[str, Tombstone]) -> bool:
    tombstone = tombstones.get(document.id)
    return tombstone is not None and tombstone.by == "added" and tombstone.version == document.version
