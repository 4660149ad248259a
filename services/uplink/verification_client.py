"""The site's end of a loop over the link: drafts a few tokens, hears how many of them stand, drafts on from there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tidegate.schemas import (
    Begin,
    Escalated,
    Message,
    Propose,
    Refused,
    Speculation,
    Stood,
    UnreadableError,
    Verified,
    changed,
)
from tidegate.schemas.subjects import ANY_WORKER
from tidegate.schemas.uplink import MOST_PROPOSED
from tidegate.services.stages.drafter.handler import LoopLost

MOST_S = 6.0
"""What a loop may take, whatever the deadline: the stage's own limit is beyond it."""
ROUND_S = 2.0
LEAST_S = 0.05
BEGINNINGS = 3
"""How often a loop is begun: once, and anew where the hub has lost it."""
ANEW = frozenset({"unknown_loop", "out_of_step"})

Ask = Callable[[str, Message, float], Awaitable[Message]]
"""Has a worker of the hub answer within so many seconds. Raises `ConnectionError`, `UnreadableError`."""

Guess = Callable[[Sequence[int], int], Awaitable[list[int]]]
"""What may follow the prompt and the answer so far, in at most so many tokens."""

Drafting = Callable[[Sequence[int], bool], Guess]
"""Who guesses, for one prompt; whether the target may only quote its passages."""


class Looping:
    """One loop. The verdict is the hub's own, and its text what the target says by itself."""

    def __init__(
        self, escalated: Escalated, tokenizer: str, *, ask: Ask, drafting: Drafting, clock: Callable[[], float]
    ) -> None:
        """`tokenizer` is the digest of the one that `drafting` uses; `clock` gives Unix time in seconds."""
        self._escalated = escalated
        self._tokenizer = tokenizer
        self._ask = ask
        self._drafting = drafting
        self._clock = clock
        self._until_s = min(clock() + MOST_S, due_s(escalated))
        self._k = min(max(1, escalated.plan.draft_length), MOST_PROPOSED)
        self._begun = 0
        self._open: Stood | None = None
        self._guess: Guess | None = None
        self._prompt: tuple[int, ...] = ()
        self._said: tuple[int, ...] = ()
        self._lost = Speculation(steps=0, tokens=0)
        """What the loops have cost that were lost."""

    async def verdict(self) -> Verified:
        """The cloud's verdict. Raises `LoopLost` where nobody answers, the hub declines, or the time is up."""
        while True:
            try:
                proposed, reply = await self._round()
            except UnreadableError as error:
                raise self._ended(f"the hub's reply cannot be read: {error.reason}") from error
            match reply:
                case Verified():
                    return self._with_all_costs(reply)
                case Stood():
                    self._hear(proposed, reply)
                case Refused() if reply.code in ANEW:
                    self._lose()
                case Refused():
                    raise self._ended(f"the hub declined: {reply.reason}")

    async def _round(self) -> tuple[tuple[int, ...], Message]:
        """What was proposed and what the hub says to it; `Refused` where the worker that had the loop is silent."""
        if self._open is None or self._guess is None:
            return await self._begin()
        guessed = tuple(await self._guess((*self._prompt, *self._said), self._k))
        request = Propose(loop=self._open.loop, at=len(self._said), ids=guessed)
        timeout_s = self._timeout_s(ROUND_S)
        try:
            return guessed, await self._ask(self._open.worker, request, timeout_s)
        except ConnectionError as error:
            return guessed, Refused(code="unknown_loop", reason=str(error))

    async def _begin(self) -> tuple[tuple[int, ...], Message]:
        if self._begun == BEGINNINGS:
            raise self._ended(f"the hub has lost it {BEGINNINGS} times")
        self._begun += 1
        shipped = self._escalated.draft
        is_of_use = shipped is not None and shipped.tokenizer == self._tokenizer and not self._said
        ids = shipped.ids[: self._k] if shipped is not None and is_of_use else ()
        asked = changed(self._escalated, draft=None)
        request = Begin(escalated=asked, tokenizer=self._tokenizer, said=self._said, ids=ids)
        timeout_s = self._timeout_s(MOST_S)
        try:
            return (*self._said, *ids), await self._ask(ANY_WORKER, request, timeout_s)
        except ConnectionError as error:
            raise self._ended(f"the cloud cannot be reached: {error}") from error

    def _hear(self, proposed: tuple[int, ...], reply: Stood) -> None:
        if reply.stood > len(proposed):
            raise self._ended(f"the hub says that {reply.stood} of {len(proposed)} tokens stand")
        if not reply.stood and not reply.ids:
            raise self._ended("the hub says nothing more and does not end")
        before = self._said if self._open is not None else ()
        self._said = (*before, *proposed[: reply.stood], *reply.ids)
        if self._open is None:
            self._prompt = reply.prompt
            self._guess = self._drafting(reply.prompt, reply.quotes)
        self._open = reply

    def _lose(self) -> None:
        if self._open is not None:
            self._lost = added(self._lost, self._open.speculation)
        self._open = None

    def _with_all_costs(self, verified: Verified) -> Verified:
        told = verified.answer.speculation
        if told is None or not self._lost.steps:
            return verified
        return changed(verified, answer=changed(verified.answer, speculation=added(self._lost, told)))

    def _timeout_s(self, most_s: float) -> float:
        """Half of what is left: one request that a dying link swallows is not the last. Raises `LoopLost`."""
        left_s = self._until_s - self._clock()
        if left_s <= 0:
            raise self._ended("the time that a loop may take is up")
        return max(LEAST_S, min(most_s, left_s / 2))

    def _ended(self, reason: str) -> LoopLost:
        return LoopLost(reason, round(max(0.0, self._until_s - self._clock()) * 1000))


def due_s(escalated: Escalated) -> float:
    """Until when a loop may go on: there must be time left for the cloud to answer alone, and to publish."""
    plan = escalated.plan
    kept_ms = plan.shares_ms.get("publisher", 0.0) + plan.forecast_ms.get("cloud_stream", 0.0)
    return (escalated.deadline_at_ms - kept_ms) / 1000


def added(one: Speculation, other: Speculation) -> Speculation:
    """What both have cost; the tokens of the other."""
    return Speculation(
        steps=one.steps + other.steps,
        tokens=other.tokens,
        drafted=one.drafted + other.drafted,
        accepted=one.accepted + other.accepted,
        draft_bytes=one.draft_bytes + other.draft_bytes,
    )
