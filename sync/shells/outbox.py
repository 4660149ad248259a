"""A site's edits on their way: into EDITS, which the link carries to the hub, and again where no receipt comes.

An edit stays in the outbox until the hub, or its own entry in the log, says that it is there: what a server
acknowledges and loses is sent again, past the stream. Next: edits_intake.py, the hub's end; sync/author.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.schemas.errors import RejectError
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
"""So long a receipt may take before what it is for is sent again: the stream and the link need milliseconds."""
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
        self._published_at_s = 0.0
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
            self._published_at_s = time.monotonic()  # also where it fails: it is sent past the stream then
            await asyncio.gather(*(self._publish_one(entry) for entry in entries))
            self._published = entries[-1].sequence
            published += len(entries)

    def settle(self, mark: AuthorMark | None) -> int:
        """Take out of the outbox what the hub's log has, by its mark of this author; how many operations are left."""
        with self._store.writing() as writer:
            entries = writer.pending(-1, ("EDITS",))
            if mark is not None:
                known = [each for each in entries if judge(mark, version_of(each.operation)) == "duplicate"]
                writer.clear_pending(known)
                return len(entries) - len(known)
        return len(entries)

    async def send_again(self) -> None:
        """Send to the hub, past the stream, what has had no receipt for too long. Raises what the hub raises, and
        `UnreachableError`; what became of it is a fault where it did not come into the log."""
        while time.monotonic() - self._published_at_s > RESEND_AFTER_S:
            with self._store.reading() as reader:
                actor, entries = reader.own().actor, _fitting(reader.pending(MOST_OPERATIONS, ("EDITS",)))
            if not entries:
                break
            request = SendOperations(
                tenant=self._tenant, actor=actor, operations=tuple(entry.operation for entry in entries)
            )
            receipt = await self._hub.ask(request, RelayReceipt)
            with self._store.writing() as writer:
                writer.clear_pending(entries[: receipt.taken])
            if not self._judge(receipt, len(entries)):
                return
        self._faults.clear(f"{self._tenant}", "outbox")

    def _judge(self, receipt: RelayReceipt, sent: int) -> bool:
        """Whether the hub took all of it; else a fault says what it did."""
        if receipt.taken == sent:
            return True
        if receipt.outcome == "hole":
            self.on_hole()  # the hub lost what it had a receipt for: a comparison offers it
        reason = f"the hub did not take an edit of this site: {receipt.outcome}, {receipt.reason}"
        self._faults.note(f"{self._tenant}", RejectError(reason), "outbox")
        return False

    async def _publish_one(self, entry: Pending) -> None:
        operation = version_of(entry.operation).operation
        subject = edits_of(self._site, self._tenant, entry.collection, operation.document_id)
        # By the site's key: at the hub the edits of all sites are in one stream, and none may keep out another's.
        id = self._bus.ids.of(f"{self._tenant}.{operation.dot}")  # noqa: A001 - as the header is called
        await self._bus.publisher.store(subject, encode(entry.operation), {"Nats-Msg-Id": id})


def _fitting(entries: Sequence[Pending]) -> Sequence[Pending]:
    """The first entries, as many as one request has room for."""
    left = MOST_SENT_BYTES
    for number, entry in enumerate(entries):
        left -= len(entry.operation.payload) + 128
        if left < 0 and number:
            return entries[:number]
    return entries
