"""Keeps child processes alive: starts them, waits until each is ready, restarts what dies, ends them all.

Promises that no child outlives the supervisor. Next: deployment.py, which says what to run.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from tidegate.brokers.process.tasks import end_tasks
from tidegate.schemas import TidegateError

log = structlog.get_logger()

STEADY_S = 10.0
"""A child that lived this long starts afresh with its back-off."""
ATTEMPTS = 3
"""So often a child may end before it is ready."""


class ChildFailedError(TidegateError, RuntimeError):
    """A child process ended before it was ready, again and again."""

    hint = "its log says why"

    def __init__(self, program: Program, code: int) -> None:
        reason, hint = read_last_error(program.log)
        known = f"{hint}; " if hint else ""
        super().__init__(
            f"{program.name} ended with {code} before it was ready: {reason}", f"{known}its whole log is {program.log}"
        )


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One child: what to run, where its output goes, and the file that exists while it is ready."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    log: Path
    ready: Path


class Child:
    """One program, kept alive."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.restarts = 0
        self.ready_once = asyncio.Event()
        self.process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._changing = asyncio.Lock()
        """Held while the process is replaced, so that `stop` never misses one that is just being started."""

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    async def _spawn(self) -> asyncio.subprocess.Process:
        self.program.ready.unlink(missing_ok=True)
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *self.program.argv,
                env={**os.environ, **self.program.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then drains its children
            )

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> bool:
        while process.returncode is None:
            if self.program.ready.exists():
                self.ready_once.set()
                return True
            await asyncio.sleep(0.02)
        return False

    async def keep(self) -> None:
        """Run the program until `stop`; raises `ChildFailedError` when it never gets ready."""
        failures = 0
        while True:
            async with self._changing:
                if self._stopping:
                    return
                self.process = await self._spawn()
            started = time.monotonic()
            was_ready = await self._wait_until_ready(self.process)
            code = await self.process.wait()
            if self._stopping:
                return
            failures = 0 if was_ready and time.monotonic() - started > STEADY_S else failures + 1
            if not was_ready and failures >= ATTEMPTS:
                raise ChildFailedError(self.program, code)
            self.restarts += 1
            log.warning("child_restarted", child=self.program.name, code=code, restarts=self.restarts)
            await asyncio.sleep(min(5.0, 0.05 * 2**failures))

    async def stop(self, grace_s: float) -> None:
        """Ask it to end; after `grace_s` seconds, end it."""
        async with self._changing:
            self._stopping = True
            process = self.process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), grace_s)
        except TimeoutError:
            process.kill()
            await process.wait()


class Supervisor:
    """All children of one machine. Use as `async with Supervisor(programs) as supervisor`."""

    def __init__(self, programs: Sequence[Program], *, grace_s: float) -> None:
        self.children: dict[str, Child] = {}
        self._first = programs
        self._grace_s = grace_s
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Supervisor:
        try:
            await self.start(self._first)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def start(self, programs: Sequence[Program]) -> None:
        """Keep these programs alive too, and return when each of them is ready. Raises `ChildFailedError`."""
        children = {program.name: Child(program) for program in programs}
        keeping = [asyncio.create_task(child.keep()) for child in children.values()]
        self.children |= children
        self._tasks += keeping
        await asyncio.gather(*map(wait_first_ready, children.values(), keeping))

    async def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that needs the children; it is ended where one of them cannot be kept alive. Raises what either does."""
        working = asyncio.ensure_future(work)
        try:
            done, _ = await asyncio.wait({working, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_tasks(working)

    async def watch(self) -> None:
        """Return never, but raise when a child cannot be kept alive."""
        await asyncio.gather(*self._tasks)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(child.stop(self._grace_s) for child in self.children.values()))
        await end_tasks(*self._tasks)


async def wait_first_ready(child: Child, keeping: asyncio.Task[None]) -> None:
    """Return when the child was ready once; raise what keeping it raised before that."""
    ready = asyncio.create_task(child.ready_once.wait())
    await asyncio.wait({keeping, ready}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if keeping.done():
        keeping.result()


def read_last_error(log_file: Path) -> tuple[str, str]:
    """Reason and hint that the child printed last, or its last line and no hint."""
    lines = log_file.read_text(errors="replace").splitlines() if log_file.exists() else []
    lines = [line for line in lines if line.strip()] or ["it left no log"]
    for line, following in reversed([*itertools.pairwise([*lines, ""])]):
        if line.startswith("error: "):
            hint = following.removeprefix("hint: ") if following.startswith("hint: ") else ""
            return line.removeprefix("error: "), hint
    return lines[-1], ""
