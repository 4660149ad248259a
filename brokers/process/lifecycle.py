"""One process from start to end: open in order, say ready, run until told to stop, close in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import uvloop

from tidegate.brokers.base import House
from tidegate.brokers.process import telemetry as telemetry_room
from tidegate.brokers.settings import ProcessSettings
from tidegate.brokers.stage import Handler, Stage
from tidegate.brokers.worker import run

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from tidegate.brokers.process.telemetry import Telemetry

S = TypeVar("S", bound=ProcessSettings)
OpenHouse = Callable[[S], AbstractAsyncContextManager[House]]
Beside = Callable[[S, House], AbstractAsyncContextManager[Any]]
Root = Callable[[Any, House], AbstractAsyncContextManager[Handler]]

PR_SET_PDEATHSIG = 1
PARENT_CHECK_S = 1.0


class BadStage(RuntimeError):
    """A stage's composition root cannot be found."""

    def __init__(self, stage: Stage, reason: str) -> None:
        super().__init__(f"stage {stage.name}: {stage.open} cannot be opened: {reason}")
        self.hint = "the extra that this stage needs may not be installed"


def start(main: Coroutine[Any, Any, None]) -> None:
    """Run a process's main coroutine on uvloop until it ends."""
    uvloop.run(main)


async def serve(
    stages: Sequence[Stage],
    settings: S,
    *,
    open_house: OpenHouse[S],
    name: str,
    beside: Sequence[Beside[S]] = (),
    telemetry: Telemetry | None = None,
    stop: asyncio.Event | None = None,
    parent: int | None = None,
) -> None:
    """Serve the stages in this process until `stop` or a signal; then drain for at most `settings.grace_s`.

    What runs beside the stages ends before they drain, so that what it waits for can still be answered. `parent` is
    the process id that this process must not outlive. Without `telemetry` the process opens its own.

    Raises what opening raises, before ready is said; `BadStage`; an `ExceptionGroup` of what made stages fail.
    """
    stop = stop or asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(_signals(stop))
        watch = telemetry or stack.enter_context(telemetry_room.opened(settings))
        stack.enter_context(_unhandled(watch))
        if parent is not None:
            await stack.enter_async_context(_guarded(parent, stop))
        house = await stack.enter_async_context(open_house(settings))
        handlers = [await stack.enter_async_context(resolve(stage)(settings, house)) for stage in stages]
        drain = asyncio.Event()
        async with asyncio.TaskGroup() as running:
            for stage, handler in zip(stages, handlers, strict=True):
                running.create_task(run(stage, handler, house, drain, settings.grace_s, watch), name=stage.name)
            async with AsyncExitStack() as neighbours:
                for open_neighbour in beside:
                    await neighbours.enter_async_context(open_neighbour(settings, house))
                neighbours.enter_context(_ready(settings, name, stages))
                watch.log.info("ready", process=name, stages=[stage.name for stage in stages])
                await stop.wait()
            watch.log.info("draining", process=name, grace_s=settings.grace_s)
            drain.set()
        watch.log.info("closed", process=name)


@contextmanager
def _unhandled(watch: Telemetry) -> Iterator[None]:
    """Log an error that nobody waits for like any other: asyncio's own way quotes its message, and so a request."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        watch.log.error("unhandled_error", what=context["message"], exc_info=context.get("exception"))

    loop.set_exception_handler(tell)
    try:
        yield
    finally:
        loop.set_exception_handler(before)


def resolve(stage: Stage) -> Root:
    """The stage's composition root, imported only now. Raises `BadStage`."""
    module, _, function = stage.open.partition(":")
    try:
        root: Root = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise BadStage(stage, str(error)) from error
    return root


def ready_file(settings: ProcessSettings, name: str) -> Path:
    """The file that exists while the process `name` is ready."""
    return Path(settings.state_dir) / settings.site / "ready" / name


def guard_orphan(parent: int) -> None:
    """Ask the kernel for SIGTERM when the parent ends, and raise it now if that has happened already.

    Linux ties the signal to the parent's *thread* that started this process (prctl(2), PR_SET_PDEATHSIG); elsewhere
    only the check is made, and `serve` repeats it.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


@asynccontextmanager
async def _guarded(parent: int, stop: asyncio.Event) -> AsyncIterator[None]:
    guard_orphan(parent)

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
    heard = (signal.SIGTERM, signal.SIGINT)

    def first() -> None:
        stop.set()
        forget()

    def forget() -> None:
        for number in heard:
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    before = signal.getsignal(signal.SIGINT)
    for number in heard:
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        forget()
        signal.signal(signal.SIGINT, before)


@contextmanager
def _ready(settings: ProcessSettings, name: str, stages: Sequence[Stage]) -> Iterator[None]:
    """The ready file, whole or not there: written beside and renamed."""
    path = ready_file(settings, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{name}.{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode({"pid": os.getpid(), "stages": [stage.name for stage in stages]}))
    fresh.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
