"""Starts workers as forks of a process that has opened their models, so that they share its memory.

The supervisor's side of it: requests go to the server's stdin, notices come from its stdout. Promises to tell the end
of each worker, also where the server is killed or frozen. Next: services/cli/forking.py, which is the server.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tidegate.brokers.process.tasks import end_tasks
from tidegate.schemas import TidegateError

UNKNOWN_CODE = 1
"""Of a worker whose server did not live to tell its exit code."""
CODE_WITHIN_S = 1.0
FORKS_WITHIN_S = 120.0
"""The models are opened within, on however slow a machine."""
CLOSES_WITHIN_S = 5.0


class ForkRequest(msgspec.Struct, frozen=True):
    """A worker to be forked: its command line, its whole environment, the file that it appends its output to."""

    argv: tuple[str, ...]
    env: dict[str, str]
    log: str


class ForkNotice(msgspec.Struct, frozen=True):
    """A worker has begun, or has ended with `code` (a negative signal's number where that ended it).

    The first notice has no `pid`: the models are open. Requests are answered in their order.
    """

    pid: int = 0
    code: int | None = None


class ForkServerError(TidegateError, OSError):
    """The process that workers are forked from has ended, or cannot be started."""

    hint = "its log says why"

    def __init__(self, log: Path) -> None:
        super().__init__("the process that workers are forked from has ended", f"its log is {log}")


def can_fork() -> bool:
    """Whether workers are forked here: on Linux, where a worker that outlives its server is told so."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # an old kernel, or a sandbox
        return False
    return True


class ForkedProcess:
    """A worker that was forked, as `asyncio.subprocess.Process` has it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            self._handle = os.pidfd_open(pid)  # never another process of the same number
        except ProcessLookupError:  # the server has seen its end already, and says so
            self._handle = -1
        else:
            asyncio.get_running_loop().add_reader(self._handle, self._ends)

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._code.result() if self._code.done() else None

    async def wait(self) -> int:
        """Its exit code, when it has ended."""
        return await asyncio.shield(self._code)

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        if self._handle >= 0:
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """As `send_signal`."""
        self.send_signal(signal.SIGKILL)

    def end(self, code: int) -> None:
        """The server says that it has ended."""
        self._release()
        if not self._code.done():
            self._code.set_result(code)

    def _ends(self) -> None:
        self._release()
        asyncio.get_running_loop().call_later(CODE_WITHIN_S, self.end, UNKNOWN_CODE)

    def _release(self) -> None:
        if self._handle >= 0:
            asyncio.get_running_loop().remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1


class ForkServer:
    """One server, started when the first worker is wanted of it and again where it has ended."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: Path, grace_s: float) -> None:
        """`grace_s`: how long its workers may go on when it has ended, before they are killed."""
        self._argv = tuple(argv)
        self._env = dict(env)
        self._log = log
        self._grace_s = grace_s
        self._server: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._asking = asyncio.Lock()
        self._begun: asyncio.Queue[int | None] = asyncio.Queue()
        """The number of each worker that was begun, in the order of the requests; None: the server has ended."""
        self._workers: dict[int, ForkedProcess] = {}

    @property
    def pid(self) -> int:
        """0 while it does not run."""
        return self._server.pid if self._server is not None and self._server.returncode is None else 0

    async def fork(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> ForkedProcess:
        """Begin a worker; `env` counts before this process's own. Raises `ForkServerError`, `OSError`."""
        request = ForkRequest(tuple(argv), {**os.environ, **env}, str(log))
        async with self._asking:
            try:
                async with asyncio.timeout(FORKS_WITHIN_S):
                    server = await self._running()
                    assert server.stdin is not None
                    server.stdin.write(msgspec.json.encode(request) + b"\n")
                    return self._workers[await self._next()]
            except TimeoutError:
                if self._server is not None:
                    self._server.kill()  # it is frozen; its workers end with it
                raise ForkServerError(self._log) from None

    async def close(self) -> None:
        """End the server; its workers should have ended before."""
        async with self._asking:
            if self._server is None:
                return
            assert self._server.stdin is not None
            self._server.stdin.close()
            try:
                async with asyncio.timeout(CLOSES_WITHIN_S):
                    await self._server.wait()
            except TimeoutError:
                self._server.kill()
                await self._server.wait()
            if self._reading is not None:
                await end_tasks(self._reading)

    async def _running(self) -> asyncio.subprocess.Process:
        if self._server is not None and self._server.returncode is None and self._begun.empty():
            return self._server
        self._begun = asyncio.Queue()
        with self._log.open("ab") as output:
            self._server = await asyncio.create_subprocess_exec(
                *self._argv,
                env={**os.environ, **self._env},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )
        assert self._server.stdout is not None
        self._reading = asyncio.create_task(self._read(self._server.stdout, self._begun))
        await self._next()
        return self._server

    async def _next(self) -> int:
        found = await self._begun.get()
        if found is None:
            self._begun.put_nowait(None)
            raise ForkServerError(self._log)
        return found

    async def _read(self, notices: asyncio.StreamReader, begun: asyncio.Queue[int | None]) -> None:
        own: list[ForkedProcess] = []
        try:
            async for line in notices:
                notice = msgspec.json.decode(line, type=ForkNotice)
                if notice.code is not None:
                    self._workers.pop(notice.pid).end(notice.code)
                    continue
                if notice.pid:
                    own.append(ForkedProcess(notice.pid))
                    self._workers[notice.pid] = own[-1]
                begun.put_nowait(notice.pid)
        finally:
            begun.put_nowait(None)
            for worker in own:  # Linux has told each to end
                if worker.returncode is None:
                    self._workers.pop(worker.pid, None)
                    asyncio.get_running_loop().call_later(self._grace_s, worker.kill)
