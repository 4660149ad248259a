"""Lets greenlets wait for coroutines: a uvloop loop in a real thread beside gevent's."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

import gevent
import gevent.event
import gevent.monkey
import uvloop

T = TypeVar("T")


class Outcome(Generic[T]):
    """What a coroutine came to; written by the loop's thread before the greenlet is woken."""

    __slots__ = ("error", "value")

    def __init__(self) -> None:
        self.value: T | None = None
        self.error: BaseException | None = None

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


class Bridge:
    """One loop for all greenlets of a process.

    It runs on libuv, because gevent replaces the `select` and the sockets that asyncio's own loop stands on, and in a
    thread that gevent does not know, because a patched one would be a greenlet and never run. Take times inside the
    coroutine: a greenlet is woken milliseconds after it could be.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: deque[gevent.event.Event] = deque()
        self._is_open = False

    def _open(self) -> None:
        """Not before the first call: Locust forks after it has read its file, and a thread does not survive a fork."""
        self._is_open = True
        self._loop = uvloop.new_event_loop()
        # One for all calls and never closed: a greenlet may be killed while its coroutine goes on to wake it.
        self._waker = gevent.get_hub().loop.async_()
        self._waker.start(self._wake)
        gevent.monkey.get_original("_thread", "start_new_thread")(self._run, ())

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine on the loop; this greenlet waits, the others go on. Raises what the coroutine raises."""
        if not self._is_open:
            self._open()
        outcome: Outcome[T] = Outcome()
        done = gevent.event.Event()

        async def work() -> None:
            try:
                outcome.value = await coroutine
            except BaseException as error:  # noqa: BLE001 - it is raised again where it was asked for
                outcome.error = error
            self._done.append(done)
            self._waker.send()

        self._loop.call_soon_threadsafe(self._begin, work())
        done.wait()
        return outcome.result()

    def close(self) -> None:
        """End the loop's thread; what still runs there is dropped."""
        if self._is_open:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _wake(self) -> None:
        while self._done:
            self._done.popleft().set()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)  # the loop alone keeps no task from being collected
        task.add_done_callback(self._tasks.discard)
