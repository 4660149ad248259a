"""One stream of a domain as it is stored: read by direct gets, and written in order by its one writer.

Promises that a message is stored only right behind the one that was sent before it, however many are on their way.
Next: history.py, which reads; publisher.py, which sends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream import api, history
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.consumer import consumer_info
from tidegate.brokers.jetstream.publisher import OutgoingMessage
from tidegate.schemas import TidegateError

STORED_WITHIN_S = 10.0


class Entry(NamedTuple):
    """A message for an ordered stream, and the id by which it is stored once."""

    subject: str
    data: bytes
    id: str


class AppendOutcome(NamedTuple):
    """The sequences of the messages that are stored for certain, the first ones, and what kept the next one."""

    sequences: tuple[int, ...]
    fault: TidegateError | None = None


class StoredStream:
    """A stream by its name. `writing` is for its writers in this process to take turns: see `append`."""

    def __init__(self, bus: JetStreamBus, name: str) -> None:
        self.name = name
        self.writing = asyncio.Lock()
        self._bus = bus
        self._last: int | None = None

    async def first(self, subject: str, after: int, most: int) -> list[StoredMessage]:
        """The first `most` messages under a subject (wildcards allowed) behind a sequence. Raises `UnreachableError`,
        `TopologyMissingError`."""
        return await history.first_messages(self._bus.link.client, self.name, subject, after, most)

    async def last(self, subject: str) -> StoredMessage | None:
        """The newest message under a subject (wildcards allowed). Raises as `first` does."""
        return await history.last_message(self._bus.link.client, self.name, subject)

    async def last_sequence(self) -> int:
        """The sequence of the last message that was ever stored. Raises `UnreachableError`, `JetStreamApiError`."""
        info = await api.call(self._bus.link.client, f"STREAM.INFO.{self.name}")
        return int(info["state"]["last_seq"])

    async def trim(self, consumer: str, keep: int) -> int:
        """Delete what a consumer has acknowledged, but for the last `keep` sequences; how many messages that were.

        Raises `TopologyMissingError`, `JetStreamApiError`, `UnreachableError`.
        """
        floor = (await consumer_info(self._bus.link, self.name, consumer)).ack_floor.stream_seq
        if floor <= keep:
            return 0
        purged = await api.call(self._bus.link.client, f"STREAM.PURGE.{self.name}", {"seq": floor - keep + 1})
        return int(purged["purged"])

    async def append(self, entries: Sequence[Entry]) -> AppendOutcome:
        """Store entries behind the end of the stream, in one go: each only where the one before it is, and none where
        somebody else has written. To be called with `writing` held. Raises what `last_sequence` raises.

        An entry whose answer was lost may be stored though it is not among the sequences.
        """
        if self._last is None:
            self._last = await self.last_sequence()
        last, self._last = self._last, None
        outgoing = [
            OutgoingMessage(entry.subject, entry.data, _expecting(entries, number, last))
            for number, entry in enumerate(entries)
        ]
        stored: list[int] = []
        for outcome in await self._bus.publisher.append_all(outgoing, STORED_WITHIN_S):
            if isinstance(outcome, TidegateError):
                return AppendOutcome(tuple(stored), outcome)
            stored.append(outcome)
        self._last = last + len(outgoing)
        return AppendOutcome(tuple(stored))


def _expecting(entries: Sequence[Entry], number: int, last: int) -> dict[str, str]:
    """The headers of an entry: the one before it is the last of the stream. Its sequence alone would not do: where one
    entry was refused for what somebody else stored, the next would find the sequence that it expects."""
    headers = {"Nats-Msg-Id": entries[number].id, "Nats-Expected-Last-Sequence": str(last + number)}
    return {**headers, "Nats-Expected-Last-Msg-Id": entries[number - 1].id} if number else headers
