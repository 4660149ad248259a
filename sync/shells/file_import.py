"""Joins collections from files for the sync worker of a site, which is asked to as `replica.import`.

Next: sync/carrying.py, which does it; local_endpoints.py, whose `answers` this is among."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tidegate.schemas import CollectionImported, ImportCollection, decode
from tidegate.sync.carrying import JoinedCollection, join_file
from tidegate.sync.rules.staleness import Now
from tidegate.sync.store import ReplicaStore


class FileImport:
    """Joins files into the stores of a site, by tenant. `trust` is where the site keeps what it believes of the hub's
    repository; `on_joined` is called with the tenant and the collection when one has changed."""

    def __init__(
        self,
        stores: Mapping[str, ReplicaStore],
        trust: Path,
        now: Callable[[], Now],
        on_joined: Callable[[str, str], None] = lambda _tenant, _collection: None,
    ) -> None:
        self._stores = stores
        self._trust = trust
        self._now = now
        self._on_joined = on_joined

    async def answer(self, data: bytes) -> CollectionImported:
        """What `replica.import` is answered. Raises what `join_file` raises, and `UnreadableError`."""
        request = decode(data, ImportCollection)
        joined = await join_file(self._stores, Path(request.path), self._trust, self._now())
        if joined.is_new:
            self._on_joined(joined.tenant, joined.collection)
        return imported(joined)


def imported(joined: JoinedCollection) -> CollectionImported:
    """What was joined, as a message."""
    return CollectionImported(
        tenant=joined.tenant,
        collection=joined.collection,
        position=str(joined.position),
        documents=joined.documents,
        known_at_ms=joined.known_at_ms,
        is_new=joined.is_new,
    )
