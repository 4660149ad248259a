"""A site makes its own mirrors anew where they lack what the hub was to send: with the hub's help, over the leaf.

Promises that a step which was cut is made again: a mirror that is missing is made, from its first message on. Next:
brokers/jetstream/repair.py; grants.py, which says at the hub which are stale."""

from __future__ import annotations

from collections.abc import Iterable

from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.grant import GRANTED
from tidegate.brokers.jetstream.repair import delete_stream, put_mirror
from tidegate.schemas.following import RewindRequest
from tidegate.schemas.replica import Done
from tidegate.sync.shells.hub_requests import HubRequests


class MirrorKeeping:
    """The mirrors of one site."""

    def __init__(self, bus: JetStreamBus, hub: HubRequests) -> None:
        self._bus = bus
        self._hub = hub
        self.stale: set[str] = set()
        """The mirrors that the hub said are to be made anew."""

    def note(self, stale: Iterable[str]) -> bool:
        """The hub told which mirrors are stale; whether there are any."""
        self.stale = {stream for stream in stale if stream in GRANTED}
        return bool(self.stale)

    async def mend(self) -> None:
        """Make anew what is stale or missing. Raises `UnreachableError`, `JetStreamApiError`, and what the hub
        raises."""
        client = self._bus.link.client
        there = await api.streams(client)
        for stream in GRANTED:
            if stream not in self.stale and stream in there:
                continue
            await delete_stream(client, stream)  # first: nobody may listen while the hub begins again
            await self._hub.ask(RewindRequest(stream=stream), Done)
            await put_mirror(client, self._bus.domain, stream)
            self.stale.discard(stream)
