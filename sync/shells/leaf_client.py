"""The hub as a site reaches it over the leaf: deltas from the local mirror first, all else by asking.

What the mirror lacks is asked for, so that a mirror with a hole costs time and nothing else; snapshots come from a
source that verifies them. Next: sync/hub_client.py, the protocol; hub_endpoints.py, the hub's end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from tidegate.brokers.base import TopologyMissingError
from tidegate.schemas.comparison import RangeReply, RangeRequest
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.following import MOST_DELTAS, DeltasReply, DeltasRequest, HeadRequest
from tidegate.schemas.replica import Done
from tidegate.schemas.replication import DocumentsRequest, HeldDocuments
from tidegate.schemas.sync import CollectionDelta, CollectionHead, SnapshotManifest
from tidegate.sync.rules.plan import NoSnapshotError
from tidegate.sync.shells.corpus_log import CorpusLog
from tidegate.sync.shells.hub_requests import HubRequests


class SnapshotSource(Protocol):
    """Where a site gets snapshots from. Whatever it returns was verified to be what the hub published."""

    async def manifest(self, tenant: str, collection: str) -> SnapshotManifest | None:
        """The newest snapshot of a collection; None: there is none."""

    async def chunk(self, tenant: str, collection: str, digest: str) -> bytes:
        """A chunk of it. Raises `ConnectionError`, `TimeoutError` where it cannot be had now."""


class LeafHubClient:
    """See `hub_client.HubClient`; of one tenant, for one site."""

    def __init__(self, tenant: str, hub: HubRequests, mirror: CorpusLog, snapshots: SnapshotSource | None) -> None:
        self._tenant = tenant
        self._hub = hub
        self._mirror = mirror
        self._snapshots = snapshots
        self._bypasses = 0

    @contextmanager
    def bypassing_mirror(self) -> Iterator[None]:
        """Inside of it deltas come from the hub alone."""
        self._bypasses += 1
        try:
            yield
        finally:
            self._bypasses -= 1

    async def head(self, collection: str) -> CollectionHead:
        """See `HubClient`. Raises `RetryLaterError` while the hub's own edits are on their way into the log."""
        return await self._hub.ask(HeadRequest(tenant=self._tenant, collection=collection), CollectionHead)

    async def deltas(self, collection: str, epoch: int, first: int, last: int) -> tuple[CollectionDelta, ...]:
        """See `HubClient`."""
        here = await self._mirrored(collection, epoch, first, last)
        if here and here[-1].position.index == last:
            return here
        missing = first + len(here)
        request = DeltasRequest(
            tenant=self._tenant,
            collection=collection,
            epoch=epoch,
            first=missing,
            last=min(last, missing + MOST_DELTAS - 1),
        )
        return (*here, *(await self._hub.ask(request, DeltasReply)).deltas)

    async def snapshot(self, collection: str) -> SnapshotManifest | None:
        """See `HubClient`."""
        return None if self._snapshots is None else await self._snapshots.manifest(self._tenant, collection)

    async def chunk(self, collection: str, digest: str) -> bytes:
        """See `HubClient`."""
        if self._snapshots is None:
            raise NoSnapshotError(f"{collection}: this site has no source of snapshots")
        return await self._snapshots.chunk(self._tenant, collection, digest)

    async def ranges(self, request: RangeRequest) -> RangeReply:
        """See `HubClient`."""
        return await self._hub.ask(request, RangeReply)

    async def documents(self, request: DocumentsRequest) -> HeldDocuments:
        """See `HubClient`."""
        return await self._hub.ask(request, HeldDocuments)

    async def offer(self, documents: HeldDocuments) -> None:
        """See `HubClient`."""
        await self._hub.ask(documents, Done)

    async def _mirrored(self, collection: str, epoch: int, first: int, last: int) -> tuple[CollectionDelta, ...]:
        if self._bypasses:
            return ()
        try:
            return await self._mirror.deltas(collection, epoch, first, last)
        except (TopologyMissingError, UnreadableError):  # it is being made anew, or damaged
            return ()
