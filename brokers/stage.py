"""A stage as a value: what it reads, what it emits, how often it tries. Next: worker.py, which runs it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from tidegate.schemas import Message, RejectError, RetryLaterError, UnreadableError
from tidegate.schemas.subjects import Source, sources_of

Handler = Callable[[Any], Awaitable[Iterable[Message]]]
Side = Literal["site", "hub"]

ACK_WAIT_S = 5.0
"""How long a delivery may stay unacknowledged before a peer gets it: what a request waits when its worker is killed."""


@dataclass(frozen=True)
class Retry:
    """When to try again. A value, so that a table of cases can test it.

    Full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015): uniform in 0 … min(cap, base · 2^attempt).
    """

    attempts: int = 5
    base_s: float = 0.2
    cap_s: float = 30.0
    jitter: Callable[[float, float], float] = random.uniform

    def delay_s(self, error: BaseException, attempt: int) -> float | None:
        """Seconds until the next try; None when there is none."""
        if isinstance(error, (RejectError, UnreadableError)) or attempt >= self.attempts:
            return None
        if isinstance(error, RetryLaterError):
            return error.after_s
        return self.jitter(0.0, min(self.cap_s, self.base_s * 2**attempt))


@dataclass(frozen=True)
class Stage:
    """One row of the pipeline's table. `open` is the dotted path `package:function` of its composition root."""

    name: str
    accepts: tuple[type[Message], ...]
    emits: tuple[type[Message], ...]
    open: str
    side: Side = "site"
    """Whether it runs at every site or at the hub."""
    concurrency: int = 32
    timeout_s: float = 10.0
    retry: Retry = field(default_factory=Retry)

    def sources(self, domain: str) -> tuple[Source, ...]:
        """Where a worker of `domain` reads what the stage accepts, each stream and filter once."""
        return tuple(dict.fromkeys(source for kind in self.accepts for source in sources_of(kind, domain)))
