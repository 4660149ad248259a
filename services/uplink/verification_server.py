"""The hub's end of a loop over the link: sites draft, the target verifies, and what it has read is kept in between."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from tidegate.schemas import (
    Answer,
    Artefact,
    Begin,
    Escalated,
    Message,
    Propose,
    Refused,
    RetryLaterError,
    Speculation,
    Stood,
    UnreadableError,
    Verified,
    decode,
    encode,
)
from tidegate.services.answering import Brief
from tidegate.services.answering.answerer import MOST_TOKENS, Speaker, Telling
from tidegate.services.llm.decoding.verification import Verification
from tidegate.services.llm.targets.base import ContextOverflow, TargetClosed, VerifyingTarget

MOST_LOOPS = 64
"""Loops that a worker keeps at once; each holds the keys and values of one prompt and answer."""
IDLE_S = 10.0
"""How long a loop is kept without a word from its site."""

_AGAIN = "begin anew with what is said so far"


class Declined(Exception):
    """The loop is refused, for a reason that the site can act on; see `tidegate.schemas.uplink` for the codes."""

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.refused = Refused(code=code, reason=reason, hint=hint)


@dataclass
class Loop:
    """One answer in the making. `sent` counts the bytes that the site has sent for it beside the question."""

    escalated: Escalated
    brief: Brief
    parts: tuple[Artefact, ...]
    verification: Verification
    telling: Telling
    sent: int = 0
    id: str = field(default_factory=lambda: secrets.token_hex(16))  # no other site can guess it
    expiry: asyncio.TimerHandle | None = None

    @property
    def speculation(self) -> Speculation:
        """What it has cost so far."""
        return msgspec.structs.replace(self.verification.speculation, draft_bytes=self.sent)


class Loops:
    """The loops that this worker has. The text of an answer is the target's own, whatever is proposed.

    They are bounded in number and forgotten after `idle_s` without a request; the site then begins anew.
    """

    def __init__(
        self, speaker: Speaker, target: VerifyingTarget, *, most: int = MOST_LOOPS, idle_s: float = IDLE_S
    ) -> None:
        self.worker = secrets.token_hex(4)
        self._speaker = speaker
        self._target = target
        self._most = most
        self._idle_s = idle_s
        self._kept: dict[str, Loop] = {}
        self._in_hand = 0

    def __len__(self) -> int:
        """How many there are."""
        return len(self._kept) + self._in_hand

    async def begin(self, data: bytes) -> bytes:
        """Bytes of a `Begin` in; of `Stood`, `Verified` or `Refused` out."""
        return await _answered(self._begin, data)

    async def go_on(self, data: bytes) -> bytes:
        """Bytes of a `Propose` in; of `Stood`, `Verified` or `Refused` out."""
        return await _answered(self._go_on, data)

    def close(self) -> None:
        """Forget all of them."""
        for name in [*self._kept]:
            self._taken(name)

    async def _begin(self, data: bytes) -> Message:
        asked = decode(data, Begin)
        ours = self._target.tokenizer.digest
        if asked.tokenizer != ours:
            hint = "site and hub need models of one tokenizer: run `make models` on both"
            raise Declined("tokenizer", f"the ids are of tokenizer {asked.tokenizer}, the target's is {ours}", hint)
        self._check((*asked.said, *asked.ids))
        if len(self) >= self._most:
            raise Declined("busy", f"{self._most} loops are open already", "the durable lane answers")
        self._in_hand += 1
        try:
            brief, parts = await self._speaker.briefed(asked.escalated)
            if brief is None:
                return _verdict(asked.escalated, Answer(text=""), parts)
            verification = self._target.verification(brief.prompt, max_tokens=MOST_TOKENS)
            telling = self._speaker.telling(brief, asked.escalated, parts)
            loop = Loop(asked.escalated, brief, parts, verification, telling)
            sent = len(msgspec.msgpack.encode((asked.said, asked.ids)))
            return await self._step(loop, (*asked.said, *asked.ids), sent, known=len(asked.said))
        finally:
            self._in_hand -= 1

    async def _go_on(self, data: bytes) -> Message:
        proposed = decode(data, Propose)
        self._check(proposed.ids)
        loop = self._kept.get(proposed.loop)
        if loop is None:
            raise Declined("unknown_loop", f"there is no loop {proposed.loop} (any more)", _AGAIN)
        at = len(loop.verification.ids)
        if proposed.at != at:
            self._taken(loop.id)
            raise Declined("out_of_step", f"{at} tokens are said, not {proposed.at}", _AGAIN)
        self._taken(loop.id)  # one request at a time: a second one finds no loop
        self._in_hand += 1
        try:
            return await self._step(loop, proposed.ids, len(data))
        finally:
            self._in_hand -= 1

    async def _step(self, loop: Loop, proposed: Sequence[int], sent: int, known: int = 0) -> Message:
        is_first = not loop.verification.speculation.steps
        before = 0 if is_first else len(loop.verification.ids)
        verdict = await self._target.verify(loop.verification, proposed, known=known)
        loop.sent += sent
        loop.telling.hear(loop.verification.ids[before:])
        if loop.telling.has_strayed or loop.verification.is_over:
            await loop.telling.told()
            ids = None if loop.telling.has_strayed else loop.verification.ids
            answer = self._speaker.judged(loop.brief, ids, loop.speculation)
            return _verdict(loop.escalated, answer, loop.parts)
        self._keep(loop)
        return Stood(
            worker=self.worker,
            loop=loop.id,
            stood=verdict.stood,
            ids=verdict.ids,
            speculation=loop.speculation,
            prompt=loop.brief.prompt if is_first else (),
            quotes=self._target.quotes,
        )

    def _check(self, ids: Sequence[int]) -> None:
        most = self._target.tokenizer.size
        foreign = next((each for each in ids if each >= most), None)
        if foreign is not None:
            raise Declined("out_of_range", f"token {foreign} is beyond the vocabulary of {most}")

    def _keep(self, loop: Loop) -> None:
        self._kept[loop.id] = loop
        loop.expiry = asyncio.get_running_loop().call_later(self._idle_s, self._kept.pop, loop.id, None)

    def _taken(self, id: str) -> None:
        loop = self._kept.pop(id)
        if loop.expiry is not None:
            loop.expiry.cancel()


async def no_loop(_: bytes) -> bytes:
    """What a hub says whose backend cannot verify round by round."""
    return encode(
        Refused(code="unable", reason="the hub's backend verifies no drafts", hint="the durable lane answers")
    )


def _verdict(escalated: Escalated, answer: Answer, parts: tuple[Artefact, ...]) -> Verified:
    return escalated.followed_by(Verified, *parts, question=escalated.question, plan=escalated.plan, answer=answer)


async def _answered(answer: Callable[[bytes], Awaitable[Message]], data: bytes) -> bytes:
    try:
        return encode(await answer(data))
    except UnreadableError as error:
        return encode(Refused(code="unreadable", reason=error.reason, hint=error.hint))
    except Declined as declined:
        return encode(declined.refused)
    except ContextOverflow as error:
        return encode(Refused(code="unable", reason=str(error)))
    except (RetryLaterError, ConnectionError, TimeoutError, TargetClosed) as error:
        return encode(Refused(code="unavailable", reason=str(error)))
