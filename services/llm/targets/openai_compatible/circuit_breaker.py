"""Stops asking a party that does not answer, and tries it again after a rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tidegate.schemas import RetryLaterError


class CircuitBreaker:
    """Opens after `failures` failures in a row; after `rest_s` one call may try (half-open): its end decides.

    Nygard, "Release It!", 2nd edition, 2018, chapter 5. `clock` gives seconds that only grow.
    """

    def __init__(self, failures: int = 5, rest_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._rest_s = rest_s
        self._clock = clock
        self._failed = 0
        self._opened_at_s = 0.0
        self._trying = False

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`."""
        if self._failed < self._limit:
            return "closed"
        return "half-open" if self._clock() - self._opened_at_s >= self._rest_s else "open"

    @contextmanager
    def call(self, *failures: type[BaseException]) -> Iterator[None]:
        """Count how the block ends: one of `failures` is one. Raises `RetryLaterError` in its stead when open."""
        state = self.state
        if state == "open" or (state == "half-open" and self._trying):
            left_s = max(0.5, self._rest_s - (self._clock() - self._opened_at_s))
            raise RetryLaterError("the model server failed repeatedly and is given a rest", left_s)
        self._trying = state == "half-open"
        try:
            yield
        except failures:
            self._failed += 1
            if self._failed >= self._limit:
                self._opened_at_s = self._clock()
            raise
        else:
            self._failed = 0
        finally:
            self._trying = False
