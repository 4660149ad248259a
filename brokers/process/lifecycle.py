"""One process from start to end: open in order, mark itself ready, run until it is stopped, close in reverse.

Next: ../worker.py, which each stage runs; telemetry.py; ready.py."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import uvloop

from tidegate.brokers.base import Bus
from tidegate.brokers.handover import HandOver
from tidegate.brokers.process.core_dumps import forbid_core_dumps
from tidegate.brokers.process.heap import frozen_heap, trimmed_at_rest
from tidegate.brokers.process.loop_watch import watched_loop
from tidegate.brokers.process.open_files import raise_open_files
from tidegate.brokers.process.ready import mark_ready, ready_file
from tidegate.brokers.process.state_directory import open_state
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.process.telemetry import Telemetry
from tidegate.brokers.settings import ProcessSettings
from tidegate.brokers.stage import Handler, Stage
from tidegate.brokers.worker import run
from tidegate.schemas import TidegateError
from tidegate.schemas.message import learn_types

S = TypeVar("S", bound=ProcessSettings)
OpenBus = Callable[[S], AbstractAsyncContextManager[Bus]]
OpenService = Callable[[S, Bus], AbstractAsyncContextManager[Any]]
CompositionRoot = Callable[[Any, Bus], AbstractAsyncContextManager[Handler]]

PR_SET_PDEATHSIG = 1
PARENT_CHECK_S = 1.0


class StageOpenError(TidegateError, RuntimeError):
    """A stage's composition root cannot be found."""

    hint = "the extra that this stage needs may not be installed"

    def __init__(self, stage: Stage, reason: str) -> None:
        super().__init__(f"stage {stage.name}: {stage.open} cannot be opened: {reason}")


@dataclass(frozen=True)
class WorkerProcess(Generic[S]):
    """What one process serves: stages, and background services beside them, all on one bus."""

    name: str
    stages: Sequence[Stage]
    open_bus: OpenBus[S]
    services: Sequence[OpenService[S]] = ()
    parent: int | None = None
    """The id of the process that this one must not outlive."""
    await_needed: Callable[[S], Coroutine[Any, Any, None]] | None = None
    """Returns when there is what this process needs; nothing is opened before that."""


def start(main: Coroutine[Any, Any, None]) -> None:
    """Run a process's main coroutine on uvloop until it ends."""
    uvloop.run(main)


async def serve(
    process: WorkerProcess[S], settings: S, telemetry: Telemetry, stop: asyncio.Event | None = None
) -> None:
    """Serve the stages in this process until `stop` or a signal; then drain for at most `settings.grace_s` seconds.

    The services beside the stages end before they drain, so that what these wait for can still be answered.

    Raises what opening raises, and what `await_needed` does, before the process is ready; `StageOpenError`; an
    `ExceptionGroup` of what made stages fail.
    """
    stop, names = stop or asyncio.Event(), tuple(stage.name for stage in process.stages)
    async with AsyncExitStack() as stack:
        stack.enter_context(_signals(stop))
        stack.enter_context(_log_unhandled(telemetry))
        _take_precautions(settings, telemetry)
        if process.parent is not None:
            await stack.enter_async_context(_end_with(process.parent, stop))
        ready_file(settings, process.name).unlink(missing_ok=True)  # one that was killed has left it
        if process.await_needed is not None and not await _comes(process.await_needed(settings), stop):
            return
        roots = [resolve(stage) for stage in process.stages]
        learn_types()  # all is imported by now, and no thread reads anything yet
        bus = await stack.enter_async_context(process.open_bus(settings))
        handlers = [await stack.enter_async_context(root(settings, bus)) for root in roots]
        drain, together = asyncio.Event(), HandOver(bus)
        async with asyncio.TaskGroup() as running:
            for stage, handler in zip(process.stages, handlers, strict=True):
                running.create_task(run(stage, handler, together, drain, settings.grace_s, telemetry), name=stage.name)
            async with AsyncExitStack() as services:
                for open_service in process.services:
                    await services.enter_async_context(open_service(settings, bus))
                services.enter_context(frozen_heap())
                await services.enter_async_context(trimmed_at_rest())
                services.enter_context(watched_loop(telemetry, settings.loop_held_ms / 1e3))
                services.enter_context(mark_ready(settings, process.name, names, telemetry.metrics_port))
                telemetry.log.info("ready", process=process.name, stages=names, metrics_port=telemetry.metrics_port)
                await stop.wait()
            telemetry.log.info("draining", process=process.name, grace_s=settings.grace_s)
            drain.set()
        telemetry.log.info("closed", process=process.name)


async def _comes(needed: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Whether what is needed came before `stop` was set. Raises what waiting for it raises."""
    waiting, stopping = asyncio.create_task(needed), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            waiting.result()
        return waiting.done()
    finally:
        await end_tasks(waiting, stopping)


def end_with_parent() -> None:
    """Have Linux send SIGTERM when the thread ends that started this process; elsewhere nothing. Raises `OSError`."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")


def _take_precautions(settings: ProcessSettings, telemetry: Telemetry) -> None:
    """No word of anybody's is left for others of the machine, and there are files for all connections."""
    forbid_core_dumps()
    if closed := open_state(Path(settings.state_dir)):
        telemetry.log.warning("keys_closed", paths=closed, hint="exchange keys that others may have read")
    files = raise_open_files()
    telemetry.log.info("open_files", limit=files.now, hard_limit=files.hard, raised_from=files.before)


@contextmanager
def _log_unhandled(telemetry: Telemetry) -> Iterator[None]:
    """Log an error that nobody waits for like any other: asyncio's own way quotes its message, and so a request."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def log_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        telemetry.log.error("unhandled_error", what=context["message"], exc_info=context.get("exception"))

    loop.set_exception_handler(log_error)
    try:
        yield
    finally:
        loop.set_exception_handler(before)


def resolve(stage: Stage) -> CompositionRoot:
    """The stage's composition root, imported only now. Raises `StageOpenError`."""
    module, _, function = stage.open.partition(":")
    try:
        root: CompositionRoot = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise StageOpenError(stage, str(error)) from error
    return root


@asynccontextmanager
async def _end_with(parent: int, stop: asyncio.Event) -> AsyncIterator[None]:
    """Stop when the parent ends, or if it has ended already.

    Linux sends SIGTERM, but ties it to the parent's *thread* that started this process (prctl(2), PR_SET_PDEATHSIG);
    what counts everywhere is the look at who the parent is.
    """
    end_with_parent()

    async def check() -> None:
        while os.getppid() == parent:  # noqa: ASYNC110  nothing but a look says that a parent has changed
            await asyncio.sleep(PARENT_CHECK_S)
        stop.set()

    task = asyncio.create_task(check())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """The first SIGTERM or SIGINT sets `stop` and restores the default, so that the second one kills."""
    loop = asyncio.get_running_loop()
    handled = (signal.SIGTERM, signal.SIGINT)

    def first() -> None:
        stop.set()
        forget()

    def forget() -> None:
        for number in handled:
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    before = signal.getsignal(signal.SIGINT)
    for number in handled:
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        forget()
        signal.signal(signal.SIGINT, before)
