"""The door itself: takes a request in, keeps it sealed, waits for its one answer, gives it to the one who asked."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

import msgspec

from tidegate.brokers.base import House
from tidegate.brokers.process import trace
from tidegate.brokers.settings import Settings
from tidegate.schemas import PIPELINE, Asked, Published, Refused, UnreadableError, decode
from tidegate.schemas.subjects import ANSWERS, ASKS, DEAD, LIVE_ANSWERS, LIVE_DEAD, dead_letter, rid_of, subject_of
from tidegate.services.gateway.admission import admitted, find_fault
from tidegate.services.gateway.client_stream import MAX_STREAMS, ClientStreams
from tidegate.services.gateway.pending import Reply, PendingReplies
from tidegate.services.gateway.refusals import refusal
from tidegate.services.gateway.reidentify import restored
from tidegate.services.pipeline import STAGES
from tidegate.services.privacy.sealing import closed, opened
from tidegate.services.privacy.vault import Vault, asker_digest

GRACE_S = 2.0
"""How long after the deadline the door still waits: the stages end a late request themselves, with a reason."""
MAX_PENDING = 1024
LAST_WORD_S = 1.0
"""How long a door that closes lets its streams say why they end."""


class PendingRequest:
    """A request that was accepted, and the right to its answer."""

    def __init__(self, ingress: Ingress, asked: Asked, answered: asyncio.Future[Reply]) -> None:
        self.rid = asked.rid
        self._door = ingress
        self._asked = asked
        self._answered = answered

    @property
    def asked(self) -> Asked:
        """The request as it is stored: its words sealed, a digest for its asker."""
        return self._asked

    async def answer(self) -> Published | Refused:
        """The answer with the asker's own words restored in it, or why there is none. Never raises for want of one.

        Cancelling it gives up the wait and nothing else: the request is processed all the same, and its answer can
        be asked for again under the same id.
        """
        reply = await self.reply()
        return reply if isinstance(reply, Refused) else self.restored(reply)

    async def reply(self) -> Published | Refused:
        """As `answer`, with vault tokens in it as they are stored."""
        reply = await self._answered
        if reply is None:
            reply = await self._door.last_answer(self._asked) or refusal("late", self.rid)
        return msgspec.structs.replace(reply, rid=self.rid) if isinstance(reply, Refused) else reply

    def restored(self, published: Published) -> Published:
        """`published` with the asker's own words in it."""
        return restored(published, self._door.vault, self._asked.asker)

    def value(self, token: str) -> str:
        """What a vault token stands for, or the token where it is not this asker's."""
        return self._door.vault.restore(token, self._asked.tenant, self._asked.asker)

    @property
    def is_over(self) -> bool:
        """Whether nobody need wait any more."""
        return self._answered.done()

    def end(self, refused: Refused) -> None:
        """Wait no more: there will be no answer here."""
        if not self.is_over:
            self._answered.set_result(refused)

    async def look(self) -> None:
        """End the wait if the answer is stored: its live copy may have been lost with a connection."""
        if not self.is_over and (answer := await self._door.last_answer(self._asked)) is not None:
            self._door.pending_replies.settle(self._asked.tenant, self.rid, answer)


class Ingress:
    """What both doors share. `open` it once, before the first request.

    A fresh request is stored under its id before anybody waits for it. A request id that is known already gets its
    answer again when the same asker sends the same question, and is refused to everybody else.
    """

    def __init__(
        self,
        settings: Settings,
        house: House,
        vault: Vault,
        key: bytes,
        *,
        clock: Callable[[], float] = time.time,
        max_pending: int = MAX_PENDING,
        max_streams: int = MAX_STREAMS,
        grace_s: float = GRACE_S,
    ) -> None:
        self.settings = settings
        self.house = house
        self.vault = vault
        self._key = key
        self._clock = clock
        self._grace_s = grace_s
        self.pending_replies = PendingReplies(max_pending)
        self.is_closing = False
        self.streams = ClientStreams(house, max_streams)

    async def open(self) -> None:
        """Start to hear answers, dead letters and what is shown meanwhile."""
        await self.streams.open()
        await self.house.listen(LIVE_ANSWERS, self._hear_answer)
        await self.house.listen(LIVE_DEAD, self._hear_dead)

    async def close(self) -> None:
        """Accept nothing more; let those who wait have their answers for `settings.grace_s` seconds, then tell them."""
        self.is_closing = True
        await self.pending_replies.drain(self.settings.grace_s, refusal("closing"))
        await self.streams.drain(LAST_WORD_S)

    async def submit(self, asked: Asked, traceparent: str = "") -> Published | Refused:
        """Accept `asked` and wait for its answer, at most until its deadline plus the grace."""
        pending = await self.accept(asked, traceparent)
        return pending if isinstance(pending, Refused) else await pending.answer()

    async def accept(self, asked: Asked, traceparent: str = "") -> PendingRequest | Refused:
        """Check the request, seal its text, store it. A refusal stores nothing."""
        now_ms = int(self._clock() * 1000)
        fault = find_fault(asked, self.settings, now_ms)
        if fault is not None:
            return fault
        if self.is_closing:
            return refusal("closing", asked.rid)
        if self.pending_replies.full:
            return refusal("busy", asked.rid)
        is_known = bool(asked.rid)
        asked = self._sealed(admitted(asked, self.settings.site, now_ms))
        wait_s = (asked.deadline_at_ms - now_ms) / 1000 + self._grace_s
        answered = self.pending_replies.open(asked.tenant, asked.rid, wait_s)
        try:
            refused = await self._store(asked, is_known, str(trace.follow(traceparent)))
        except OSError:
            refused = refusal("unavailable", asked.rid)
        except BaseException:
            answered.cancel()
            raise
        if refused is not None:
            answered.cancel()
            return refused
        return PendingRequest(self, asked, answered)

    async def resume(self, tenant: str, rid: str, asker: str) -> PendingRequest | Refused:
        """The right to the answer of a request that was accepted before, for the asker of it; stores nothing.

        Nobody else learns whether there is such a request.
        """
        if tenant not in self.settings.tenants:
            return refusal("unknown_tenant", rid, tenant=tenant)
        if self.is_closing:
            return refusal("closing", rid)
        if self.pending_replies.full:
            return refusal("busy", rid)
        asked = Asked(tenant=tenant, text="", rid=rid, asker=asker_digest(self._key, tenant, asker, rid))
        try:
            earlier = await self._earlier(asked)
        except OSError:
            return refusal("unavailable", rid)
        if earlier is None or not secrets.compare_digest(earlier.asker, asked.asker):
            return refusal("unknown_request", rid)
        wait_s = max(0.0, earlier.deadline_at_ms / 1000 - self._clock()) + self._grace_s
        pending = PendingRequest(self, earlier, self.pending_replies.open(tenant, rid, wait_s))  # first: an answer may come meanwhile
        try:
            await pending.look()
            if not pending.is_over and await self._is_dead(earlier):
                pending.end(refusal("dead", rid))
        except OSError:
            pending.end(refusal("unavailable", rid))
        return pending

    def _sealed(self, asked: Asked) -> Asked:
        """`asked` as it may be stored."""
        return closed(self._key, asked)

    def _words(self, asked: Asked) -> tuple[str, str]:
        clear = opened(self._key, asked)
        return clear.text, clear.schema

    async def _store(self, asked: Asked, may_exist: bool, traceparent: str) -> Refused | None:
        if may_exist and (earlier := await self._earlier(asked)) is not None:
            return await self._resumed(asked, earlier)
        # The tenant is part of the id: two tenants may choose the same request id and never notice each other.
        stored = await self.house.publish(asked, id=f"{asked.tenant}.{asked.rid}", headers={"traceparent": traceparent})
        if not stored and (earlier := await self._earlier(asked)) is not None:
            return await self._resumed(asked, earlier)
        return None

    async def _earlier(self, asked: Asked) -> Asked | None:
        data = await self.house.last(ASKS, subject_of(asked, self.settings.site))
        return None if data is None else decode(data, Asked)

    async def _resumed(self, asked: Asked, earlier: Asked) -> Refused | None:
        """Settle the wait at once where the request with this id is over; refuse it to a stranger."""
        if not secrets.compare_digest(earlier.asker, asked.asker) or self._words(earlier) != self._words(asked):
            return refusal("rid_taken", asked.rid)
        answer = await self.last_answer(asked)
        if answer is not None:
            self.pending_replies.settle(asked.tenant, asked.rid, answer)
        elif await self._is_dead(asked):
            return refusal("dead", asked.rid)
        return None

    async def last_answer(self, asked: Asked) -> Published | None:
        """The stored answer of an accepted request; None when there is none, or none can be read now."""
        try:
            data = await self.house.last(ANSWERS, f"answers.{asked.tenant}.{asked.rid}")
        except OSError:
            return None
        return None if data is None else decode(data, Published)

    async def _is_dead(self, asked: Asked) -> bool:
        letters = [await self.house.last(DEAD, dead_letter(stage.name, asked.rid)) for stage in STAGES]
        return any(_tenant_in(letter) in (asked.tenant, "") for letter in letters if letter is not None)

    async def _hear_answer(self, subject: str, data: bytes) -> None:
        tenant, rid = subject.split(".")[-2:]
        if self.pending_replies.expects(tenant, rid):
            self.pending_replies.settle(tenant, rid, decode(data, Published))

    async def _hear_dead(self, subject: str, data: bytes) -> None:
        # Only a stage's dead letter ends a request; the fast lane merely runs ahead of one.
        rid = rid_of(subject)
        if subject.split(".")[-2] not in {stage.name for stage in STAGES}:
            return
        tenants = self.pending_replies.tenants_of(rid)
        tenant = _tenant_in(data) if tenants else ""
        for waiting in tenants:
            if tenant in (waiting, ""):
                self.pending_replies.settle(waiting, rid, refusal("dead", rid))


def _tenant_in(letter: bytes) -> str:
    """Whose request a dead letter was; empty when its bytes cannot be read."""
    try:
        return str(getattr(decode(letter, *PIPELINE), "tenant", ""))
    except UnreadableError:
        return ""
