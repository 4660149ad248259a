"""An answer in the making, sent to a client from its cursor on: first what is stored, then what comes, then the end.

A client that goes away and comes back with its cursor gets every character once; next: resume.py."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Literal

import msgspec

from tidegate.brokers.base import Bus
from tidegate.schemas import Cursor, Delta, Published, Refused, decode
from tidegate.schemas.refusals import REFUSALS, refusal
from tidegate.schemas.subjects import LIVE_TOKENS, TOKENS, rid_of, tokens
from tidegate.services.gateway.refusals import RequestRefusedError, log_refusal, refusal_from_exception
from tidegate.services.gateway.ticket import PendingRequest
from tidegate.services.streaming import events
from tidegate.services.streaming.events import CursorAheadError, EndEvent, ErrorEvent, Event, HeartbeatEvent, StreamStep
from tidegate.services.streaming.log import AnswerLog, CorruptLogError
from tidegate.services.streaming.pacing import Pacer

HEARTBEAT_S = 10.0
Transport = Literal["http", "ws", "nats"]


def failed_event(refused: Refused, at: Cursor | str = "") -> ErrorEvent:
    """The event that ends a stream, or is all of it, in the words of the refusal."""
    return ErrorEvent(
        str(at), refused.code, refused.reason, refused.hint, refused.rid, REFUSALS[refused.code].is_resumable
    )


class AdmittedClient(msgspec.Struct, frozen=True):
    """A client that may follow a request: which, from where on, and whether it can take anything back."""

    pending: PendingRequest
    at: Cursor
    can_retract: bool


class ClientStreams:
    """What all transports share: one subscription to what is shown, and a bound on how many clients follow it."""

    def __init__(self, bus: Bus, max_streams: int) -> None:
        self._bus = bus
        self._max_streams = max_streams
        self._wakeups: dict[tuple[str, str], set[asyncio.Event]] = {}
        self._open: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def check_room(self, rid: str) -> None:
        """Raises `RequestRefusedError` where one more client would be one too many."""
        if len(self._open) >= self._max_streams:
            raise RequestRefusedError(refusal("busy", rid))

    async def open(self) -> None:
        """Subscribe to news; what is new is read from the stream, in order and once."""
        await self._bus.listen(LIVE_TOKENS, self._on_tokens)

    async def follow(
        self, client: AdmittedClient, transport: Transport, heartbeat_s: float
    ) -> AsyncGenerator[Event, None]:
        """Every event that the client has still to get, ended by `EndEvent` or `ErrorEvent`; never raises.

        `HeartbeatEvent` after every `heartbeat_s` seconds without anything new. Who stops in the middle costs nothing
        further.
        """
        pending = client.pending
        wakeup, key = asyncio.Event(), (pending.asked.tenant, pending.rid)
        self._wakeups.setdefault(key, set()).add(wakeup)
        over = asyncio.get_running_loop().create_future()
        self._open.add(over)
        stream = _ClientStream(self._bus, client)
        stream.reply.add_done_callback(lambda _: wakeup.set())
        try:
            async for event in stream.events(wakeup, heartbeat_s):
                yield event
        except CursorAheadError as error:
            yield failed_event(log_refusal(refusal("bad_cursor", pending.rid, fault=error), transport), client.at)
        except Exception as error:  # noqa: BLE001 what went wrong ends the stream as an event
            yield failed_event(refusal_from_exception(error, transport, pending.rid), stream.at)
        finally:
            stream.reply.cancel()
            self._open.discard(over)
            over.set_result(None)
            self._wakeups[key].discard(wakeup)
            if not self._wakeups[key]:
                del self._wakeups[key]

    async def drain(self, patience_s: float) -> None:
        """Wait until nobody follows anything any more, at most `patience_s` seconds."""
        if self._open:
            await asyncio.wait(self._open, timeout=patience_s)

    async def _on_tokens(self, subject: str, _: bytes) -> None:
        tenant, rid = subject.split(".")[-2], rid_of(subject)
        for wakeup in self._wakeups.get((tenant, rid), ()):
            wakeup.set()


class _ClientStream:
    """One client's stream; `at` is where the client is."""

    def __init__(self, bus: Bus, client: AdmittedClient) -> None:
        self._bus = bus
        self._pending = pending = client.pending
        self._can_retract = client.can_retract
        self._subject = tokens(pending.asked.tenant, pending.rid)
        self._log = self._empty_log()
        self._last = 0
        self._format = ""
        self._pacer = Pacer()
        self._value_of = functools.cache(pending.value_of)
        self.at = client.at
        self.reply = asyncio.ensure_future(pending.reply())

    async def events(self, wakeup: asyncio.Event, heartbeat_s: float) -> AsyncIterator[Event]:
        """The events but for a failure.

        Raises `RequestRefusedError`, `CursorAheadError`, `CommitConflictError`, a vault's `TamperedError`.
        """
        while True:
            wakeup.clear()
            reply = self.reply.result() if self.reply.done() else None
            await self._read_log()
            if isinstance(reply, Published):
                self._close_log(reply)
            steps = events.pending_steps(self._log, self.at, can_retract=self._can_retract)
            if await self._waited_for_more(steps):
                continue
            async for event in self._events_of(steps):
                yield event
            if isinstance(reply, Published):
                yield EndEvent(str(self.at), self._pending.reidentify(reply))
                return
            if isinstance(reply, Refused):
                raise RequestRefusedError(reply)
            try:
                async with asyncio.timeout(heartbeat_s):
                    await wakeup.wait()
            except TimeoutError:
                yield HeartbeatEvent()
                await self._pending.check_store()

    async def _events_of(self, steps: list[StreamStep]) -> AsyncIterator[Event]:
        for step in steps:
            rest: StreamStep | None = step
            while rest is not None:
                piece, rest = events.split_step(rest, self._pacer.size)
                log = self._log
                event = events.render_event(piece, log.text, self._value_of, is_json=self._is_json, reason=log.reason)
                self._pacer.sent(len(event.text.encode("utf-8", "surrogatepass")), time.monotonic())
                yield event
                self._pacer.drained(time.monotonic())
                self.at = piece.cursor

    async def _waited_for_more(self, steps: list[StreamStep]) -> bool:
        """Whether it was worth while to wait for more before these steps are sent; then look again."""
        if not steps or any(step.state in ("retracted", "withdrawn") for step in steps):
            return False
        ready = sum(len(step.text.encode("utf-8", "surrogatepass")) for step in steps)
        wait_s = self._pacer.wait_s(time.monotonic(), ready, is_whole=self._log.is_closed)
        if wait_s:
            await asyncio.sleep(wait_s)
        return wait_s > 0

    async def _read_log(self) -> None:
        """Take in what is new. Where the stream was lost and its log begins again, that is the log from here on."""
        if self._log.is_closed:
            return
        try:
            found = await self._bus.read(TOKENS, self._subject, self._last)
            if found:
                with contextlib.suppress(CorruptLogError):
                    self._append(found)
                    return
            whole = await self._bus.read(TOKENS, self._subject) if self._last else found
        except OSError:  # no connection: the next heartbeat looks again, and the answer has the whole text
            return
        if whole and whole[-1][0] != self._last:
            self._log, self._last = self._empty_log(), 0
            try:
                self._append(whole)
            except CorruptLogError:  # its first lines are gone, by age or for room: only the answer has the text
                self._log, self._last = self._empty_log(), whole[-1][0]

    def _append(self, found: list[tuple[int, bytes]]) -> None:
        for sequence, data in found:
            self._log = self._log.with_line(decode(data, Delta))
            self._last = sequence

    def _close_log(self, published: Published) -> None:
        """From here on the answer is what the log says, whatever became of the log. Raises `CommitConflictError`."""
        self._format = published.format
        if published.receipt.withdrawn_chars:
            for line in self._log.withdraw(published.text, published.reason):
                self._log = self._log.with_line(line)
            return
        if self._log.is_empty:
            self._log = events.log_of_answer(published.text, self.at)
        for line in self._log.close(published.text):
            self._log = self._log.with_line(line)

    def _empty_log(self) -> AnswerLog:
        return AnswerLog(self._pending.rid, self._pending.asked.tenant)

    @property
    def _is_json(self) -> bool:
        """Whether values are escaped: the answer says what it is, and until it is there its log does."""
        return (self._format or self._log.format) == "json"
