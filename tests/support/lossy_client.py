"""A site's hub over a link that drops, repeats, reorders, changes and cuts, as its dice say; see sync_chaos.py."""

from __future__ import annotations

import random

from tests.support.sync_parts import DirectClient, Hub
from tidegate.schemas import (
    CollectionDelta,
    CollectionHead,
    DocumentsRequest,
    HeldDocuments,
    RangeReply,
    RangeRequest,
    SnapshotManifest,
)


class LossyClient(DirectClient):
    """A site's hub over a bad link: every call may fail before or after the hub heard of it."""

    def __init__(self, hub: Hub, site: str, dice: random.Random) -> None:
        super().__init__(hub, site)
        self.dice, self.loss = dice, 0.0

    def _cut(self) -> None:
        if self.dice.random() < self.loss:
            raise ConnectionError("the link is cut")

    async def head(self, collection: str) -> CollectionHead:
        self._cut()
        return await super().head(collection)

    async def deltas(self, collection: str, epoch: int, first: int, last: int) -> tuple[CollectionDelta, ...]:
        self._cut()
        found = list(await super().deltas(collection, epoch, first, last))
        if self.loss:
            found = [each for each in found if self.dice.random() > self.loss]
            found += [each for each in found if self.dice.random() < self.loss]
            self.dice.shuffle(found)
        return tuple(found)

    async def snapshot(self, collection: str) -> SnapshotManifest | None:
        self._cut()
        return await super().snapshot(collection)

    async def chunk(self, collection: str, digest: str) -> bytes:
        self._cut()
        data = await super().chunk(collection, digest)
        return data[:-1] + b"!" if self.dice.random() < self.loss / 4 else data

    async def ranges(self, request: RangeRequest) -> RangeReply:
        self._cut()
        return await super().ranges(request)

    async def documents(self, request: DocumentsRequest) -> HeldDocuments:
        self._cut()
        return await super().documents(request)

    async def offer(self, documents: HeldDocuments) -> None:
        self._cut()
        await super().offer(documents)
        self._cut()
