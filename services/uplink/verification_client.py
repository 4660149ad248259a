"""A site's end of interactive speculative decoding: drafts some tokens, learns how many were accepted, drafts on.

Promises the hub's own verdict, or `SessionLostError` in time for the durable lane; next: `verification_server`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tidegate.schemas import (
    Accepted,
    Begin,
    Escalated,
    Message,
    Propose,
    Refused,
    Speculation,
    TidegateError,
    UnreadableError,
    Verified,
    replace,
)
from tidegate.schemas.uplink import MOST_PROPOSED
from tidegate.schemas.verification_subjects import ANY_WORKER

MOST_S = 6.0
"""What a session may take, whatever the deadline: the stage's own limit is beyond it."""
ROUND_S = 2.0
LEAST_S = 0.05
MOST_BEGINNINGS = 3
"""How often a session is begun: once, and anew where the hub has lost it."""
ANEW = frozenset({"unknown_session", "out_of_step"})

SendRequest = Callable[[str, Message, float], Awaitable[Message]]
"""Has a worker of the hub answer within so many seconds. Raises `ConnectionError`, `UnreadableError`."""

ProposeTokens = Callable[[Sequence[int], int], Awaitable[list[int]]]
"""What may follow the prompt and the answer so far, in at most so many tokens."""

OpenDrafter = Callable[[Sequence[int], bool], ProposeTokens]
"""The drafter for one prompt; the flag says whether the target may only quote its passages."""


class SessionLostError(TidegateError, ConnectionError):
    """The verification session did not come to its end: the question is to be escalated as any other.

    `left_ms` is the time that it still had.
    """

    hint = "nothing needs doing: the durable lane answers"

    def __init__(self, reason: str, left_ms: float = 0.0) -> None:
        super().__init__(reason)
        self.left_ms = left_ms


class VerificationClient:
    """One session. The verdict is the hub's own, and its text what the target generates by itself."""

    def __init__(
        self,
        escalated: Escalated,
        tokenizer: str,
        *,
        send: SendRequest,
        open_drafter: OpenDrafter,
        clock: Callable[[], float],
    ) -> None:
        """`tokenizer` is the digest of the one that `open_drafter` uses; `clock` gives Unix time in seconds."""
        self._escalated = escalated
        self._tokenizer = tokenizer
        self._send = send
        self._open_drafter = open_drafter
        self._clock = clock
        self._until_s = min(clock() + MOST_S, session_deadline_s(escalated))
        self._k = min(max(1, escalated.plan.draft_length), MOST_PROPOSED)
        self._begun = 0
        self._open: Accepted | None = None
        self._propose: ProposeTokens | None = None
        self._prompt: tuple[int, ...] = ()
        self._answer: tuple[int, ...] = ()
        self._lost = Speculation(steps=0, tokens=0)
        """What the sessions have cost that were lost."""

    async def verdict(self) -> Verified:
        """The cloud's verdict. Raises `SessionLostError` where nobody answers, the hub declines, or the time is up."""
        while True:
            try:
                proposed, reply = await self._round()
            except UnreadableError as error:
                raise self._end(f"the hub's reply cannot be read: {error.reason}") from error
            match reply:
                case Verified():
                    return self._with_all_costs(reply)
                case Accepted():
                    self._take_in(proposed, reply)
                case Refused() if reply.code in ANEW:
                    if self._open is not None:
                        self._lost = add_costs(self._lost, self._open.speculation)
                    self._open = None
                case Refused():
                    raise self._end(f"the hub declined: {reply.reason}")

    async def _round(self) -> tuple[tuple[int, ...], Message]:
        """What was proposed and the hub's reply; `Refused` where the worker that had the session is silent."""
        if self._open is None or self._propose is None:
            return await self._begin()
        proposed = tuple(await self._propose((*self._prompt, *self._answer), self._k))
        request = Propose(session=self._open.session, position=len(self._answer), ids=proposed)
        timeout_s = self._timeout_s(ROUND_S)
        try:
            return proposed, await self._send(self._open.worker, request, timeout_s)
        except ConnectionError as error:
            return proposed, Refused(code="unknown_session", reason=str(error))

    async def _begin(self) -> tuple[tuple[int, ...], Message]:
        if self._begun == MOST_BEGINNINGS:
            raise self._end(f"the hub has lost it {MOST_BEGINNINGS} times")
        self._begun += 1
        shipped = self._escalated.draft
        ids: tuple[int, ...] = ()
        if shipped is not None and shipped.tokenizer == self._tokenizer and not self._answer:
            ids = shipped.ids[: self._k]
        asked = replace(self._escalated, draft=None)
        request = Begin(escalated=asked, tokenizer=self._tokenizer, prefix=self._answer, ids=ids)
        timeout_s = self._timeout_s(MOST_S)
        try:
            return (*self._answer, *ids), await self._send(ANY_WORKER, request, timeout_s)
        except ConnectionError as error:
            raise self._end(f"the cloud cannot be reached: {error}") from error

    def _take_in(self, proposed: tuple[int, ...], reply: Accepted) -> None:
        if reply.accepted > len(proposed):
            raise self._end(f"the hub accepts {reply.accepted} of {len(proposed)} tokens")
        if not reply.accepted and not reply.ids:
            raise self._end("the hub adds no token and does not end")
        before = self._answer if self._open is not None else ()
        self._answer = (*before, *proposed[: reply.accepted], *reply.ids)
        if self._open is None:
            self._prompt = reply.prompt
            self._propose = self._open_drafter(reply.prompt, reply.quotes)
        self._open = reply

    def _with_all_costs(self, verified: Verified) -> Verified:
        spent = verified.answer.speculation
        if spent is None or not self._lost.steps:
            return verified
        return replace(verified, answer=replace(verified.answer, speculation=add_costs(self._lost, spent)))

    def _timeout_s(self, most_s: float) -> float:
        """Half of what is left: one request that a dying link swallows is not the last. Raises `SessionLostError`."""
        left_s = self._until_s - self._clock()
        if left_s <= 0:
            raise self._end("the time that a session may take is up")
        return max(LEAST_S, min(most_s, left_s / 2))

    def _end(self, reason: str) -> SessionLostError:
        return SessionLostError(reason, round(max(0.0, self._until_s - self._clock()) * 1000))


def session_deadline_s(escalated: Escalated) -> float:
    """Until when a session may go on: there must be time left for the cloud to answer alone, and to publish."""
    plan = escalated.plan
    kept_ms = plan.shares_ms.get("publisher", 0.0) + plan.forecast_ms.get("cloud_stream", 0.0)
    return (escalated.deadline_at_ms - kept_ms) / 1000


def add_costs(one: Speculation, other: Speculation) -> Speculation:
    """What both have cost; the tokens and the model of the other."""
    return Speculation(
        steps=one.steps + other.steps,
        tokens=other.tokens,
        drafted=one.drafted + other.drafted,
        accepted=one.accepted + other.accepted,
        draft_bytes=one.draft_bytes + other.draft_bytes,
        forced=other.forced,
        model=other.model,
    )
