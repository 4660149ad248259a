"""The worker: brings every delivery of a stage to exactly one end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Literal, Protocol

import msgspec

from tidegate.brokers.base import Broker, Delivery, Inbox
from tidegate.brokers.stage import ACK_WAIT_S, Handler, Stage
from tidegate.schemas import Message, RejectError, Spent, decode

Verdict = Literal["done", "retried", "buried", "handed_back"]
KEEP_ALIVE_S = ACK_WAIT_S / 3


class Watch(Protocol):
    """Who is told of every delivery's beginning and of its end, in the task that settles it."""

    def started(self, stage: Stage, delivery: Delivery) -> None: ...

    def ended(
        self, stage: Stage, delivery: Delivery, verdict: Verdict, worked_s: float, error: BaseException | None
    ) -> None: ...


class Unwatched:
    """Nobody is told."""

    def started(self, stage: Stage, delivery: Delivery) -> None: ...

    def ended(
        self, stage: Stage, delivery: Delivery, verdict: Verdict, worked_s: float, error: BaseException | None
    ) -> None: ...


UNWATCHED = Unwatched()


async def settle(stage: Stage, handle: Handler, delivery: Delivery, broker: Broker, watch: Watch = UNWATCHED) -> None:
    """Bring one delivery to exactly one end: done, later, or buried. Raises what burying raises.

    At every try a handler must return the same outputs in number and order: their ids rest on it.
    """
    watch.started(stage, delivery)
    waited_s, began_s, worked_s = max(0.0, time.time() - delivery.stored_at_s), time.monotonic(), 0.0
    verdict: Verdict
    failure: BaseException | None = None
    try:
        message = read(stage, delivery)
        with keep_alive(delivery):
            try:
                outputs = await work(stage, handle, message)
            finally:
                worked_s = time.monotonic() - began_s
            line = Spent(stage.name, round(waited_s * 1e3, 3), round(worked_s * 1e3, 3))
            await store(outputs, (*getattr(message, "ledger", ()), line), stage, delivery, broker)
        await delivery.ack()  # last: every output is stored
        verdict = "done"
    except asyncio.CancelledError as error:  # the drain ran out of time: a peer gets it
        await delivery.retry(0.0)
        watch.ended(stage, delivery, "handed_back", worked_s, error)
        raise
    except Exception as error:  # noqa: BLE001 - whatever a handler or its data did, the delivery needs an end
        failure, delay_s = error, stage.retry.delay_s(error, delivery.attempt)
        if delay_s is None:
            verdict = "buried"
            await broker.bury(delivery, stage.name, error)
        else:
            verdict = "retried"
            await delivery.retry(delay_s)
    watch.ended(stage, delivery, verdict, worked_s, failure)


async def run(
    stage: Stage, handle: Handler, broker: Broker, stop: asyncio.Event, grace_s: float = 10.0, watch: Watch = UNWATCHED
) -> None:
    """Settle deliveries until `stop`; then take no more, and drain for at most `grace_s` seconds.

    Raises `TopologyMissing`; `TimeoutError` when the drain ran out, after all work in flight was handed back to peers;
    an `ExceptionGroup` when a delivery could not be brought to an end.
    """
    async with contextlib.AsyncExitStack() as subscription:
        inbox = await subscription.enter_async_context(broker.subscribe(stage))
        async with asyncio.timeout(None) as drain, asyncio.TaskGroup() as in_flight:
            intake = in_flight.create_task(take(stage, handle, broker, inbox, in_flight, watch))
            await stop.wait()
            intake.cancel()  # ends its wait for a slot, or for a message, at once and loses neither
            await subscription.aclose()  # what was not begun goes to a peer now, not after the drain
            drain.reschedule(asyncio.get_running_loop().time() + grace_s)


async def take(
    stage: Stage, handle: Handler, broker: Broker, inbox: Inbox, in_flight: asyncio.TaskGroup, watch: Watch
) -> None:
    """Begin to settle whatever comes, for ever: first a place, then a message."""
    slots = asyncio.Semaphore(stage.concurrency)
    while True:
        await slots.acquire()
        while (delivery := await inbox.next(wait_s=60.0)) is None:
            pass
        in_flight.create_task(settle(stage, handle, delivery, broker, watch)).add_done_callback(
            lambda _: slots.release()
        )


def read(stage: Stage, delivery: Delivery) -> Message:
    """The message. Raises `UnreadableError`, and `RejectError` where every try that was due ended without a verdict."""
    if delivery.attempt > stage.retry.attempts:
        raise RejectError("attempts exhausted without a verdict: it may have taken its process down")
    message: Message = decode(delivery.data, *stage.accepts)
    return message


async def work(stage: Stage, handle: Handler, message: Message) -> Iterable[Message]:
    """What follows from the message. Raises what the handler raises; `TimeoutError` when it takes too long."""
    try:
        async with asyncio.timeout(stage.timeout_s) as limit:
            return await handle(message)
    except TimeoutError as error:
        if limit.expired():
            raise TimeoutError(f"the handler took longer than {stage.timeout_s:g} s") from error
        raise


async def store(
    outputs: Iterable[Message], ledger: tuple[Spent, ...], stage: Stage, delivery: Delivery, broker: Broker
) -> None:
    """Publish the outputs with their ledger, all at once, under ids that are the same at every try."""
    headers = {"Tidegate-Cause": delivery.place}
    if traceparent := delivery.headers.get("traceparent"):
        headers["traceparent"] = traceparent
    publishing = [
        broker.publish(
            msgspec.structs.replace(output, ledger=ledger) if hasattr(output, "ledger") else output,
            id=f"{delivery.id}.{stage.name}.{n}",
            headers=headers,
        )
        for n, output in enumerate(outputs)
    ]
    if len(publishing) == 1:  # by far the most frequent case needs no task
        await publishing[0]
    else:
        await asyncio.gather(*publishing)


@contextlib.contextmanager
def keep_alive(delivery: Delivery, every_s: float = KEEP_ALIVE_S) -> Iterator[None]:
    """While the body runs, say every `every_s` seconds that the work goes on."""
    loop = asyncio.get_running_loop()
    beats: set[asyncio.Task[None]] = set()  # the loop alone keeps no task from being collected
    timer: asyncio.TimerHandle | None = None

    def beat() -> None:
        nonlocal timer
        beats.add(loop.create_task(delivery.keep_alive()))
        timer = loop.call_later(every_s, beat)

    timer = loop.call_later(every_s, beat)  # not a task: most handlers are done before the first beat
    try:
        yield
    finally:
        timer.cancel()
