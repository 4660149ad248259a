"""A whole site in a process whose event loop times each callback by the clock of its own thread.

As a program: `python -m tests.support.timed_worker REPORT`, with settings in the environment as `tidegate worker all`
takes them. It appends a `SlowCallback` to the file for each callback that takes longer than a millisecond of processor
time. Processor time is what a callback needed, whatever else the machine does; time spent in other threads, and in
waiting for them, does not count.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import uvloop

from tidegate.brokers.process.lifecycle import serve
from tidegate.brokers.process.telemetry import open_telemetry
from tidegate.services.cli.options import CommandOptions
from tidegate.services.cli.run import plan_process
from tidegate.services.fleet.roles import ALL
from tidegate.services.pipeline import SITE_WORKERS

NOTED_S = 0.001


class SlowCallback(msgspec.Struct, frozen=True):
    """A callback of the loop: when it ended (seconds since 1970), what it took of the processor, how much of that went
    into collecting garbage, what it was."""

    at_s: float
    took_ms: float
    collected_ms: float
    what: str


class TimedLoop(uvloop.Loop):
    """Times what is scheduled on it: the steps of tasks, and callbacks of futures and timers. What a transport calls
    by itself when bytes arrive is not: it hands them to a reader."""

    report: BinaryIO
    collected_s = 0.0
    """What garbage collections took of the thread, in all."""

    def _run_timed(self, callback: Callable[..., Any], *args: Any) -> Any:
        collected_s, began_s = self.collected_s, time.thread_time()
        try:
            return callback(*args)
        finally:
            took_s = time.thread_time() - began_s
            if took_s > NOTED_S:
                collected_ms = round((self.collected_s - collected_s) * 1e3, 3)
                slow = SlowCallback(time.time(), round(took_s * 1e3, 3), collected_ms, describe(callback))
                self.report.write(msgspec.json.encode(slow) + b"\n")
                self.report.flush()

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return super().call_soon(self._run_timed, callback, *args, context=context)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return super().call_soon_threadsafe(self._run_timed, callback, *args, context=context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return super().call_later(delay, self._run_timed, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        return super().call_at(when, self._run_timed, callback, *args, context=context)


def time_collections(loop: TimedLoop) -> None:
    """Have the loop know what garbage collections take of its thread."""
    owner, began_s = threading.get_ident(), 0.0

    def note(phase: str, _: dict[str, int]) -> None:
        nonlocal began_s
        if threading.get_ident() != owner:
            return
        if phase == "start":
            began_s = time.thread_time()
        else:
            loop.collected_s += time.thread_time() - began_s

    gc.callbacks.append(note)


def describe(callback: Any) -> str:
    """The callback, the same at every call; of a task's step, where the task was left: the lines that wait, from the
    outermost inwards."""
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return str(getattr(callback, "__qualname__", type(callback).__name__))
    coroutine: Any = task.get_coro()
    lines = [str(coroutine.__qualname__)] if task.get_name().startswith("Task-") else [task.get_name()]
    while frame := getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None):
        lines.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    if len(lines) == 1:
        lines.append("its end")
    return " > ".join(lines)


def main(report: Path) -> None:
    """Serve the site until SIGTERM."""
    settings = CommandOptions().settings()
    with report.open("ab") as file, open_telemetry(settings) as telemetry:
        TimedLoop.report = file
        with asyncio.Runner(loop_factory=TimedLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, TimedLoop)
            time_collections(loop)
            process = plan_process(tuple(SITE_WORKERS), settings, ALL, telemetry, with_gateway=True)
            runner.run(serve(process, settings, telemetry))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
