"""A site makes its own mirrors anew where they lack what the hub was to send: with the hub's help, over the leaf.

Promises that a step which was cut is made again: a mirror that is missing is made, from its first message on. Next:
brokers/jetstream/repair.py; grants.py, which says at the hub which are stale."""

from __future__ import annotations

import time
from collections.abc import Iterable

from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.grant import GRANTED
from tidegate.brokers.jetstream.repair import delete_stream, put_mirror, read_mirror
from tidegate.schemas.following import MirrorState, RewindRequest
from tidegate.schemas.replica import Done
from tidegate.sync.shells.hub_requests import HubRequests

TELL_EVERY_S = 60.0


class MirrorKeeping:
    """The mirrors of one site."""

    def __init__(self, bus: JetStreamBus, hub: HubRequests) -> None:
        self._bus = bus
        self._hub = hub
        self.stale: set[str] = set()
        """The mirrors that the hub said are to be made anew."""
        self._told_at_s = float("-inf")

    async def states(self) -> dict[str, MirrorState]:
        """What the mirrors hold, where it is time to tell the hub. Raises `UnreachableError`, `JetStreamApiError`."""
        if time.monotonic() - self._told_at_s < TELL_EVERY_S:
            return {}
        self._told_at_s = time.monotonic()
        facts = [await read_mirror(self._bus.link.client, stream) for stream in await self._present()]
        return {each.stream: MirrorState(each.messages, each.first, each.last) for each in facts}

    def note(self, stale: Iterable[str]) -> bool:
        """The hub told which mirrors are stale; whether there are any."""
        self.stale = {stream for stream in stale if stream in GRANTED}
        return bool(self.stale)

    async def mend(self) -> None:
        """Make anew what is stale or missing. Raises `UnreachableError`, `JetStreamApiError`, and what the hub
        raises."""
        client, there = self._bus.link.client, await self._present()
        for stream in GRANTED:
            if stream not in self.stale and stream in there:
                continue
            await delete_stream(client, stream)  # first: nobody may listen while the hub begins again
            await self._hub.ask(RewindRequest(stream=stream), Done)
            await put_mirror(client, self._bus.domain, stream)
            self.stale.discard(stream)
            self._told_at_s = time.monotonic()  # until it is filled it would seem to lack what is on its way

    async def _present(self) -> list[str]:
        there = await api.streams(self._bus.link.client)
        return [stream for stream in GRANTED if stream in there]
