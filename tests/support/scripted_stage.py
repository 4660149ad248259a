"""What the tests of a bus share: two stages, three facts, a handler that follows a script."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from tests.support.broker_harness import SITE, Rig, until
from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Retry, Stage
from tidegate.brokers.worker import run
from tidegate.schemas import Asked, Message, Published, Receipt, Withheld, decode

SOON = Retry(attempts=3, jitter=lambda _low, _high: 0.01)
STAGE = Stage("prefilter", (Asked,), (Withheld,), "none:open", concurrency=4, timeout_s=20.0, retry=SOON)
AFTER = Stage("publisher", (Withheld,), (Published,), "none:open", concurrency=4, retry=SOON)
Handle = Callable[[Any], Awaitable[list[Message]]]


def asked(rid: str, text: str = "") -> Asked:
    return Asked(tenant="kiosk", rid=rid, text=text or rid, site=SITE, asked_at_ms=1, deadline_at_ms=2)


def withheld(rid: str, text: str = "") -> Withheld:
    return Withheld(
        rid=rid, tenant="kiosk", site=SITE, asked_at_ms=1, deadline_at_ms=2, reason="unsafe", stage="test", text=text
    )


def published(rid: str, text: str = "") -> Published:
    receipt = Receipt(site=SITE, route="edge", plan=None, lineage=(), citations=(), decisions=())
    return Published(
        rid=rid,
        tenant="kiosk",
        site=SITE,
        asked_at_ms=1,
        deadline_at_ms=2,
        outcome="withheld",
        text=text,
        receipt=receipt,
    )


class Script:
    """A handler that does what the text asks for, and counts."""

    def __init__(self, **acts: Callable[[], Awaitable[None]]) -> None:
        self.acts = acts
        self.calls: Counter[str] = Counter()

    async def __call__(self, question: Asked) -> list[Message]:
        self.calls[question.text] += 1
        if question.text in self.acts:
            await self.acts[question.text]()
        return [withheld(question.rid, question.text)]


def raising(error: Exception) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        raise error

    return act


def failing_first(times: int) -> Callable[[], Awaitable[None]]:
    errors: Iterator[Exception] = iter([OSError("not yet")] * times)

    async def act() -> None:
        for error in errors:
            raise error

    return act


async def stuck() -> None:
    await asyncio.sleep(3600)


@contextlib.asynccontextmanager
async def working(stage: Stage, handle: Handle, bus: Bus, grace_s: float = 5.0) -> AsyncIterator[None]:
    """A worker beside the body; it is drained on leaving."""
    stop = asyncio.Event()
    job = asyncio.create_task(run(stage, handle, bus, stop, grace_s))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await job


async def ask(rig: Rig, *questions: Asked) -> None:
    for question in questions:
        await rig.bus.publish(question, id=question.rid, headers={})


async def texts(rig: Rig, stream: str = "PIPE") -> list[str]:
    return sorted(decode(kept.data, Withheld, Published, Asked).text for kept in await rig.stored(stream))


async def holds(rig: Rig, stream: str, count: int) -> None:
    async def enough() -> bool:
        return len(await rig.stored(stream)) >= count

    await until(enough)


async def no_more_pending(rig: Rig, stage: Stage) -> None:
    async def none() -> bool:
        return await rig.bus.pending(stage) == 0

    await until(none)
