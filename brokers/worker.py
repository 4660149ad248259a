"""The worker: brings every delivery of a stage to exactly one outcome. Next: process/lifecycle.py, which runs it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from tidegate.brokers.base import COPIED, Broker, Delivery, DeliveryWithdrawnError, Inbox
from tidegate.brokers.handed import HandedDelivery
from tidegate.brokers.handover import HandOver
from tidegate.brokers.room import once_there_is_room
from tidegate.brokers.settings import GRACE_S
from tidegate.brokers.stage import ACK_WAIT_S, ForbiddenMessageError, Handler, ScreenedHandler, Stage
from tidegate.schemas import Message, RejectError, StageTiming, decode
from tidegate.schemas.subject_claims import TRACEPARENT, belongs_under

DeliveryOutcome = Literal["done", "retried", "dead_lettered", "handed_back"]
KEEP_ALIVE_S = ACK_WAIT_S / 3


class WorkerObserver:
    """Called at the start and at the outcome of every delivery, in the task that settles it; this one does nothing."""

    def on_start(self, stage: Stage, delivery: Delivery) -> None: ...

    def on_outcome(
        self, stage: Stage, delivery: Delivery, outcome: DeliveryOutcome, worked_s: float, error: BaseException | None
    ) -> None: ...


NO_OBSERVER = WorkerObserver()


async def settle(
    stage: Stage, handle: Handler, delivery: Delivery, broker: Broker, observer: WorkerObserver = NO_OBSERVER
) -> None:
    """Bring one delivery to exactly one outcome: done, retried, or dead-lettered. Raises what dead-lettering raises.

    At every try a handler must return the same outputs in number and order: their ids rest on it.
    """
    observer.on_start(stage, delivery)
    worked_s = 0.0
    outcome: DeliveryOutcome
    failure: BaseException | None = None
    try:
        message = await read(stage, handle, delivery)
        waited_s, began_s = max(0.0, time.time() - delivery.stored_at_s), time.monotonic()
        with keep_alive(delivery):
            try:
                outputs = await once_there_is_room(lambda: work(stage, handle, message))
            finally:
                worked_s = time.monotonic() - began_s
            line = StageTiming(stage.name, round(waited_s * 1e3, 3), round(worked_s * 1e3, 3))
            timed = [with_timing(output, message, line) for output in outputs]
            await once_there_is_room(lambda: store(timed, stage, delivery, broker))
        await delivery.ack()  # last: every output is stored
        outcome = "done"
    except asyncio.CancelledError as error:  # the drain ran out of time: a peer gets it
        await delivery.retry(0.0)
        observer.on_outcome(stage, delivery, "handed_back", worked_s, error)
        raise
    except Exception as error:  # noqa: BLE001 - whatever a handler or its data did, the delivery needs an outcome
        failure, outcome = error, await end_failed(stage, delivery, broker, error)
    observer.on_outcome(stage, delivery, outcome, worked_s, failure)


async def run(
    stage: Stage,
    handle: Handler,
    broker: Broker,
    stop: asyncio.Event,
    grace_s: float = GRACE_S,
    observer: WorkerObserver = NO_OBSERVER,
) -> None:
    """Settle deliveries until `stop`; then take no more, and drain for at most `grace_s` seconds.

    Raises `TopologyMissingError`; `TimeoutError` when the drain ran out, after all work in flight was handed back to
    peers; an `ExceptionGroup` when a delivery could not be settled.
    """
    async with contextlib.AsyncExitStack() as subscription:
        inbox = await subscription.enter_async_context(broker.subscribe(stage))
        async with asyncio.timeout(None) as drain, asyncio.TaskGroup() as in_flight:
            intake = in_flight.create_task(take(stage, handle, broker, inbox, in_flight, observer))
            await stop.wait()
            intake.cancel()  # ends its wait for a slot, or for a message, at once and loses neither
            await subscription.aclose()  # what was not begun goes to a peer now, not after the drain
            drain.reschedule(asyncio.get_running_loop().time() + grace_s)


async def take(
    stage: Stage, handle: Handler, broker: Broker, inbox: Inbox, in_flight: asyncio.TaskGroup, observer: WorkerObserver
) -> None:
    """Begin to settle whatever comes, for ever: first a free slot, then a message."""
    slots = asyncio.Semaphore(stage.concurrency)
    while True:
        await slots.acquire()
        while (delivery := await inbox.next(wait_s=60.0)) is None:
            pass
        settling = in_flight.create_task(settle(stage, handle, delivery, broker, observer), name=stage.name)
        settling.add_done_callback(lambda _: slots.release())


async def read(stage: Stage, handle: Handler, delivery: Delivery) -> Message:
    """The message. Raises `UnreadableError`, and `RejectError` where every attempt ended without an acknowledgement, or
    where the message is not of the subject that it came under: the server has checked who may publish there;
    `DeliveryWithdrawnError` where it was handed over and is not stored; and what a `ScreenedHandler` raises."""
    if COPIED in delivery.headers:
        raise RejectError("a copy of a stored message, which somebody had the server publish here")
    if delivery.attempt > stage.retry.attempts:
        raise RejectError("attempts exhausted without an acknowledgement: it may have taken its process down")
    if isinstance(handle, ScreenedHandler):
        return await handle.screen(delivery.subject, delivery.headers, delivery.data)
    if isinstance(delivery, HandedDelivery) and (handed := delivery.message) is not None:
        if stage.shows:
            await delivery.stored()  # else a process that ends here has shown what nothing that is stored bears out
        return handed
    message: Message = decode(delivery.data, *stage.accepts)
    if not belongs_under(message, delivery.subject):
        raise RejectError(
            "its tenant, request, type or site is another one than that of the subject under which it came"
        )
    return message


async def end_failed(stage: Stage, delivery: Delivery, broker: Broker, error: Exception) -> DeliveryOutcome:
    """Hand the delivery back for another try, or bury it where there is none. What was handed over and never stored is
    neither: it is made again."""
    try:
        await delivery.stored()
    except DeliveryWithdrawnError:
        return "handed_back"
    delay_s = stage.retry.delay_s(error, delivery.attempt)
    if delay_s is None:
        with keep_alive(delivery):  # where dead letters have no room, nobody else is to try meanwhile
            await once_there_is_room(lambda: bury(stage, delivery, broker, error))
        return "dead_lettered"
    await delivery.retry(delay_s)
    return "retried"


async def bury(stage: Stage, delivery: Delivery, broker: Broker, error: Exception) -> None:
    """Keep the delivery as a dead letter; what goes on in the place of one that is forbidden is stored before that."""
    instead = error.instead if isinstance(error, ForbiddenMessageError) else ()
    if instead:
        await store(instead, stage, delivery, broker)
    await broker.dead_letter(delivery, stage.name, error)


async def work(stage: Stage, handle: Handler, message: Message) -> Iterable[Message]:
    """What follows from the message. Raises what the handler raises; `TimeoutError` when it takes too long."""
    try:
        async with asyncio.timeout(stage.timeout_s) as limit:
            return await handle(message)
    except TimeoutError as error:
        if limit.expired():
            raise TimeoutError(f"the handler took longer than {stage.timeout_s:g} s") from error
        raise


def with_timing(output: Message, cause: Message, timing: StageTiming) -> Message:
    """The output with the timing of the stage that made it out of `cause`.

    A timing that the handler added itself is of another stage that worked for it: that time is not counted twice.
    """
    if not hasattr(output, "timings"):
        return output
    before: tuple[StageTiming, ...] = getattr(cause, "timings", ())
    inner = output.timings[len(before) :]
    others_ms = sum(line.waited_ms + line.worked_ms for line in inner)
    own = StageTiming(timing.stage, timing.waited_ms, round(max(0.0, timing.worked_ms - others_ms), 3))
    return msgspec.structs.replace(output, timings=(*before, *inner, own))


async def store(outputs: Iterable[Message], stage: Stage, delivery: Delivery, broker: Broker) -> None:
    """Publish the outputs, all at once, under ids that are the same at every try, once what they follow from is stored.

    They are handed over at the first try only: a message that takes its process down does so as a delivery of its own
    stage from then on, whose attempts are counted.
    """
    headers = {"Tidegate-Cause": await delivery.stored()}
    if TRACEPARENT.match(traceparent := delivery.headers.get("traceparent", "")):
        headers["traceparent"] = traceparent
    publish = broker.hand_over if isinstance(broker, HandOver) and delivery.attempt == 1 else broker.publish
    publishing = [
        publish(output, id=f"{delivery.id}.{stage.name}.{n}", headers=headers) for n, output in enumerate(outputs)
    ]
    if len(publishing) == 1:  # by far the most frequent case needs no task
        await publishing[0]
    else:
        await asyncio.gather(*publishing)


@contextlib.contextmanager
def keep_alive(delivery: Delivery, every_s: float = KEEP_ALIVE_S) -> Iterator[None]:
    """While the body runs, extend the ack wait every `every_s` seconds."""
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
