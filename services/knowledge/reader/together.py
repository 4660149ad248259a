"""Does a few pieces of work for one question at once, where a processor is idle.

Promises that no piece waits in a queue: what no helper has begun, who asked does himself. Next: unit_reader.py."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Helpers:
    """A process's spare threads: one for each processor but that of who asks. Safe to use from several threads."""

    def __init__(self, count: int) -> None:
        """With a `count` of 0 nobody helps."""
        self._pool = ThreadPoolExecutor(count, "reading") if count else None

    def run(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """What each job returns, in their order.

        The first is done here, the others from the front by helpers and from the back here, until none is left. Raises
        what a job raises.
        """
        if self._pool is None or len(jobs) < 2:
            return [job() for job in jobs]
        helped = [self._pool.submit(job) for job in jobs[1:]]
        try:
            done = {0: jobs[0]()}
            for number in range(len(helped), 0, -1):
                if helped[number - 1].cancel():
                    done[number] = jobs[number]()
            return [done[number] if number in done else helped[number - 1].result() for number in range(len(jobs))]
        finally:
            for each in helped:
                each.cancel()  # where a job has failed nobody waits for those that are left

    def run_both(self, first: Callable[[], T], second: Callable[[], U]) -> tuple[T, U]:
        """What two different jobs return: as `run`, which is for jobs of one kind."""
        if self._pool is None:
            return first(), second()
        helped = self._pool.submit(second)
        try:
            done = first()
            return done, second() if helped.cancel() else helped.result()
        finally:
            helped.cancel()

    def in_turn(self, jobs: Sequence[Callable[[], T]]) -> Generator[T, None, None]:
        """The same one by one, for who may need no further one: helpers begin the next ones meanwhile, and what none
        has begun when the iterator is closed is left."""
        helped = [self._pool.submit(job) for job in jobs[1:]] if self._pool is not None else []
        try:
            for number, job in enumerate(jobs):
                is_begun = number > 0 and bool(helped) and not helped[number - 1].cancel()
                yield helped[number - 1].result() if is_begun else job()
        finally:
            for each in helped:
                each.cancel()


def count_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


HELPERS = Helpers(count_processors() - 1)
"""Those of this process, for what answers."""
NOBODY = Helpers(0)
