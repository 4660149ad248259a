"""The stages of one request as they are done, for a page to show: names and times, never a word of the text.

What is stored comes first, then what is stored next, until the answer is published; next: endpoints.py."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from tidegate.brokers.base import Bus
from tidegate.schemas import PIPELINE, Asked, Escalated, Fact, Message, Published, UnreadableError, decode
from tidegate.schemas.refusals import refusal
from tidegate.schemas.subjects import history_of, rid_of, token_of
from tidegate.services.gateway.http.event_format import KEEP_ALIVE, format_event
from tidegate.services.gateway.refusals import RequestRefusedError
from tidegate.services.gateway.settings import GatewayLimits

PATIENCE_S = 120.0
HOPS = tuple(token_of(kind) for kind in PIPELINE if kind not in (Asked, Escalated, Published))
LIVE = ("asks.>", "pipe.>", "escalations.>", "verdicts.>", "answers.>")


class StageProgress(msgspec.Struct):
    """A stage is done. `fact`: what it left behind, where that is known; `at_ms`: when, in Unix time; `spent`: how long
    the request waited for it and how long it worked, in milliseconds."""

    stage: str
    fact: str
    at_ms: int
    spent: dict[str, float]


class WatchedRequest(msgspec.Struct, frozen=True):
    """Which request is watched, and with which credential."""

    tenant: str
    rid: str
    caller: str


class RequestProgress:
    """Follows facts as they are stored. It subscribes with the first watcher, so that nobody else pays for it."""

    def __init__(self, bus: Bus, site: str, limits: GatewayLimits, patience_s: float = PATIENCE_S) -> None:
        self._bus = bus
        self._site = site
        self._limits = limits
        self._patience_s = patience_s
        self._by_caller: Counter[str] = Counter()
        self._watchers: dict[str, set[asyncio.Queue[bytes]]] = {}
        self._is_closed = False
        self._subscribing: asyncio.Task[None] | None = None

    def check_room(self, caller: str, rid: str) -> None:
        """Raises `RequestRefusedError` where one more watcher would be one too many, in all or of this credential."""
        limits = self._limits
        if self._by_caller.total() >= limits.max_watchers:
            raise RequestRefusedError(refusal("busy", rid))
        if self._by_caller[caller] >= limits.max_watchers_per_caller:
            raise RequestRefusedError(refusal("too_many_watchers", rid))

    async def events(
        self, watched: WatchedRequest, heartbeat_s: float, is_own: Callable[[], Awaitable[bool | None]]
    ) -> AsyncIterator[bytes]:
        """Server-sent events: `stage` with a `StageProgress` for each stage that is done, then one `end`.

        Nothing is said of a request that turns out to be somebody else's: `is_own` is asked once there is one. Where
        watchers that were let in at the same time are too many, those that come last get their `end` at once.
        """
        try:
            self.check_room(watched.caller, watched.rid)
        except RequestRefusedError:
            yield format_event(b"{}", "end")
            return
        queue: asyncio.Queue[bytes] = asyncio.Queue(256)
        self._by_caller[watched.caller] += 1
        self._watchers.setdefault(watched.rid, set()).add(queue)
        try:
            yield b": watching\n\n"
            async for event in self._follow(watched, queue, heartbeat_s, is_own):
                yield event
            yield format_event(b"{}", "end")
        finally:
            self._leave(watched, queue)

    async def _follow(
        self,
        watched: WatchedRequest,
        queue: asyncio.Queue[bytes],
        heartbeat_s: float,
        is_own: Callable[[], Awaitable[bool | None]],
    ) -> AsyncIterator[bytes]:
        seen: set[str] = set()
        give_up = time.monotonic() + self._patience_s
        await self._subscribe()
        for data in await self._read_stored(watched.tenant, watched.rid):
            queue.put_nowait(data)
        while time.monotonic() < give_up and not self._is_closed:
            try:
                async with asyncio.timeout(heartbeat_s):
                    data = await queue.get()
            except TimeoutError:
                yield KEEP_ALIVE
                continue
            fact = read_fact(data, watched.tenant)
            if fact and not seen and not await is_own():
                return
            for stage in new_stages(fact, seen) if fact else ():
                yield format_event(msgspec.json.encode(stage), "stage")
            if isinstance(fact, Published):
                return

    def _leave(self, watched: WatchedRequest, queue: asyncio.Queue[bytes]) -> None:
        self._by_caller[watched.caller] -= 1
        if not self._by_caller[watched.caller]:
            del self._by_caller[watched.caller]
        self._watchers[watched.rid].discard(queue)
        if not self._watchers[watched.rid]:
            del self._watchers[watched.rid]

    def close(self) -> None:
        """End every watcher's stream."""
        self._is_closed = True
        for queue in [queue for queues in self._watchers.values() for queue in queues]:
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(b"")

    async def _subscribe(self) -> None:
        if self._subscribing is None:
            self._subscribing = asyncio.ensure_future(self._subscribe_to_all())
        await asyncio.shield(self._subscribing)

    async def _subscribe_to_all(self) -> None:
        for subject in LIVE:
            await self._bus.listen(subject, self._on_fact)

    async def _on_fact(self, subject: str, data: bytes) -> None:
        for queue in self._watchers.get(rid_of(subject), ()):
            if not queue.full():
                queue.put_nowait(data)

    async def _read_stored(self, tenant: str, rid: str) -> list[bytes]:
        found = []
        for source in history_of(rid, tenant, self._site):
            subjects = [source.filter.replace("*", hop) for hop in HOPS] if "*" in source.filter else [source.filter]
            found += [await self._bus.last(source.stream, subject) for subject in subjects]
        return [data for data in found if data is not None]


def read_fact(data: bytes, tenant: str) -> Asked | Fact | None:
    """The fact, when it is one and belongs to `tenant`."""
    try:
        fact: Message = decode(data, *PIPELINE)
    except UnreadableError:
        return None
    return fact if isinstance(fact, Asked | Fact) and fact.tenant == tenant else None


def new_stages(fact: Asked | Fact, seen: set[str]) -> list[StageProgress]:
    """The stages that the fact says are done and that are not in `seen`, to which they are added."""
    at_ms = float(fact.asked_at_ms)
    lines = [("gateway", 0.0, 0.0), *((line.stage, line.waited_ms, line.worked_ms) for line in fact.timings)]
    stages = []
    for stage, waited_ms, worked_ms in lines:
        at_ms += waited_ms + worked_ms
        if stage in seen:
            continue
        seen.add(stage)
        left = "asked" if stage == "gateway" else token_of(type(fact)) if stage == lines[-1][0] else ""
        spent = {"waited_ms": round(waited_ms, 3), "worked_ms": round(worked_ms, 3)}
        stages.append(StageProgress(stage, left, round(at_ms), spent))
    return stages
