"""The hub's end of interactive speculative decoding: sites draft, the target verifies and keeps what it has read.

Promises that the text of an answer is the target's own, whatever is proposed; next: `llm/decoding/verification`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from tidegate.schemas import (
    Accepted,
    Answer,
    Artefact,
    Begin,
    Escalated,
    Message,
    Propose,
    Refused,
    RetryLaterError,
    Speculation,
    StageTiming,
    TidegateError,
    UnreadableError,
    Verified,
    decode,
    encode,
    replace,
)
from tidegate.schemas.refusals import refusal
from tidegate.services.answering.answerer import MOST_TOKENS, AnswerStream, GroundedAnswerer
from tidegate.services.answering.prompt_context import PromptContext
from tidegate.services.llm.decoding.verification import Verification
from tidegate.services.llm.errors import ContextOverflowError, TargetClosedError
from tidegate.services.llm.targets.base import VerifyingTarget
from tidegate.services.uplink.single_flight import STAGE

CheckOwner = Callable[[Escalated], None]
MOST_SESSIONS = 64
"""Sessions that a worker keeps at once; each holds the keys and values of one prompt and answer."""
IDLE_S = 10.0
"""How long a session is kept without a request from its site."""


class SessionRefusedError(TidegateError):
    """The session is refused, for a reason that the site can act on; see `tidegate.schemas.uplink` for the codes."""

    hint = "the durable lane answers"

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason, refused.hint)
        self.refused = refused


@dataclass
class VerificationSession:
    """One answer in the making. `sent` counts the bytes that the site has sent for it beside the question."""

    escalated: Escalated
    context: PromptContext
    parts: tuple[Artefact, ...]
    verification: Verification
    stream: AnswerStream
    sent: int = 0
    worked_ms: float = 0.0
    id: str = field(default_factory=lambda: secrets.token_hex(16))  # no other site can guess it
    expiry: asyncio.TimerHandle | None = None

    @property
    def speculation(self) -> Speculation:
        """What it has cost so far."""
        return msgspec.structs.replace(self.verification.speculation, draft_bytes=self.sent)


class VerificationSessions:
    """The sessions of this worker.

    They are bounded in number and forgotten after `idle_s` without a request; the site then begins anew.
    """

    def __init__(
        self, answerer: GroundedAnswerer, target: VerifyingTarget, *, most: int = MOST_SESSIONS, idle_s: float = IDLE_S
    ) -> None:
        self.worker = secrets.token_hex(4)
        self._answerer = answerer
        self._target = target
        self._most = most
        self._idle_s = idle_s
        self._kept: dict[str, VerificationSession] = {}
        self._in_hand = 0

    def __len__(self) -> int:
        return len(self._kept) + self._in_hand

    async def begin(self, data: bytes) -> bytes:
        """Bytes of a `Begin` in; of `Accepted`, `Verified` or `Refused` out."""
        return await self._reply(self._begin, data)

    async def go_on(self, data: bytes, check_owner: CheckOwner = lambda _: None) -> bytes:
        """Bytes of a `Propose` in; of `Accepted`, `Verified` or `Refused` out. `check_owner` is given what
        began the session, before anything is done with it; raises what that raises."""
        return await self._reply(partial(self._go_on, check_owner), data)

    def close(self) -> None:
        """Forget all of them."""
        for name in [*self._kept]:
            self._take(name)

    async def _reply(self, handle: Callable[[bytes], Awaitable[Message]], data: bytes) -> bytes:
        self._in_hand += 1
        try:
            return encode(await handle(data))
        except UnreadableError as error:
            return encode(refusal("unreadable", fault=error.reason, hint=error.hint))
        except SessionRefusedError as declined:
            return encode(declined.refused)
        except ContextOverflowError as error:
            return encode(refusal("unable", fault=str(error)))
        except (RetryLaterError, ConnectionError, TimeoutError, TargetClosedError) as error:
            return encode(Refused(code="unavailable", reason=str(error)))
        finally:
            self._in_hand -= 1

    async def _begin(self, data: bytes) -> Message:
        asked = decode(data, Begin)
        ours = self._target.tokenizer.digest
        if asked.tokenizer != ours:
            raise SessionRefusedError(refusal("wrong_tokenizer", theirs=asked.tokenizer, ours=ours))
        self._check((*asked.prefix, *asked.ids))
        if len(self) > self._most and not self._make_room(asked.escalated.site):  # this one is counted already
            reason = f"{self._most} sessions are open already"
            raise SessionRefusedError(Refused(code="busy", reason=reason, hint=SessionRefusedError.hint))
        began_s = time.perf_counter()
        context, parts = await self._answerer.prepare(asked.escalated)
        if context is None:
            return _verdict(asked.escalated, Answer(text=""), parts, ms_since(began_s))
        verification = self._target.verification(context.prompt, max_tokens=MOST_TOKENS)
        stream = self._answerer.open_stream(context, asked.escalated, parts)
        session = VerificationSession(asked.escalated, context, parts, verification, stream)
        session.worked_ms = ms_since(began_s)
        sent = len(msgspec.msgpack.encode((asked.prefix, asked.ids)))
        return await self._step(session, (*asked.prefix, *asked.ids), sent, known=len(asked.prefix))

    async def _go_on(self, check_owner: CheckOwner, data: bytes) -> Message:
        proposed = decode(data, Propose)
        self._check(proposed.ids)
        kept = self._kept.get(proposed.session)
        if kept is not None:
            check_owner(kept.escalated)
        session = self._take(proposed.session)  # one request at a time: a second one finds no session
        if session is None:
            raise SessionRefusedError(refusal("unknown_session", session=proposed.session))
        at = len(session.verification.ids)
        if proposed.position != at:
            raise SessionRefusedError(refusal("out_of_step", known=at, position=proposed.position))
        return await self._step(session, proposed.ids, len(data))

    async def _step(self, session: VerificationSession, proposed: Sequence[int], sent: int, known: int = 0) -> Message:
        began_s = time.perf_counter()
        is_first = not session.verification.speculation.steps
        before = 0 if is_first else len(session.verification.ids)
        step = await self._target.verify(session.verification, proposed, known=known)
        session.sent += sent
        session.worked_ms += ms_since(began_s)
        session.stream.push(session.verification.ids[before:])
        if session.stream.has_diverged or session.verification.is_over:
            await session.stream.drain()
            ids = None if session.stream.has_diverged else session.verification.ids
            answer = self._answerer.conclude(session.context, ids, session.speculation)
            return _verdict(session.escalated, answer, session.parts, session.worked_ms)
        self._keep(session)
        return Accepted(
            worker=self.worker,
            session=session.id,
            accepted=step.accepted,
            ids=step.ids,
            speculation=session.speculation,
            prompt=session.context.prompt if is_first else (),
            quotes=self._target.quotes,
        )

    def _check(self, ids: Sequence[int]) -> None:
        most = self._target.tokenizer.size
        foreign = next((each for each in ids if each >= most), None)
        if foreign is not None:
            raise SessionRefusedError(refusal("out_of_range", token=foreign, limit=most))

    def _make_room(self, site: str) -> bool:
        """Whether a session was given up for one of this site, so that no site keeps the others out: the one that waits
        longest of the site that has most, where that has more than this one has with it. That site begins it anew."""
        by_site = Counter(each.escalated.site for each in self._kept.values())
        crowd, count = by_site.most_common(1)[0] if by_site else ("", 0)
        if count <= by_site[site] + 1:
            return False
        self._take(next(name for name, each in self._kept.items() if each.escalated.site == crowd))
        return True

    def _keep(self, session: VerificationSession) -> None:
        self._kept[session.id] = session
        session.expiry = asyncio.get_running_loop().call_later(self._idle_s, self._kept.pop, session.id, None)

    def _take(self, id: str) -> VerificationSession | None:
        session = self._kept.pop(id, None)
        if session is not None and session.expiry is not None:
            session.expiry.cancel()
        return session


def _verdict(escalated: Escalated, answer: Answer, parts: tuple[Artefact, ...], worked_ms: float) -> Verified:
    fields = {"question": escalated.question, "plan": escalated.plan, "answer": answer}
    timings = (*escalated.timings, StageTiming(STAGE, 0.0, round(worked_ms, 3)))
    return replace(escalated.followed_by(Verified, *parts, **fields), timings=timings)


def ms_since(began_s: float) -> float:
    return (time.perf_counter() - began_s) * 1000
