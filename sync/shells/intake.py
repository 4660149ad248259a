"""Takes what arrives in a stream in batches, for as long as the worker lives, whatever becomes of the server.

Promises that each delivery is handed on at least once, and a batch at a time. Next: edits_intake.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tidegate.brokers.base import Delivery
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.consumer import JetStreamInbox
from tidegate.brokers.jetstream.repair import put_sync_consumers
from tidegate.brokers.topology.streams import SYNC_CONSUMER

BATCH = 256
WAIT_S = 5.0


class StreamIntake:
    """Hands on what a domain's `sync` consumer of a stream delivers; `handle` settles every delivery of its batch.

    `on_taken` hears how many a batch has, and whether it is settled: before and after that. It must not wait.
    """

    def __init__(
        self,
        bus: JetStreamBus,
        stream: str,
        handle: Callable[[Sequence[Delivery]], Awaitable[None]],
        on_taken: Callable[[int, bool], None] = lambda _messages, _is_settled: None,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._handle = handle
        self._on_taken = on_taken

    async def run(self) -> None:
        """Take, until something fails: to be called again. Raises `UnreachableError`, `TopologyMissingError` where the
        stream is being made anew, and what `handle` raises."""
        await put_sync_consumers(self._bus.link.client, self._bus.domain, self._stream)
        async with self._bus.open_inbox(self._stream, SYNC_CONSUMER, BATCH) as inbox:
            while True:
                if batch := await _take(inbox):
                    self._on_taken(len(batch), False)
                    try:
                        await self._handle(batch)
                    finally:
                        self._on_taken(len(batch), True)


async def _take(inbox: JetStreamInbox) -> list[Delivery]:
    """What is there, once there is something."""
    first = await inbox.next(WAIT_S)
    batch: list[Delivery] = [] if first is None else [first]
    while batch and len(batch) < BATCH and (more := await inbox.next(0.0)) is not None:
        batch.append(more)
    return batch
