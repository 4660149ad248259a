"""Keeps child processes alive: starts them, waits until each is ready, restarts what dies, ends them all.

Promises that no child outlives the supervisor, and that one which cannot be started ends no other. Next: deployment.py,
which says what to run; faults.py.
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
from tidegate.services.fleet.faults import clear_fault, report_fault
from tidegate.services.fleet.fork_server import ForkedProcess, ForkServer

log = structlog.get_logger()

STEADY_S = 10.0
"""A child that lived this long starts afresh with its back-off."""
ATTEMPTS = 3
"""After so many ends before it is ready a child is at fault; it is tried on all the same."""
LONGEST_BACK_OFF_S = 30.0


class ChildFailedError(TidegateError, RuntimeError):
    """A child process ended before it was ready, again and again."""

    hint = "its log says why"

    def __init__(self, program: Program, code: int) -> None:
        reason, hint = read_last_error(program.log)
        known = f"{hint}; " if hint else ""
        self.program = program
        super().__init__(
            f"{program.name} ended with {code} before it was ready: {reason}", f"{known}its whole log is {program.log}"
        )


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One child: what to run, where its output goes, the file that exists while it is ready, and the one that says why
    it cannot be started."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    log: Path
    ready: Path
    fault: Path | None = None
    forked_by: ForkServer | None = None
    """What forks it; None: it is a process of its own from the start."""


class Child:
    """One program, kept alive."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.restarts = 0
        self.first_tried = asyncio.Event()
        """Set when it was ready once, or is at fault."""
        self.fault: ChildFailedError | None = None
        self.process: asyncio.subprocess.Process | ForkedProcess | None = None
        self._stopping = False
        self._changing = asyncio.Lock()
        """Held while the process is replaced, so that `stop` never misses one that is just being started."""

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    async def _spawn(self) -> asyncio.subprocess.Process | ForkedProcess:
        self.program.ready.unlink(missing_ok=True)
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        if self.program.forked_by is not None:
            return await self.program.forked_by.fork(self.program.argv, self.program.env, self.program.log)
        with self.program.log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *self.program.argv,
                env={**os.environ, **self.program.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then drains its children
            )

    async def _wait_until_ready(self, process: asyncio.subprocess.Process | ForkedProcess) -> bool:
        while process.returncode is None:
            if self.program.ready.exists():
                self.fault = None
                if self.program.fault is not None:
                    clear_fault(self.program.fault)
                self.first_tried.set()
                return True
            await asyncio.sleep(0.02)
        return False

    async def keep(self) -> None:
        """Run the program until `stop`, however often it ends; what cannot be started has its `fault` meanwhile."""
        failures = 0
        while True:
            failed: OSError | None = None
            async with self._changing:
                if self._stopping:
                    return
                try:
                    self.process = process = await self._spawn()
                except OSError as error:  # no room for its log, or no process to be had
                    self.process, failed = None, error
            started, was_ready, code = time.monotonic(), False, 1
            if failed is None:
                was_ready = await self._wait_until_ready(process)
                code = await process.wait()
            if self._stopping:
                return
            failures = 0 if was_ready and time.monotonic() - started > STEADY_S else failures + 1
            if not was_ready and failures >= ATTEMPTS:
                self._report(code, failed)
            self.restarts += 1
            log.warning("child_restarted", child=self.program.name, code=code, restarts=self.restarts)
            await asyncio.sleep(min(LONGEST_BACK_OFF_S, 0.05 * 2 ** min(failures, 16)))

    def _report(self, code: int, failed: OSError | None) -> None:
        self.fault = ChildFailedError(self.program, code)
        if self.program.fault is not None:
            report_fault(self.program.fault, self.program.name, failed or self.fault)
        self.first_tried.set()

    async def stop(self, grace_s: float) -> None:
        """Ask it to end; after `grace_s` seconds, end it."""
        async with self._changing:
            self._stopping = True
            process = self.process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class Supervisor:
    """All children of one machine. Use as `async with Supervisor(programs) as supervisor`, which raises
    `ChildFailedError` where one of these cannot be started."""

    def __init__(self, programs: Sequence[Program], *, grace_s: float) -> None:
        self.children: dict[str, Child] = {}
        self._first = programs
        self._grace_s = grace_s
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Supervisor:
        try:
            for fault in await self.start(self._first):
                raise fault
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def start(self, programs: Sequence[Program]) -> list[ChildFailedError]:
        """Keep these programs alive too, and return when each of them is ready or at fault; the faults."""
        children = {program.name: Child(program) for program in programs}
        self.children |= children
        keeping = [asyncio.create_task(child.keep()) for child in children.values()]
        self._tasks += keeping
        await asyncio.gather(*map(wait_first_tried, children.values(), keeping))
        return [child.fault for child in children.values() if child.fault is not None]

    async def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Work that needs the children; it is ended where one of them is at fault. Raises what either does."""
        working = asyncio.ensure_future(work)
        try:
            while not working.done():
                await asyncio.wait({working}, timeout=0.2)
                for child in self.children.values():
                    if child.fault is not None and not working.done():
                        raise child.fault
            working.result()
        finally:
            await end_tasks(working)

    async def watch(self) -> None:
        """Return never."""
        await asyncio.gather(*self._tasks)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(child.stop(self._grace_s) for child in self.children.values()))
        await end_tasks(*self._tasks)
        servers = {child.program.forked_by for child in self.children.values()}
        await asyncio.gather(*(server.close() for server in servers if server is not None))


async def wait_first_tried(child: Child, keeping: asyncio.Task[None]) -> None:
    """Return when the child was ready once or is at fault; raise what keeping it has ended with before that."""
    tried = asyncio.create_task(child.first_tried.wait())
    await asyncio.wait({keeping, tried}, return_when=asyncio.FIRST_COMPLETED)
    tried.cancel()
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
