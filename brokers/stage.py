"""A stage as a value: what it reads, what it emits, how often it tries. Next: worker.py, which runs it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tidegate.schemas import Message, RejectError, RetryLaterError, UnreadableError
from tidegate.schemas.subjects import Source, sources_of

Handler = Callable[[Any], Awaitable[Iterable[Message]]]
Screen = Callable[[str, Mapping[str, str], bytes], Awaitable[Message]]
"""From the subject, the headers and the bytes of a delivery to its message. Raises `ForbiddenMessageError`."""
Side = Literal["site", "hub"]


class ForbiddenMessageError(RejectError):
    """This message may not even be kept: its dead letter has no body, and it is erased where it is stored.

    The reason quotes nothing of it; `instead` goes on in its place, so that nobody waits for what follows from it.
    """

    hint = "the reason says what was wrong with it; nothing else of it is left"

    def __init__(self, reason: str, hint: str = "", instead: tuple[Message, ...] = ()) -> None:
        super().__init__(reason, hint)
        self.instead = instead


@dataclass(frozen=True)
class ScreenedHandler:
    """A handler of what comes from another domain: `screen` reads each delivery, in the place of plain decoding."""

    screen: Screen
    handle: Handler

    async def __call__(self, message: Message) -> Iterable[Message]:
        """See `Handler`."""
        return await self.handle(message)


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
    shows: bool = False
    """Whether clients see what its handler does: then it begins only once what it reads is stored."""

    def sources(self, domain: str) -> tuple[Source, ...]:
        """Where a worker of `domain` reads what the stage accepts, each stream and filter once."""
        return tuple(dict.fromkeys(source for kind in self.accepts for source in sources_of(kind, domain)))
