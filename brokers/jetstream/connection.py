"""The link: one supervised connection to the domain's server, which recovers from every disconnection.

Next: publisher.py and consumer.py, which share it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import nats.errors
from nats.aio.client import PING_PROTO, Client
from nats.aio.msg import Msg

from tidegate.brokers.base import UnreachableError, report
from tidegate.brokers.jetstream.encryption import EncryptedClient, encryption_of, is_distrusted, name_distrust
from tidegate.brokers.process.tasks import not_losing_cancellation
from tidegate.brokers.servers.credentials import NkeySeedError, own_inbox
from tidegate.brokers.settings import NatsSettings

PING_S = 2
RECONNECT_S = 0.1
OPEN_TIMEOUT_S = 10.0
REOPEN_CAP_S = 5.0
SOON_S = 0.002
PENDING_BYTES = 8 << 20  # when nats-py's buffer is full, a cancelled publish swallows its cancellation
NO_RESPONDERS = "503"
NO_SERVER_HINT = "check that the server runs, and that `nats.url` names it, with tls:// where clients are encrypted"

MessageHandler = Callable[[Msg], Awaitable[None]]
ReconnectHook = Callable[[], Awaitable[None]]

GONE = (
    nats.errors.ConnectionClosedError,
    nats.errors.ConnectionDrainingError,
    nats.errors.ConnectionReconnectingError,
    nats.errors.OutboundBufferLimitError,
)
"""What nats-py raises where there is no connection now."""
_TRANSIENT = (
    OSError,
    nats.errors.UnexpectedEOF,
    nats.errors.StaleConnectionError,
    nats.errors.FlushTimeoutError,
    nats.errors.TimeoutError,
)


class OrderedClient(EncryptedClient):
    """A client whose PING follows what was sent before it, so that `flush` is a barrier.

    nats-py writes PING to the socket at once, past the commands in its buffer: the round trip in `Subscription.drain`
    ends before the server has read the UNSUB. A delivery that the server sends in between comes for a subscription that
    the client has forgotten; nobody hands it back, and it waits for its ack wait to end. It was one hand-back in a few
    hundred, and the unexplained failure of the conformance test of messages that are handed back too often.
    """

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()


@dataclass(eq=False)
class DurableSubscription:
    """A subscription that outlives the client it was made with."""

    subject: str
    handle: MessageHandler
    queue: str
    subscription: Any = None

    async def declare(self, client: Client) -> None:
        """Subscribe with this client."""
        self.subscription = await client.subscribe(self.subject, queue=self.queue, cb=self.handle)


class Link:
    """nats-py reconnects by itself, but gives up for good on an expired credential or an unknown error, and does not
    notice that its own read loop ended. The link does: it opens a new client, subscribes again, and then calls
    `on_reconnect`, as after every reconnection.
    """

    def __init__(self, settings: NatsSettings, inbox_prefix: str) -> None:
        self.on_reconnect: list[ReconnectHook] = []
        self._settings = settings
        self._inbox_prefix = inbox_prefix
        self._options: dict[str, Any] = {
            "servers": settings.urls,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_S,
            "ping_interval": PING_S,
            "max_outstanding_pings": 2,
            "pending_size": PENDING_BYTES,
            "reconnected_cb": self._on_change,
            "closed_cb": self._on_change,
            "error_cb": self._on_error,
        }
        if settings.nkey_seed_file:
            self._options["nkeys_seed"] = settings.nkey_seed_file
        self._subscriptions: set[DurableSubscription] = set()
        self._change = asyncio.Event()
        self._unsent: list[tuple[str, bytes]] = []
        self._sending: asyncio.Task[None] | None = None
        self._last_error: Exception | None = None
        self._opening: asyncio.Timeout | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: NatsSettings, inbox_prefix: str) -> AsyncIterator[Link]:
        """Connect; on leaving, send what is still to be sent and close.

        Raises `UnreachableError` after 10 seconds, `UntrustedServerError` at once, `NkeySeedError`.
        """
        link = cls(settings, inbox_prefix)
        link.client = await link._connect()
        supervisor = asyncio.create_task(link._supervise())
        supervisor.add_done_callback(link._on_supervisor_end)
        try:
            yield link
        finally:
            supervisor.cancel()
            with contextlib.suppress(*GONE):
                await link._send_unsent()
            with contextlib.suppress(RuntimeError, OSError):  # nats-py writes even to a socket that is gone
                await link.client.close()

    client: Client

    @property
    def is_up(self) -> bool:
        """Whether there is a connection to the server, as far as is known."""
        return self.client.is_connected

    def new_inbox(self) -> str:
        """A subject that nobody else listens to."""
        return self.client.new_inbox()

    async def send(self, subject: str, data: bytes = b"", reply: str = "", headers: Any = None) -> bool:
        """Send, or buffer through a short break. False: it could not be taken, as for everything lost on the way the
        sender's own repetition, or the server's redelivery, must make up for it.
        """
        try:
            if self._unsent:
                await self._send_unsent()
            await self.client.publish(subject, data, reply, headers)
        except GONE:
            return False
        return True

    def send_soon(self, subject: str, data: bytes) -> None:
        """Send with whatever is sent next, at the latest after two milliseconds: a write less where nobody waits."""
        self._unsent.append((subject, data))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_in_time())

    async def request(self, subject: str, data: bytes = b"", *, timeout_s: float = 2.0) -> Msg:
        """Send a request and wait for one reply.

        Raises `UnreachableError`, at once where nobody listens or there is no connection.
        """
        if not self.is_up:
            raise UnreachableError(f"no connection to the server while asking {subject}")
        try:
            return await not_losing_cancellation(self.client.request(subject, data, timeout=timeout_s))
        except nats.errors.NoRespondersError as error:
            raise UnreachableError(f"nobody answers on {subject}") from error
        except nats.errors.TimeoutError as error:
            raise UnreachableError(f"no answer on {subject} within {timeout_s:g} s") from error
        except GONE as error:
            raise UnreachableError(f"the connection closed while asking {subject}") from error

    async def subscribe(self, subject: str, handle: MessageHandler, queue: str = "") -> DurableSubscription:
        """Call `handle` for every message, one after the other, until `unsubscribe`, whatever happens to the client."""
        subscription = DurableSubscription(subject, handle, queue)
        self._subscriptions.add(subscription)
        with contextlib.suppress(*GONE):  # the supervisor will declare it with the next client
            await subscription.declare(self.client)
        return subscription

    async def unsubscribe(self, subscription: DurableSubscription) -> None:
        """Take no more, after what the server has sent already was handled."""
        self._subscriptions.discard(subscription)
        if subscription.subscription is None or not self.is_up:
            return
        with contextlib.suppress(nats.errors.Error, TimeoutError):  # a broken connection has no subscriptions either
            async with asyncio.timeout(1.0):
                await subscription.subscription.drain()

    async def _send_in_time(self) -> None:
        await asyncio.sleep(SOON_S)
        self._sending = None
        with contextlib.suppress(*GONE):
            await self._send_unsent()

    async def _send_unsent(self) -> None:
        unsent, self._unsent = self._unsent, []
        for subject, data in unsent:
            await self.client.publish(subject, data)

    async def _connect(self) -> Client:
        inbox_prefix = own_inbox(self._inbox_prefix, self._settings.nkey_seed_file)
        encryption = encryption_of(self._settings)  # read anew: an authority may have been renewed
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S) as self._opening:
                client = OrderedClient()
                await client.connect(**self._options, **encryption, inbox_prefix=inbox_prefix)
                return client
        except (TimeoutError, nats.errors.Error) as error:
            cause = self._last_error or error
            if is_distrusted(cause):
                raise name_distrust(self._settings, cause) from error
            reason = f"no server at {self._settings.public_url}: {str(cause) or type(cause).__name__}"
            raise UnreachableError(reason, NO_SERVER_HINT) from error

    async def _on_change(self) -> None:
        self._change.set()

    async def _on_error(self, error: Exception) -> None:
        """Keep what nats-py recovers from for the next `UnreachableError`; hand all else to the loop's handler."""
        is_new = repr(error) != repr(self._last_error)  # a refused login comes back ten times a second
        self._last_error = error
        if is_distrusted(error) and self._opening is not None:
            with contextlib.suppress(
                RuntimeError
            ):  # it is open: nats-py tries again by itself, and somebody has to know
                self._opening.reschedule(asyncio.get_running_loop().time())
                return
        if is_new and (is_distrusted(error) or not isinstance(error, _TRANSIENT)):
            report(error, "an error on the connection to the server")

    async def _supervise(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_S):
                    await self._change.wait()
            if self._change.is_set():
                self._change.clear()
                with contextlib.suppress(nats.errors.Error, OSError):  # broken again: the next change repairs it
                    await self._recover()
            elif self.is_up and self._reading_ended():
                await self.client.force_reconnect()

    def _reading_ended(self) -> bool:
        reading = self.client._reading_task
        return reading is not None and reading.done()

    async def _recover(self) -> None:
        if self.client.is_closed:
            await self._reopen()
            for subscription in tuple(self._subscriptions):
                await subscription.declare(self.client)
        for hook in tuple(self.on_reconnect):
            await hook()

    async def _reopen(self) -> None:
        delay_s = RECONNECT_S
        while True:
            try:
                self.client = await self._connect()
            except (UnreachableError, NkeySeedError):
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))
                delay_s = min(REOPEN_CAP_S, delay_s * 2)
            else:
                return

    def _on_supervisor_end(self, supervisor: asyncio.Task[None]) -> None:
        if not supervisor.cancelled() and (error := supervisor.exception()):
            report(error, "the connection is no longer supervised")
