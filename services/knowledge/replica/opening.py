"""Opens the index that a replica feeds, and begins it anew where it cannot be read: its store has all of it.

Promises to keep what nobody else has, as far as it can be read. Next: index_follower.py, which fills it."""

from __future__ import annotations

from pathlib import Path

import structlog

from tidegate.services.knowledge.index.errors import IndexDamagedError
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.limits import EXACT_BELOW
from tidegate.services.knowledge.index.reset import KeptDocuments, reset_index
from tidegate.services.knowledge.index.storage import Storage
from tidegate.services.knowledge.text_embedder import TextEmbedder

_log = structlog.get_logger()


def open_followed_index(path: Path, embedder: TextEmbedder, *, exact_below: int = EXACT_BELOW) -> HybridIndex:
    """The index in `path`; where it is damaged an empty one, for the follower to fill. Raises `IndexLockedError`,
    `IndexUnusableError`."""
    try:
        return HybridIndex.open(path, embedder, exact_below=exact_below)
    except IndexDamagedError as error:
        _log.warning("replica.index_unreadable", path=str(path), reason=str(error), instead="it is made anew")
        kept = reset_index(Storage(path))
        index = HybridIndex.open(path, embedder, exact_below=exact_below)
        _put_back(index, kept)
        return index


def restore_index(index: HybridIndex) -> None:
    """Empty an index that is open and cannot be read any more, but for what no replica brings."""
    _put_back(index, reset_index(index.parts().storage))


def _put_back(index: HybridIndex, kept: KeptDocuments) -> None:
    for origin in dict.fromkeys(known for _, known in kept):
        index.upsert([document for document, known in kept if known == origin], origin=origin)
