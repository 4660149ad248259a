"""Which terms the passages of an index state, looked up once for each version of it. Next: hybrid.py."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cachetools import LRUCache

TERMS_KEPT = 8192


class KnownTerms:
    """What was looked up in the last version of an index that was asked about. Safe to use from several threads."""

    def __init__(self) -> None:
        self._version = ""
        self._found: LRUCache[tuple[str, str], bool] = LRUCache(TERMS_KEPT)
        self._lock = threading.Lock()

    def has(self, version: str, term: str, language: str, look_up: Callable[[str, str], bool]) -> bool:
        """Whether a term stands in passages of a language: `look_up` says so where it is not known of this version."""
        key = (term, language)
        with self._lock:
            if self._version == version and (known := self._found.get(key)) is not None:
                return known
        found = look_up(term, language)
        with self._lock:
            if self._version != version:
                self._version = version
                self._found.clear()
            self._found[key] = found
        return found
