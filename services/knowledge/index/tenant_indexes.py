"""The indexes of a machine's tenants, opened when first asked for, once for a process. Next: hybrid.py."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import ClassVar
from weakref import WeakValueDictionary

from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.thesaurus import Thesaurus
from tidegate.services.knowledge.text_embedder import TextEmbedder


class TenantIndexes:
    """One index per tenant; a tenant that is not on the list has none. Safe to use from several threads."""

    _opened: ClassVar[WeakValueDictionary[tuple[Path, str], HybridIndex]] = WeakValueDictionary()
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self, tenants: tuple[str, ...], path_of: Callable[[str], Path], embedder: TextEmbedder, *, exact_below: int
    ) -> None:
        self._tenants = tenants
        self._path_of = path_of
        self._embedder = embedder
        self._exact_below = exact_below
        self._indexes: dict[str, HybridIndex] = {}
        self._thesaurus: Thesaurus | None = None

    def rewritten_by(self, thesaurus: Thesaurus | None) -> TenantIndexes:
        """The same indexes under another thesaurus than they were opened with; None: as they were opened."""
        own = copy(self)
        own._thesaurus = thesaurus
        return own

    def index(self, tenant: str) -> HybridIndex | None:
        """The tenant's index; None when this machine serves no such tenant. Raises what `HybridIndex.open` raises."""
        if tenant not in self._tenants:
            return None
        if tenant not in self._indexes:
            key = (self._path_of(tenant).resolve(), self._embedder.version)
            with self._opening:
                found = self._opened.get(key)
                if found is None:
                    found = HybridIndex.open(key[0], self._embedder, exact_below=self._exact_below)
                    self._opened[key] = found
            self._indexes[tenant] = found
        index = self._indexes[tenant]
        return index if self._thesaurus is None else index.rewritten_by(self._thesaurus)
