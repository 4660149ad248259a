"""An answer in the making, told to a client from where it is: what is stored first, then what comes, then the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Literal

from tidegate.brokers.base import House
from tidegate.schemas import Cursor, Delta, Published, Refused, decode
from tidegate.schemas.subjects import TOKENS, rid_of, tokens
from tidegate.services.gateway.refusals import refusal, refusal_from_exception, told
from tidegate.services.streaming import events
from tidegate.services.streaming.events import Ahead, Alive, Ended, Event, Failed, Step
from tidegate.services.streaming.log import Broken, Log
from tidegate.services.streaming.pacing import Pacer

if TYPE_CHECKING:
    from tidegate.services.gateway.ingress import PendingRequest

MAX_STREAMS = 1024
HEARTBEAT_S = 10.0
LIVE_TOKENS = "live.tokens.>"
RESUMABLE = frozenset({"closing", "late", "unavailable", "busy", "internal"})
Transport = Literal["http", "ws", "nats"]
Key = tuple[str, str]


def failed_event(refused: Refused, at: Cursor | str = "") -> Failed:
    """The event that ends a stream, or that is all of it, in the words of the refusal."""
    is_resumable = refused.code in RESUMABLE
    return Failed(str(at), refused.code, refused.reason, refused.hint, refused.rid, is_resumable)


class ClientStreams:
    """What the doors share: the one ear for what is shown, and a bound on how many clients are told."""

    def __init__(self, house: House, max_streams: int = MAX_STREAMS) -> None:
        self._house = house
        self._max_streams = max_streams
        self._bells: dict[Key, set[asyncio.Event]] = {}
        self._open: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether a client that is told now would be one too many."""
        return len(self._open) >= self._max_streams

    async def open(self) -> None:
        """Start to hear that there is something new; what it is is read from the stream, in order and once."""
        await self._house.listen(LIVE_TOKENS, self._hear)

    async def follow(
        self, pending: PendingRequest, at: Cursor, *, can_retract: bool, via: Transport, heartbeat_s: float = HEARTBEAT_S
    ) -> AsyncGenerator[Event, None]:
        """Everything that a client at `at` has still to be told, ended by `Ended` or `Failed`; never raises.

        `Alive` after every `heartbeat_s` seconds without anything new. Who stops in the middle costs nothing further.
        """
        bell, key = asyncio.Event(), (pending.asked.tenant, pending.rid)
        self._bells.setdefault(key, set()).add(bell)
        over = asyncio.get_running_loop().create_future()
        self._open.add(over)
        telling = ClientStream(self._house, pending, at, can_retract=can_retract)
        telling.reply.add_done_callback(lambda _: bell.set())
        try:
            async for event in telling.events(bell, heartbeat_s):
                yield event
        except Ahead as error:
            yield failed_event(told(refusal("bad_cursor", pending.rid, fault=error), via), at)
        except Exception as error:  # noqa: BLE001 what went wrong ends the stream as an event
            yield failed_event(refusal_from_exception(error, via, pending.rid), telling.at)
        else:
            if telling.refused is not None:
                yield failed_event(told(telling.refused, via), telling.at)
        finally:
            telling.reply.cancel()
            self._open.discard(over)
            over.set_result(None)
            self._bells[key].discard(bell)
            if not self._bells[key]:
                del self._bells[key]

    async def drain(self, patience_s: float) -> None:
        """Wait until nobody is told any more, at most `patience_s` seconds."""
        if self._open:
            await asyncio.wait(self._open, timeout=patience_s)

    async def _hear(self, subject: str, _: bytes) -> None:
        tenant, rid = subject.split(".")[-2], rid_of(subject)
        for bell in self._bells.get((tenant, rid), ()):
            bell.set()


class ClientStream:
    """One client's stream. `at` is where the client is, `refused` why there is no answer once the events are over."""

    def __init__(self, house: House, pending: PendingRequest, at: Cursor, *, can_retract: bool) -> None:
        self._house = house
        self._ticket = pending
        self._can_retract = can_retract
        self._subject = tokens(pending.asked.tenant, pending.rid)
        self._log = self._empty()
        self._last = 0
        self._format = ""
        self._pacer = Pacer()
        self._values: dict[str, str] = {}
        self.at = at
        self.refused: Refused | None = None
        self.reply = asyncio.ensure_future(pending.reply())

    async def events(self, bell: asyncio.Event, heartbeat_s: float) -> AsyncIterator[Event]:
        """The events but for a failure. Raises `Ahead`, `Contradiction`, and `Tampered` of a vault."""
        while True:
            bell.clear()
            reply = self.reply.result() if self.reply.done() else None
            await self._read()
            if isinstance(reply, Published):
                self._close(reply)
            steps = events.view(self._log, self.at, can_retract=self._can_retract)
            if await self._waited_for_more(steps):
                continue
            async for event in self._told(steps):
                yield event
            if isinstance(reply, Published):
                yield Ended(str(self.at), self._ticket.restored(reply))
                return
            if isinstance(reply, Refused):
                self.refused = reply
                return
            try:
                await asyncio.wait_for(bell.wait(), heartbeat_s)
            except TimeoutError:
                yield Alive()
                await self._ticket.look()

    async def _told(self, steps: list[Step]) -> AsyncIterator[Event]:
        for step in steps:
            rest: Step | None = step
            while rest is not None:
                piece, rest = events.cut(rest, self._pacer.size)
                event = events.told(piece, self._log.text, self._value, is_json=self._is_json)
                self._pacer.sent(len(event.text.encode("utf-8", "surrogatepass")), time.monotonic())
                yield event
                self._pacer.drained(time.monotonic())
                self.at = piece.cursor

    async def _waited_for_more(self, steps: list[Step]) -> bool:
        """Whether it was worth while to wait for more before these steps are told; then look again."""
        if not steps or any(step.state == "retracted" for step in steps):
            return False
        ready = sum(len(step.text.encode("utf-8", "surrogatepass")) for step in steps)
        wait_s = self._pacer.wait_s(time.monotonic(), ready, is_whole=self._log.is_closed)
        if wait_s:
            await asyncio.sleep(wait_s)
        return wait_s > 0

    async def _read(self) -> None:
        """Take in what is new. Where the stream was lost and its log begins again, that is the log from here on."""
        if self._log.is_closed:
            return
        try:
            found = await self._house.read(TOKENS, self._subject, self._last)
            if found:
                with contextlib.suppress(Broken):
                    self._take(found)
                    return
            whole = await self._house.read(TOKENS, self._subject) if self._last else found
        except OSError:  # no connection: the next beat looks again, and the answer tells all
            return
        if whole and whole[-1][0] != self._last:
            self._log, self._last = self._empty(), 0
            try:
                self._take(whole)
            except Broken:  # its first lines are gone, by age or for room: only the answer can tell
                self._log, self._last = self._empty(), whole[-1][0]

    def _take(self, found: list[tuple[int, bytes]]) -> None:
        for sequence, data in found:
            self._log = self._log.after(decode(data, Delta))
            self._last = sequence

    def _close(self, published: Published) -> None:
        """From here on the answer is what the log says, whatever became of the log. Raises `Contradiction`."""
        self._format = published.format
        if self._log.is_empty:
            self._log = events.answered(published.text, self.at)
        for line in self._log.close(published.text):
            self._log = self._log.after(line)

    def _empty(self) -> Log:
        return Log(self._ticket.rid, self._ticket.asked.tenant)

    @property
    def _is_json(self) -> bool:
        """Whether values are escaped: the answer says what it is, and until it is there its log does."""
        return (self._format or self._log.format) == "json"

    def _value(self, token: str) -> str:
        if token not in self._values:
            self._values[token] = self._ticket.value(token)
        return self._values[token]
