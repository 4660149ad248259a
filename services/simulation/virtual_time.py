"""A loop whose time is simulated: it never waits, and moves its clock to the next timer when nothing else is to do.

Promises that a run depends on nothing but its inputs: no thread works beside it, and all that asks for the time while
it runs gets its own. Next: engine.py."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from typing import Any, TypeVar

import structlog

from tidegate.schemas import TidegateError

T = TypeVar("T")

EPOCH_S = 1_800_000_000.0
"""The Unix time at which every simulation begins."""


class SimulationStuckError(TidegateError, RuntimeError):
    """Everything waits, and no timer will ever end that."""

    hint = "it is a fault of what is simulated: a task waits for something that nobody does"


class _VirtualSelector(selectors.DefaultSelector):
    """Waits for nobody: the time that the loop would have waited has passed at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Nothing is ever ready. Raises `SimulationStuckError`."""
        if timeout is None:
            raise SimulationStuckError("nothing is left that could happen")
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a simulated clock. What is handed to a thread is done at once, in the loop's own."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)
        # The loop runs a timer that is due within this: without it rounding lets a timer wait for ever.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Seconds since the beginning of the simulation."""
        return self._virtual.now_s

    def run_in_executor(  # type: ignore[override]
        self, _: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """A future that is done: with what `func` returned, or what it raised."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is the caller's, as with a thread
            future.set_exception(error)
        return future


@contextlib.contextmanager
def simulated_clock(loop: VirtualLoop) -> Iterator[None]:
    """While this is open, `time.time`, `monotonic` and `perf_counter` of the process give the loop's time.

    The one place in which they are replaced: what a stage's parts are handed as their clock is one of these.
    """
    real = time.time, time.monotonic, time.perf_counter
    time.time = lambda: EPOCH_S + loop.time()
    time.monotonic = time.perf_counter = loop.time
    try:
        yield
    finally:
        time.time, time.monotonic, time.perf_counter = real


@contextlib.contextmanager
def quiet_logs() -> Iterator[None]:
    """While this is open nothing is logged: what a simulation has to say is in its outcome."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


@contextlib.contextmanager
def seeded_random(seed: int) -> Iterator[None]:
    """While this is open the process's own generator draws by the seed: retries wait as long as that says."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


def run_simulated(main: Callable[[], Coroutine[Any, Any, T]], seed: int) -> T:
    """What `main()` returns, run on simulated time from 0 on. Raises what it raises, and `SimulationStuckError`."""
    loop = VirtualLoop()
    with quiet_logs(), seeded_random(seed), simulated_clock(loop), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main())
