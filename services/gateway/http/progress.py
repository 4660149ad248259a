"""The stages of one request as they are done, for a page to show: names and times, never a word of the text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec

from tidegate.brokers.base import Bus
from tidegate.schemas import PIPELINE, Asked, Escalated, Message, Published, UnreadableError, decode
from tidegate.schemas.subjects import history_of, rid_of, word
from tidegate.services.gateway.http.openai import sse

MAX_WATCHERS = 256
PATIENCE_S = 120.0
HOPS = tuple(word(kind) for kind in PIPELINE if kind not in (Asked, Escalated, Published))
LIVE = ("asks.>", "pipe.>", "escalations.>", "verdicts.>", "answers.>")


class RequestProgress:
    """Hears facts as they are stored. It starts to listen with the first watcher, so that nobody else pays for it."""

    def __init__(self, bus: Bus, site: str, patience_s: float = PATIENCE_S) -> None:
        self._bus = bus
        self._site = site
        self._patience_s = patience_s
        self._watchers: dict[str, set[asyncio.Queue[bytes]]] = {}
        self._is_closed = False
        self._listening: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        return sum(map(len, self._watchers.values())) >= MAX_WATCHERS

    async def events(self, tenant: str, rid: str, heartbeat_s: float) -> AsyncIterator[bytes]:
        """Server-sent events: `stage` for each line of the ledger, then one `end`. What is stored comes first."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(256)
        self._watchers.setdefault(rid, set()).add(queue)
        seen: set[str] = set()
        give_up = time.monotonic() + self._patience_s
        try:
            yield b": watching\n\n"
            await self._listen()
            for data in await self._stored(tenant, rid):
                queue.put_nowait(data)
            while time.monotonic() < give_up and not self._is_closed:
                try:
                    fact = read(await asyncio.wait_for(queue.get(), heartbeat_s), tenant)
                except TimeoutError:
                    yield b": waiting\n\n"
                    continue
                for event in new_events(fact, seen) if fact else ():
                    yield event
                if isinstance(fact, Published):
                    break
            yield sse(b"{}", "end")
        finally:
            self._watchers[rid].discard(queue)
            if not self._watchers[rid]:
                del self._watchers[rid]

    def close(self) -> None:
        """End every watcher's stream."""
        self._is_closed = True
        for queue in [queue for queues in self._watchers.values() for queue in queues]:
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(b"")

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = asyncio.ensure_future(self._listen_to_all())
        await asyncio.shield(self._listening)

    async def _listen_to_all(self) -> None:
        for subject in LIVE:
            await self._bus.listen(subject, self._hear)

    async def _hear(self, subject: str, data: bytes) -> None:
        for queue in self._watchers.get(rid_of(subject), ()):
            if not queue.full():
                queue.put_nowait(data)

    async def _stored(self, tenant: str, rid: str) -> list[bytes]:
        found = []
        for source in history_of(rid, tenant, self._site):
            subjects = [source.filter.replace("*", hop) for hop in HOPS] if "*" in source.filter else [source.filter]
            found += [await self._bus.last(source.stream, subject) for subject in subjects]
        return [data for data in found if data is not None]


def read(data: bytes, tenant: str) -> Message | None:
    """The fact, when it is one and belongs to `tenant`."""
    try:
        fact = decode(data, *PIPELINE)
    except UnreadableError:
        return None
    return fact if getattr(fact, "tenant", None) == tenant else None


def new_events(fact: Message, seen: set[str]) -> list[bytes]:
    """An event for every line of the fact's ledger whose stage is not in `seen`, which is added to.

    `at_ms` is Unix time, from the time of asking and the times in the ledger.
    """
    at_ms = float(getattr(fact, "asked_at_ms", 0))
    ledger = getattr(fact, "ledger", ())
    lines = [("gateway", 0.0, 0.0), *((line.stage, line.waited_ms, line.worked_ms) for line in ledger)]
    events = []
    for stage, waited_ms, worked_ms in lines:
        at_ms += waited_ms + worked_ms
        if stage in seen:
            continue
        seen.add(stage)
        fact_word = "asked" if stage == "gateway" else word(type(fact)) if stage == lines[-1][0] else ""
        spent = {"waited_ms": round(waited_ms, 3), "worked_ms": round(worked_ms, 3)}
        event = {"stage": stage, "fact": fact_word, "at_ms": round(at_ms), "spent": spent}
        events.append(sse(msgspec.json.encode(event), "stage"))
    return events
