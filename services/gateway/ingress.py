"""Accepts a request: checks it, seals its words, stores it, and waits for its one answer; the same over HTTP and NATS.

A request that was accepted is answered, refused with a reason, or dead-lettered. Next: admission.py, ticket.py."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tidegate.brokers.base import Bus, StoreStuckError
from tidegate.brokers.process import trace
from tidegate.schemas import Asked, Published, Refused, decode
from tidegate.schemas.refusals import refusal
from tidegate.schemas.subjects import LIVE_ANSWERS, LIVE_DEAD, rid_of
from tidegate.services.answering.instructions import InstructionGate
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.gateway.admission import admit, caller_of_asker, find_fault, words_of
from tidegate.services.gateway.answer_store import AnswerStore, tenant_in
from tidegate.services.gateway.client_stream import ClientStreams
from tidegate.services.gateway.pending import PendingReplies, Reply, WaitLimits
from tidegate.services.gateway.refusals import RequestRefusedError
from tidegate.services.gateway.room import StoreRoom
from tidegate.services.gateway.ticket import PendingRequest
from tidegate.services.gateway.turns import Turns
from tidegate.services.pipeline import STAGES
from tidegate.services.privacy.faults import ErasedError
from tidegate.services.privacy.sealing import seal_request, unseal_request
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings

NO_STORE = "its store does not answer"
STREAM_DRAIN_S = 1.0
"""How long streams may take to send their last event when the gateway closes."""


class IngressLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a gateway takes on at once, beside what `gateway.limits` says."""

    max_streams: int = 1024
    """Clients that follow an answer."""
    grace_s: float = 2.0
    """How long after the deadline to wait on: the stages end a late request themselves, with a reason."""


DEFAULT_LIMITS = IngressLimits()


class Ingress:
    """What HTTP and NATS share. `open` it once, before the first request.

    A fresh request is stored under its id before anybody waits for it. A request id that is known already gets its
    answer again when the same asker sends the same question, and is refused to everybody else.
    """

    def __init__(
        self,
        settings: Settings,
        bus: Bus,
        vault: Vault,
        limits: IngressLimits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.bus = bus
        self.streams = ClientStreams(bus, limits.max_streams)
        allowed = settings.gateway.limits
        self.pending_replies = PendingReplies(
            WaitLimits(allowed.max_waiting, allowed.max_waiting_per_tenant, allowed.max_waiting_per_caller)
        )
        self.turns = Turns(allowed, time.monotonic)
        self.room = StoreRoom(Path(settings.state_dir), allowed.min_free_disk_mib)
        self.is_closing = False
        self._vault = vault
        self._clock = clock
        self._grace_s = limits.grace_s
        self._store = AnswerStore(bus, StatePaths(settings).answer_archive, vault)
        self._instructions = InstructionGate(settings, bus)

    async def open(self) -> None:
        """Subscribe to answers, dead letters and what is shown meanwhile."""
        await self.streams.open()
        await self.bus.listen(LIVE_ANSWERS, self._on_answer)
        await self.bus.listen(LIVE_DEAD, self._on_dead_letter)

    async def close(self) -> None:
        """Accept nothing more; who waits gets an answer within `settings.grace_s` seconds, or a refusal then."""
        self.is_closing = True
        self.turns.close()
        await self.pending_replies.drain(self.settings.grace_s, refusal("closing"))
        await self.streams.drain(STREAM_DRAIN_S)
        self._store.close()

    async def submit(self, asked: Asked, traceparent: str = "") -> Published | Refused:
        """Accept `asked` and wait for its answer, at most until its deadline plus the grace.

        Raises `RequestRefusedError` where it is not accepted.
        """
        return await (await self.accept(asked, traceparent)).answer()

    async def accept(self, asked: Asked, traceparent: str = "") -> PendingRequest:
        """Check the request, seal its text, store it. Raises `RequestRefusedError`, and has then stored nothing."""
        with self._naming(asked.tenant):
            return await self._accept(asked, traceparent)

    async def _accept(self, asked: Asked, traceparent: str) -> PendingRequest:
        now_ms = int(self._clock() * 1000)
        if (fault := find_fault(asked, self.settings, now_ms)) is not None:
            raise RequestRefusedError(fault)
        caller = caller_of_asker(asked.asker)
        self._check_room(asked.tenant, caller, asked.rid)  # before what costs time: a refusal is cheap
        await self._check_streams(asked)
        if (fault := await self._instructions.find_fault(asked)) is not None:
            raise RequestRefusedError(fault, "instructions")
        self._check_room(asked.tenant, caller, asked.rid)
        is_known = bool(asked.rid)
        asker, session = asked.asker, asked.session
        asked = await self._seal(admit(asked, self.settings, now_ms))
        wait_s = (asked.deadline_at_ms - now_ms) / 1000 + self._grace_s
        reply = self.pending_replies.open(asked.tenant, asked.rid, wait_s, caller)
        try:
            stored = await self._store_request(asked, (asker, session), is_known, trace.follow(traceparent))
        except BaseException as error:
            reply.cancel()
            if isinstance(error, OSError):
                why = self.room.why if isinstance(error, StoreStuckError) else NO_STORE
                raise RequestRefusedError(refusal("unavailable", asked.rid, why=why)) from error
            raise
        return self._pending(stored, reply)

    async def resume(self, tenant: str, rid: str, asker: str) -> PendingRequest:
        """The right to the answer of a request that was accepted before, for the asker of it; stores nothing.

        Nobody else learns whether there is such a request. Raises `RequestRefusedError`.
        """
        with self._naming(tenant):
            return await self._resume(tenant, rid, asker)

    async def _resume(self, tenant: str, rid: str, asker: str) -> PendingRequest:
        if tenant not in self.settings.tenants:
            raise RequestRefusedError(refusal("unknown_tenant", rid, tenant=tenant))
        caller = caller_of_asker(asker)
        self._check_room(tenant, caller, rid)
        try:
            earlier = await self._store.known(tenant, rid, asker)
        except OSError as error:
            raise RequestRefusedError(refusal("unavailable", rid, why=NO_STORE)) from error
        if earlier is None or not self._is_of(earlier, asker):
            raise RequestRefusedError(refusal("unknown_request", rid))
        wait_s = max(0.0, earlier.deadline_at_ms / 1000 - self._clock()) + self._grace_s
        # The wait is opened first: an answer may come while the store is read.
        pending = self._pending(earlier, self.pending_replies.open(tenant, rid, wait_s, caller))
        try:
            await pending.check_store()
            if not pending.is_over and await self._store.is_dead(tenant, rid):
                pending.end(refusal("dead", rid))
        except OSError:
            pending.end(refusal("unavailable", rid, why=NO_STORE))
        return pending

    async def is_asker(self, tenant: str, rid: str, asker: str) -> bool | None:
        """Whether the request is of this asker; None where none was accepted. Raises `RequestRefusedError`."""
        try:
            earlier = await self._store.request(tenant, rid)
        except OSError as error:
            raise RequestRefusedError(refusal("unavailable", rid, why=NO_STORE)) from error
        if earlier is None:
            return None
        return self._is_of(earlier, asker)

    def _is_of(self, earlier: Asked, asker: str) -> bool:
        """Whether a request that is stored is of this asker, by any digest that one ever had."""
        digests = self._vault.digests_of_asker(earlier.tenant, asker, earlier.rid)
        return any(secrets.compare_digest(earlier.asker, digest) for digest in digests)

    @contextmanager
    def _naming(self, tenant: str) -> Iterator[None]:
        """Have refusals name the tenant, where it is one of the site's: the audit log has them by tenant."""
        try:
            yield
        except RequestRefusedError as error:
            error.tenant = tenant if tenant in self.settings.tenants else ""
            raise

    def _check_room(self, tenant: str, caller: str, rid: str) -> None:
        if self.is_closing:
            raise RequestRefusedError(refusal("closing", rid))
        if self.pending_replies.is_full(tenant, caller):
            raise RequestRefusedError(refusal("busy", rid))

    async def _check_streams(self, asked: Asked) -> None:
        """Refuse what could not be finished; not a request that is stored already, which has an answer or gets one."""
        if self.room.may_store():
            return
        try:
            is_stored = asked.rid and await self._store.known(asked.tenant, asked.rid, "") is not None
        except OSError as error:
            raise RequestRefusedError(refusal("unavailable", asked.rid, why=NO_STORE)) from error
        if not is_stored:
            raise RequestRefusedError(refusal("unavailable", asked.rid, why=self.room.why))

    def _pending(self, asked: Asked, reply: asyncio.Future[Reply]) -> PendingRequest:
        return PendingRequest(asked, reply, self._store, self.pending_replies, self._vault)

    async def _seal(self, asked: Asked) -> Asked:
        """The request as it is stored. Raises `RequestRefusedError` where the vault cannot keep a key for its asker."""
        try:
            # Who has a key costs a read of the vault; a key that is made waits for the disk.
            if self._vault.has_key(asked.tenant, asked.asker):
                return seal_request(self._vault, asked)
            return await asyncio.to_thread(seal_request, self._vault, asked)
        except (OSError, sqlite3.OperationalError) as error:
            raise RequestRefusedError(refusal("unavailable", asked.rid, why="its vault cannot be used")) from error

    async def _store_request(self, asked: Asked, names: tuple[str, str], may_exist: bool, traceparent: str) -> Asked:
        """Store a request, or find it stored by the same asker; as it is stored. `names` are asker and session."""
        earlier = await self._store.known(asked.tenant, asked.rid, *names) if may_exist else None
        if earlier is None:
            # The tenant is part of the id: two tenants may choose the same request id and never notice each other.
            key = f"{asked.tenant}.{asked.rid}"
            if await self._publish(asked, key, traceparent):
                return asked
            earlier = await self._store.request(asked.tenant, asked.rid)
        if earlier is not None:
            await self._rejoin(asked, names[0], earlier)
        return earlier or asked

    async def _publish(self, asked: Asked, key: str, traceparent: str) -> bool:
        await self._take_turn(asked)
        try:
            is_fresh = await self.bus.publish(asked, id=key, headers={"traceparent": traceparent})
        except BaseException as error:
            self.turns.end(asked.tenant, asked.rid)
            if isinstance(error, StoreStuckError):
                self.room.is_stuck()
            raise
        self.room.has_stored()
        if not is_fresh:
            self.turns.end(asked.tenant, asked.rid)
        return is_fresh

    async def _take_turn(self, asked: Asked) -> None:
        """Wait until others have had their turn. Raises `RequestRefusedError` where that takes until the deadline: the
        request is not stored then."""
        left_s = max(0.0, asked.deadline_at_ms / 1000 - self._clock())
        try:
            async with asyncio.timeout(left_s):
                await self.turns.take(asked.tenant, asked.rid, left_s + self._grace_s)
        except TimeoutError as error:
            raise RequestRefusedError(refusal("busy", asked.rid)) from error
        is_full = self.room.fault in ("no_room", "stream_full")  # it may have become so while others had their turn
        if self.is_closing or is_full:
            self.turns.end(asked.tenant, asked.rid)
            full = refusal("unavailable", asked.rid, why=self.room.why)
            raise RequestRefusedError(refusal("closing", asked.rid) if self.is_closing else full)

    async def _rejoin(self, asked: Asked, asker: str, earlier: Asked) -> None:
        """End the wait at once where the request with this id is over; refuse it to a stranger."""
        if not self._is_of(earlier, asker) or not self._says_the_same(earlier, asked):
            raise RequestRefusedError(refusal("rid_taken", asked.rid))
        answer = await self._store.answer(asked.tenant, asked.rid)
        if answer is not None:
            self.pending_replies.resolve(asked.tenant, asked.rid, answer)
        elif await self._store.is_dead(asked.tenant, asked.rid):
            raise RequestRefusedError(refusal("dead", asked.rid))

    def _says_the_same(self, earlier: Asked, asked: Asked) -> bool:
        """Whether two requests of one asker have the same words; those of one that was erased are no one's, and of one
        of which only the answer is left nobody knows them."""
        if not earlier.sealed:
            return True
        try:
            old, new = unseal_request(self._vault, earlier), unseal_request(self._vault, asked)
        except ErasedError:
            return False
        return words_of(old) == words_of(new)

    async def _on_answer(self, subject: str, data: bytes) -> None:
        tenant, rid = subject.split(".")[-2:]
        self.turns.end(tenant, rid)
        if self.pending_replies.has_waiters(tenant, rid):
            self.pending_replies.resolve(tenant, rid, decode(data, Published))

    async def _on_dead_letter(self, subject: str, data: bytes) -> None:
        # Only a stage's dead letter ends a request; the fast lane merely runs ahead of one.
        rid = rid_of(subject)
        if subject.split(".")[-2] not in {stage.name for stage in STAGES}:
            return
        waiting = self.pending_replies.tenants_of(rid)
        owner = tenant_in(data) if waiting else ""
        for tenant in waiting:
            if owner in (tenant, ""):
                self.turns.end(tenant, rid)
                self.pending_replies.resolve(tenant, rid, refusal("dead", rid))
