"""A site's edits on their way: into EDITS, which the link carries to the hub, and again where no receipt comes.

An edit stays in the outbox until the hub, or its own entry in the log, says that it is there: what a server
acknowledges and loses is sent again, past the stream. Next: edits_intake.py, the hub's end; sync/author.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.publisher import GIVE_UP_S, OutgoingMessage
from tidegate.schemas.errors import RejectError, TidegateError
from tidegate.schemas.following import MOST_OPERATIONS, SendOperations
from tidegate.schemas.message import encode
from tidegate.schemas.replication import RelayReceipt
from tidegate.schemas.subjects import edits_of
from tidegate.schemas.sync import AuthorMark
from tidegate.sync.reader import Pending
from tidegate.sync.rules.counters import judge
from tidegate.sync.rules.merge import version_of
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.hub_requests import HubRequests
from tidegate.sync.store import ReplicaStore

BATCH = 500
RESEND_AFTER_S = 2.0
"""So long no receipt may come before what waits is sent again: the stream and the link need milliseconds."""
MOST_SENT_BYTES = 900_000


class SiteOutbox:
    """Sends the shared edits of one tenant from a site. `on_hole` is called where the hub lacks what it once had."""

    def __init__(
        self, site: str, tenant: str, store: ReplicaStore, bus: JetStreamBus, hub: HubRequests, faults: Faults
    ) -> None:
        self._site = site
        self._tenant = tenant
        self._store = store
        self._bus = bus
        self._hub = hub
        self._faults = faults
        self._published = 0
        self._first = 0
        self._waits_since_s = 0.0
        self.on_hole: Callable[[], None] = lambda: None

    async def publish(self) -> int:
        """Store in EDITS what was written since the last call; how many operations it was.

        Raises `NotStoredError`, `NotAcknowledgedError`, where the stream is full or the server away.
        """
        published = 0
        while True:
            with self._store.reading() as reader:
                entries = reader.pending(BATCH, ("EDITS",), after=self._published)
            if not entries:
                return published
            for outcome in await self._bus.publisher.append_all([self._outgoing(each) for each in entries], GIVE_UP_S):
                if isinstance(outcome, TidegateError):
                    raise outcome
            self._published = entries[-1].sequence
            published += len(entries)

    def settle(self, mark: AuthorMark | None) -> int:
        """Take out of the outbox what the hub's log has, by its mark of this author; how many operations are left."""
        with self._store.writing() as writer:
            after = 0
            while mark is not None and (entries := writer.pending(BATCH, ("EDITS",), after)):
                known = [each for each in entries if judge(mark, version_of(each.operation)) == "duplicate"]
                writer.clear_pending(known)
                if not known:
                    break
                after = entries[-1].sequence
            return writer.count_sent("EDITS")

    async def send_again(self) -> None:
        """Send to the hub, past the stream, what waits while no receipt comes; leave it to the stream where that is
        ahead. Raises what the hub raises, and `UnreachableError`; what did not come into the log is a fault.

        The mark is asked for first: that costs little while nobody answers, so that it is asked often. A server begins
        to take a stream from another one up to ten seconds after that is back, and the hub answers before that.
        """
        if self._waits_in_vain():
            asked = SendOperations(tenant=self._tenant, actor=self._own_actor())
            self.settle((await self._hub.ask(asked, RelayReceipt)).mark)
        while self._waits_in_vain():
            if not await self._send_batch():
                self._waits_since_s = time.monotonic()
        if not self._first:
            self._faults.clear(f"{self._tenant}", "outbox")

    async def _send_batch(self) -> bool:
        """Send what waits longest; whether the hub took all of it, and the stream had not brought it already."""
        actor, entries = self._own_actor(), self._waiting(MOST_OPERATIONS)
        operations = tuple(entry.operation for entry in _fitting(entries))
        request = SendOperations(tenant=self._tenant, actor=actor, operations=operations)
        receipt = await self._hub.ask(request, RelayReceipt)
        with self._store.writing() as writer:
            writer.clear_pending(entries[: receipt.taken])
        self._first = self._head()  # it moved by our own hand, which says nothing of the stream
        return self._judge(receipt, len(operations)) and receipt.outcome == "relayed"

    def _waits_in_vain(self) -> bool:
        """Whether something waits, and what waited before it went too long ago."""
        first = self._head()
        if first != self._first:
            self._first, self._waits_since_s = first, time.monotonic()
        return bool(first) and time.monotonic() - self._waits_since_s > RESEND_AFTER_S

    def _head(self) -> int:
        """The number of what waits longest; 0: nothing does."""
        entries = self._waiting(1)
        return entries[0].sequence if entries else 0

    def _waiting(self, most: int) -> Sequence[Pending]:
        with self._store.reading() as reader:
            return reader.pending(most, ("EDITS",))

    def _own_actor(self) -> str:
        with self._store.reading() as reader:
            return reader.own().actor

    def _judge(self, receipt: RelayReceipt, sent: int) -> bool:
        """Whether the hub took all of it; else a fault says what it did."""
        if receipt.taken == sent:
            return True
        if receipt.outcome == "hole":
            self.on_hole()  # the hub lost what it had a receipt for: a comparison offers it
        reason = f"the hub did not take an edit of this site: {receipt.outcome}, {receipt.reason}"
        self._faults.note(f"{self._tenant}", RejectError(reason), "outbox")
        return False

    def _outgoing(self, entry: Pending) -> OutgoingMessage:
        operation = version_of(entry.operation).operation
        subject = edits_of(self._site, self._tenant, entry.collection, operation.document_id)
        # By the site's key: at the hub the edits of all sites are in one stream, and none may keep out another's.
        id = self._bus.ids.of(f"{self._tenant}.{operation.dot}")  # noqa: A001 - as the header is called
        return OutgoingMessage(subject, encode(entry.operation), {"Nats-Msg-Id": id})


def _fitting(entries: Sequence[Pending]) -> Sequence[Pending]:
    """The first entries, as many as one request has room for."""
    left = MOST_SENT_BYTES
    for number, entry in enumerate(entries):
        left -= len(entry.operation.payload) + 128
        if left < 0 and number:
            return entries[:number]
    return entries
