"""The shared room for finding: documents in, passages out, by words and by meaning."""

from services.search.hybrid import HybridIndex, IndexStatus
from services.search.packing import prepare
from services.search.shelf import Shelf
from services.search.storage import IndexDamaged, IndexLocked

__all__ = ["HybridIndex", "IndexDamaged", "IndexLocked", "IndexStatus", "Shelf", "prepare"]
