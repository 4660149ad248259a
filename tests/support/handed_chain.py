"""A chain of three stages in one process, and a process whose way to the server ends at a chosen point."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from tests.support.broker_harness import SITE, Rig
from tests.support.scripted_stage import Handle, published, withheld
from tidegate.brokers.base import Broker, Delivery, Inbox, StoreOutcome
from tidegate.brokers.handed import HandedDelivery
from tidegate.brokers.handover import HandOver
from tidegate.brokers.stage import Retry, Stage
from tidegate.brokers.worker import run
from tidegate.schemas import Asked, Message, Published, Question, Screened, Withheld

SOON = Retry(attempts=3, jitter=lambda _low, _high: 0.01)
FIRST = Stage("prefilter", (Asked,), (Screened,), "none:open", concurrency=4, retry=SOON)
MIDDLE = Stage("router", (Screened,), (Withheld,), "none:open", concurrency=4, retry=SOON)
LAST = Stage("publisher", (Withheld,), (Published,), "none:open", concurrency=4, retry=SOON)
CHAIN = (FIRST, MIDDLE, LAST)
Cross = Callable[[], Awaitable[None]]


def screened(rid: str, text: str) -> Screened:
    question = Question(text=text, language="en", intent="x", intent_confidence=1.0)
    return Screened(rid=rid, tenant="kiosk", site=SITE, asked_at_ms=1, deadline_at_ms=2, question=question)


async def pass_by() -> None:
    return


class Chain:
    """The handlers; each adds a word to the text, counts its calls, and comes by `cross` before and after its work."""

    def __init__(self, cross: Cross = pass_by) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.cross = cross
        self.acts: dict[str, Callable[[str], Awaitable[None]]] = {}
        """By stage, what it does to a request beside that."""

    async def _work(self, stage: str, rid: str) -> None:
        self.calls[stage, rid] += 1
        await self.cross()
        if stage in self.acts:
            await self.acts[stage](rid)
        await self.cross()

    async def first(self, asked: Asked) -> list[Message]:
        await self._work("prefilter", asked.rid)
        return [screened(asked.rid, asked.text)]

    async def middle(self, fact: Screened) -> list[Message]:
        await self._work("router", fact.rid)
        return [withheld(fact.rid, f"{fact.question.text}!")]

    async def last(self, fact: Withheld) -> list[Message]:
        await self._work("publisher", fact.rid)
        return [published(fact.rid, f"{fact.text}?")]

    @property
    def handlers(self) -> tuple[Handle, ...]:
        return self.first, self.middle, self.last


async def serve(
    chain: Chain, broker: Broker, stop: asyncio.Event, *, stages: Sequence[Stage] = CHAIN, grace_s: float = 5.0
) -> None:
    """One process that works the whole chain, and hands over in it."""
    together = HandOver(broker)
    async with asyncio.TaskGroup() as running:
        for stage, handler in zip(stages, chain.handlers, strict=True):
            running.create_task(run(stage, handler, together, stop, grace_s))


@contextlib.asynccontextmanager
async def serving(chain: Chain, broker: Any, *, stages: Sequence[Stage] = CHAIN) -> AsyncIterator[None]:
    """That process beside the body; drained on leaving."""
    stop = asyncio.Event()
    job = asyncio.create_task(serve(chain, broker, stop, stages=stages))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await job


async def facts(rig: Rig) -> list[tuple[str, str]]:
    """Subject and id of everything that followed from requests, in the order of their storage."""
    kept = [each for stream in ("PIPE", "ANSWERS") for each in await rig.stored(stream)]
    return [(each.subject, each.headers["Nats-Msg-Id"]) for each in kept]


def facts_of(rid: str) -> list[tuple[str, str]]:
    """What there is in the end of a request that was asked under its own id."""
    first = f"{rid}.prefilter.0"
    return [
        (f"pipe.kiosk.screened.{rid}", first),
        (f"pipe.kiosk.withheld.{rid}", f"{first}.router.0"),
        (f"answers.kiosk.{rid}", f"{first}.router.0.publisher.0"),
    ]


class CutOff(BaseException):
    """The process is no more."""


class CrossingBus:
    """A process's way to the server. `cross` is called before everything that it does there, and after it."""

    def __init__(self, bus: Any, cross: Cross) -> None:
        self._bus = bus
        self._cross = cross

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def store(self, message: Message, *, id: str, headers: Mapping[str, str]) -> StoreOutcome:
        await self._cross()
        outcome: StoreOutcome = await self._bus.store(message, id=id, headers=headers)
        await self._cross()
        return outcome

    async def publish(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        return (await self.store(message, id=id, headers=headers)).is_new

    @contextlib.asynccontextmanager
    async def subscribe(self, stage: Stage) -> AsyncIterator[Inbox]:
        async with self._bus.subscribe(stage) as inbox:
            yield CrossingInbox(inbox, self._cross)


class CrossingInbox:
    def __init__(self, inbox: Inbox, cross: Cross) -> None:
        self._inbox = inbox
        self._cross = cross

    def put(self, delivery: Delivery) -> None:
        self._inbox.put(delivery)

    async def next(self, wait_s: float = 0.2) -> Delivery | None:
        delivery = await self._inbox.next(wait_s)
        is_servers = delivery is not None and not isinstance(delivery, (HandedDelivery, CrossingDelivery))
        return CrossingDelivery(delivery, self._cross) if is_servers else delivery


class CrossingDelivery:
    def __init__(self, delivery: Any, cross: Cross) -> None:
        self._delivery = delivery
        self._cross = cross

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    async def ack(self) -> None:
        await self._cross()
        await self._delivery.ack()
        await self._cross()

    async def retry(self, after_s: float) -> None:
        await self._cross()
        await self._delivery.retry(after_s)


class Crossings:
    """Counts, and ends the process at the crossing `at`: killed, or stuck there while it is told to stop."""

    def __init__(self, at: int, stop: asyncio.Event, *, kills: bool) -> None:
        self.count = 0
        self._at = at
        self._stop = stop
        self._kills = kills

    async def cross(self) -> None:
        self.count += 1
        if self._kills and self.count >= self._at:
            raise CutOff
        if self.count == self._at:
            self._stop.set()
            await asyncio.sleep(3600)
