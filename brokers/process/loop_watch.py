"""Watches how long the event loop of a process is held: while it is, nothing else of the process goes on.

A thread sends the loop a probe four times a second and measures what anything that came at that moment would have
waited. A long hold is met by chance, a frequent one soon; timing every callback instead would cost a site two per cent
of the processor. Next: lifecycle.py, which starts it."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from prometheus_client import CollectorRegistry, Gauge, Histogram

from tidegate.brokers.process.telemetry import Telemetry

PROBE_EVERY_S = 0.25
"""On average; at random, so that no timer keeps step with it. A probe takes some 0.2 ms of an idle processor, for both
threads wake up for it."""
LINE_EVERY_S = 10.0
"""A line of the log at most so often: what holds a loop does so again."""
PATIENCE_S = 10.0
"""How long the end of a hold is waited for before it is written down as it is."""
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
OWN = "tidegate."
"""What the names of the product's own modules begin with."""


@contextmanager
def watched_loop(telemetry: Telemetry, limit_s: float, every_s: float = PROBE_EVERY_S) -> Iterator[None]:
    """Watch the running loop until left; a hold of `limit_s` seconds or more that a probe meets is a line `loop_held`.

    The line has what held the loop: the task, which of a delivery has the stage's name, and the innermost line of our
    own code; `processor_ms`, on Linux, is what it used of the processor, the rest of `held_ms` it waited.
    """
    watch = LoopWatch(asyncio.get_running_loop(), telemetry, limit_s, every_s)
    watch.start()
    try:
        yield
    finally:
        watch.stop()


class LoopWatch:
    """The thread that sends the probes. To be made and stopped in the loop's own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, telemetry: Telemetry, limit_s: float, every_s: float) -> None:
        self._loop = loop
        self._telemetry = telemetry
        self._limit_s = limit_s
        self._every_s = every_s
        self._owner = threading.get_ident()
        self._held, self._longest = metrics_of_loop(telemetry.registry)
        self._longest_s = 0.0
        self._line_at_s = -LINE_EVERY_S
        self._ending, self._reached = _taken_lock(), _taken_lock()  # events take more of the processor
        self._is_ending = False
        self._reached_at_s = 0.0
        self._thread = threading.Thread(target=self._run, name="loop-watch", daemon=True)

    def start(self) -> None:
        """Begin to send probes."""
        self._thread.start()

    def stop(self) -> None:
        """Return when the thread has ended; the metrics go with it."""
        self._is_ending = True
        self._ending.release()
        if self._reached.locked():
            self._reached.release()  # the loop, which runs this, reaches no probe meanwhile
        self._thread.join()
        for metric in (self._held, self._longest):
            self._telemetry.registry.unregister(metric)

    def _run(self) -> None:
        while not self._ending.acquire(timeout=self._every_s * random.uniform(0.5, 1.5)):
            self._probe()

    def _probe(self) -> None:
        if self._is_ending:
            return
        worked_s, began_s = self._worked_s(), time.perf_counter()
        self._loop.call_soon_threadsafe(self._on_reached)
        is_over = self._reached.acquire(timeout=self._limit_s)
        found = None if is_over else self._find_holder()
        is_over = is_over or self._reached.acquire(timeout=PATIENCE_S)
        if self._is_ending:
            return
        held_s = (self._reached_at_s if is_over else time.perf_counter()) - began_s
        worked_s = self._worked_s() - worked_s
        self._held.observe(held_s)
        self._longest_s = max(self._longest_s, held_s)
        self._longest.set(self._longest_s)
        if found is not None and held_s >= self._limit_s and time.perf_counter() >= self._line_at_s + LINE_EVERY_S:
            self._line_at_s = time.perf_counter()
            if sys.platform == "linux":
                found["processor_ms"] = round(worked_s * 1e3, 1)
            self._telemetry.log.warning("loop_held", held_ms=round(held_s * 1e3, 1), **found)
        if not is_over:
            self._reached.acquire()  # a loop that comes to nothing gets no second probe

    def _on_reached(self) -> None:
        if self._is_ending:
            return
        self._reached_at_s = time.perf_counter()  # here: the watching thread may wake up late
        self._reached.release()

    def _worked_s(self) -> float:
        """What the loop's thread has used of the processor; 0 where no other thread can ask for that."""
        if sys.platform == "linux":
            return time.clock_gettime(time.pthread_getcpuclockid(self._owner))
        return 0.0

    def _find_holder(self) -> dict[str, object]:
        """The task and the line at which the loop's thread is now."""
        frame, task = sys._current_frames().get(self._owner), asyncio.current_task(self._loop)
        return {"task": "" if task is None else task.get_name(), "where": describe_frame(frame)}


def _taken_lock() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


def describe_frame(frame: FrameType | None) -> str:
    """The innermost line of the product's own code, and what it is in the middle of calling where that is not ours."""
    innermost, own = frame, frame
    while own is not None and not _module_of(own).startswith(OWN):
        own = own.f_back
    lines = [_line_of(each) for each in dict.fromkeys((own, innermost)) if each is not None]
    return " > ".join(lines)


def _line_of(frame: FrameType) -> str:
    return f"{_module_of(frame)}:{frame.f_lineno} {frame.f_code.co_name}"


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def metrics_of_loop(registry: CollectorRegistry) -> tuple[Histogram, Gauge]:
    """How long probes waited for the loop, and the longest of them."""
    return (
        Histogram(
            "tidegate_loop_held_seconds",
            "How long the event loop went on with what it was at when a probe came.",
            buckets=BUCKETS_S,
            registry=registry,
        ),
        Gauge(
            "tidegate_loop_longest_hold_seconds",
            "The longest that a probe has waited for the event loop since the process began.",
            registry=registry,
        ),
    )
