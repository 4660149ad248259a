"""What a message bus promises: deliveries with exactly one outcome, publishing once per id, and core NATS beside it.

Next: worker.py, which settles deliveries; jetstream/bus.py and memory/bus.py, which keep the promises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

import msgspec

from tidegate.brokers.service import MicroService
from tidegate.brokers.stage import Stage
from tidegate.schemas import Message, TidegateError
from tidegate.schemas.subjects import Source

COPIED = "Nats-Stream"
"""The header of what a server sends of a stream; a message that is stored with it was not published by a worker."""


class UnreachableError(TidegateError, ConnectionError):
    """Nobody answered on the other side: no responder, no link, or not in time."""

    hint = "check that the other side runs and that the link is up, then try again"


class TopologyMissingError(TidegateError, RuntimeError):
    """A stream or consumer that this worker binds to was never declared."""

    hint = "run `tidegate topology apply`"


class SequenceConflictError(TidegateError, RuntimeError):
    """Somebody else has written under this subject, or what was there is gone."""

    hint = "read the subject again and append after its last message"


class StoreStuckError(TidegateError, TimeoutError):
    """The server is up, and its stream stores nothing: its disk is full, or was."""

    hint = "make room on the disk of the NATS server; one that `tidegate up` keeps is started again by itself then"


class DeliveryWithdrawnError(TidegateError, RuntimeError):
    """What was handed over before it was stored was not stored: there is nothing to settle, and it is made again."""

    hint = "nothing is to be done: what it follows from is delivered again"


class StoreOutcome(msgspec.Struct, frozen=True):
    """What became of a message that was to be stored once: whether it is new, and if so, where it is stored, as
    `<stream>:<sequence>`. One that is not new may differ from the one that is stored."""

    is_new: bool
    position: str = ""


class StoredMessage(msgspec.Struct, frozen=True):
    """One message as a stream stores it. `stored_at_s` is the Unix time at which this stream stored it."""

    stream: str
    sequence: int
    stored_at_s: float
    subject: str
    headers: Mapping[str, str]
    data: bytes

    @property
    def position(self) -> str:
        """Where it is stored: `<stream>:<sequence>`."""
        return f"{self.stream}:{self.sequence}"


class Acknowledged(msgspec.Struct, frozen=True):
    """What the other side of the leaf acknowledged: all messages after the sequence `after`, up to the one `upto`."""

    messages: tuple[StoredMessage, ...]
    after: int
    upto: int


class Delivery(Protocol):
    """One message in the hands of one worker, until `ack` or `retry` (or until it is dead-lettered)."""

    id: str
    subject: str
    headers: Mapping[str, str]
    attempt: int
    """1 on the first delivery."""
    stored_at_s: float
    """Unix time at which the stream stored it."""
    position: str
    """Where it is stored: `<stream>:<sequence>`."""

    @property
    def data(self) -> bytes: ...

    async def stored(self) -> str:
        """Wait until it is stored, which what was delivered by a stream is, and return its position.

        Raises `DeliveryWithdrawnError` where it is not stored after all.
        """

    async def ack(self) -> None:
        """Acknowledge it: everything that follows from it is stored."""

    async def retry(self, after_s: float) -> None:
        """Hand it back, to be delivered again to any worker after `after_s` seconds."""

    async def keep_alive(self) -> None:
        """Report that the work goes on, so that it is not delivered to a peer."""

    async def term(self, reason: str) -> None:
        """Terminate it. Only `Broker.dead_letter` calls this, once the dead letter is stored."""


class Inbox(Protocol):
    async def next(self, wait_s: float = 0.2) -> Delivery | None:
        """The next delivery, or None when none came in time."""

    def put(self, delivery: Delivery) -> None:
        """Have `next` return this one, too, in turn with what comes by itself."""


SettleOnArrival = Callable[[Delivery], Awaitable[None] | None]
"""What to await where it knows the outcome of a delivery that comes, or who will give it one; else None."""


@runtime_checkable
class ArrivalInbox(Inbox, Protocol):
    """An inbox that can tell of a delivery before it waits to be taken."""

    def on_arrival(self, settle: SettleOnArrival) -> None:
        """Ask `settle` of each delivery that comes from now on; what it takes is not returned by `next`."""


class Broker(Protocol):
    """Durable messaging in one domain: a site's, or the hub's."""

    domain: str

    async def publish(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """Store the message once under its subject and return when it is stored.

        The same `id` again, or a second message under a subject that holds one for ever, stores nothing and returns
        False. Resends under the same id until it is stored; raises `TimeoutError` when that takes too long. What is
        stored has an id that is made of `id` by the domain's key, see message_ids.py.
        """

    async def store(self, message: Message, *, id: str, headers: Mapping[str, str]) -> StoreOutcome:
        """As `publish`, and where it is stored. Raises as `publish` does."""

    def id_of(self, name: str) -> str:
        """The id under which `publish` stores what is given `name` as its id."""

    async def publish_again(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """As `publish`, of a message that was stored elsewhere, under the very id that it has there."""

    async def append(self, message: Message, *, after: int) -> int:
        """Store the message if `after` is the sequence of the last one under its subject (0: there is none).

        Returns the message's own sequence. Raises `SequenceConflictError`, and then nothing is stored; `TimeoutError`
        when it is not known in time whether it is.
        """

    async def dead_letter(self, delivery: Delivery, stage: str, error: BaseException) -> None:
        """Keep the delivery's bytes as a dead letter that states who, where, why and at which attempt; then end it."""

    def subscribe(self, stage: Stage) -> AbstractAsyncContextManager[Inbox]:
        """The stage's deliveries; on leaving, what was not handed out goes back at once.

        Raises `TopologyMissingError` when the stage's consumers were never declared.
        """


class CoreClient(Protocol):
    """Core NATS and reads: nothing here is stored, nothing is redelivered."""

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Send a request and wait for one reply. Raises `UnreachableError`; at once when nobody listens."""

    async def respond(self, subject: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Answer requests on `subject` (wildcards allowed) concurrently, sharing them with peers, until closed."""

    async def respond_by_subject(self, subject: str, answer: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        """As `respond`, but `answer(subject, data)` is told under which subject it was asked."""

    async def publish_core(self, subject: str, data: bytes) -> None:
        """Send it to whoever listens now, and expect nothing; without a connection it may be lost."""

    async def serve(self, service: MicroService) -> None:
        """Answer requests on the service's endpoints concurrently, shared with peers, and on `$SRV`, until closed.

        A request is answered with everything that its endpoint yields; an error that it raises ends the replies.
        """

    async def listen(self, subject: str, handle: Callable[[str, bytes], Awaitable[None]]) -> None:
        """Call `handle(subject, data)` for every message on `subject`, in order, until closed."""

    async def last(self, stream: str, subject: str) -> bytes | None:
        """The newest stored message under exactly this subject, or None."""

    async def read(self, stream: str, subject: str, after: int = 0) -> list[tuple[int, bytes]]:
        """Everything stored under exactly this subject after the sequence `after`, with its sequences, oldest first.

        Raises `UnreachableError`; `TopologyMissingError` where there is no such stream (any more).
        """

    async def acknowledged(self, source: Source, consumer: str, after: int | None, most: int) -> Acknowledged:
        """The oldest messages of `source`, at most `most`, after the sequence `after`, that the other side of the leaf
        has acknowledged to `consumer`; nothing on a bus without a leaf.

        With None as `after`, or where less than that is acknowledged, from some way before the last one on. Raises
        `UnreachableError`, `TopologyMissingError`.
        """

    async def pending(self, stage: Stage) -> int:
        """How many messages wait for the stage."""


class Bus(Broker, CoreClient, Protocol):
    """The message bus of one domain, durable and core; what a stage's `open` is given."""


def report(error: BaseException, what: str) -> None:
    """Hand an error that nobody waits for to the loop's exception handler."""
    asyncio.get_running_loop().call_exception_handler({"message": what, "exception": error})
