"""What a site keeps of one tenant: its store, who follows, repairs and writes there, one at a time for each collection.

Promises that what the hub says is learned, and that what belongs to the site alone is never taken for what is shared.
Next: site_shell.py, which has one for each tenant; sync/follower.py, sync/repair.py."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.schemas.following import FollowReply, FollowRequest
from tidegate.schemas.sync import Collection, CollectionDelta, CollectionHead, DocumentContent
from tidegate.sync.author import Author
from tidegate.sync.follower import Follower, ReplicaHeldError
from tidegate.sync.repair import ComparisonMovedError, Repairer, ResyncCheaperError
from tidegate.sync.rules.drift import RepairReport
from tidegate.sync.rules.merge import Version
from tidegate.sync.rules.plan import HoleError, NoSnapshotError
from tidegate.sync.rules.replica import Replica, ReplicaEventKind
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.leaf_client import LeafHubClient
from tidegate.sync.shells.outbox import SiteOutbox
from tidegate.sync.signing import SignatureVerifier, Signer, UntrustedOperationError
from tidegate.sync.store import ReplicaStore

SUSPICION_S = 3.0
"""So long a log has to end before what was applied here until the hub is taken to have lost it."""
MOST_COMPARISONS = 6


class CollectionTakenError(TidegateError):
    """The hub has a collection of a name that this site uses for documents of its own."""

    hint = "give one of the two another name; what is the site's own stays where it is"


class SiteTenant:
    """One tenant at a site."""

    def __init__(
        self, name: str, store: ReplicaStore, hub: LeafHubClient, signing: tuple[Signer, SignatureVerifier],
        outbox: SiteOutbox, code_version: str = "",
    ) -> None:  # fmt: skip
        signer, verifier = signing
        self.name = name
        self.store = store
        self.author = Author(store, signer)
        self.outbox = outbox
        self.follower = Follower(store, hub, verifier, code_version)
        self.repairer = Repairer(store, hub, verifier, code_version)
        self.look: Callable[[], None] = lambda: None
        """Called whenever documents may have changed."""
        self.refresh_trust: Callable[[], Awaitable[None]] = _do_nothing
        """Called where an operation is not signed by a key that is known here."""
        self._hub = hub
        self._locks: dict[str, asyncio.Lock] = {}
        self._suspected_at_s: dict[str, float] = {}

    def report(self) -> FollowRequest:
        """What the hub is told when it is asked what there is to hold."""
        with self.store.reading() as reader:
            records = [reader.record(name) for name in reader.collections()]
            actor, pending = reader.own().actor, reader.count_sent("EDITS")
        positions = {each.collection.name: each.replica.position for each in records if _is_shared(each.collection)}
        return FollowRequest(tenant=self.name, actor=actor, positions=positions, pending=pending)

    def learn(self, reply: FollowReply, has_lease: bool, faults: Faults) -> None:
        """Have the collections that the hub says, under its rules, and nothing any more of those that it withdrew."""
        with self.store.writing() as writer:
            known = {name: writer.record(name) for name in writer.collections()}
            for rule in reply.collections:
                record = known.get(rule.name)
                about = f"{self.name}/{rule.name}"
                if record is not None and record.collection.owner != rule.owner:
                    reason = f"{rule.name} is {record.collection.owner} here, and {rule.owner} at the hub"
                    faults.note(about, CollectionTakenError(reason), "rule")
                    continue
                faults.clear(about, "rule")
                if record is None or record.collection != rule:
                    writer.put_collection(rule)
                if record is not None and record.replica.state == "revoked" and rule.owner == "shared":
                    again = Replica(generation=record.replica.generation)
                    writer.put_record(msgspec.structs.replace(writer.record(rule.name), replica=again))
            for name in reply.withdrawn:
                if name in known and _is_shared(known[name].collection) and known[name].replica.state != "revoked":
                    writer.withdraw(name)
        self.note_lease(has_lease)
        self.look()

    def note_lease(self, has_lease: bool) -> None:
        """Have the replicas know whether the site has a lease."""
        for name in self.shared():
            replica = self.store.record(name).replica
            if replica.has_lease != has_lease and replica.state != "revoked":
                self.follower.note(name, "lease-granted" if has_lease else "lease-expired")

    def note_all(self, kind: ReplicaEventKind) -> None:
        """Have all replicas know of an event: that the site was revoked, or its author readmitted."""
        for name in self.shared():
            self.follower.note(name, kind)

    def behind(self, heads: Sequence[CollectionHead]) -> tuple[str, ...]:
        """The collections that have something to fetch, by the heads of their logs."""
        found = []
        for head in heads:
            if head.collection not in self.shared():
                continue
            replica = self.store.record(head.collection).replica
            if replica.position != head.position or replica.state != "following":
                found.append(head.collection)
        return tuple(found)

    async def follow(self, collection: str) -> None:
        """Come to the end of the log. Raises what `Follower.follow` raises; `RetryLaterError` where the log seems to
        end before what was applied, until that lasts."""
        async with self._alone(collection):
            await self._follow(collection)

    async def receive(self, collection: str, deltas: Sequence[CollectionDelta]) -> None:
        """Apply deltas that arrived, and fetch what is missing before them. Raises what `follow` raises."""
        async with self._alone(collection):
            record = self.store.record(collection)
            replica = record.replica
            if replica.state in ("fenced", "revoked") or not _is_shared(record.collection):
                return  # also where the hub has one of the same name as one that is this site's own
            new = [each for each in deltas if replica.position is None or each.position > replica.position]
            if not new:
                return
            try:
                await asyncio.to_thread(self.follower.receive, collection, new)
            except (HoleError, NoSnapshotError, ReplicaHeldError, UntrustedOperationError):
                await self._follow(collection)

    async def compare(self, collection: str) -> RepairReport:
        """Compare with the hub, and repair what differs. Raises what `Repairer.repair` and `follow` raise."""
        is_resynced = False

        async def repair(collection: str) -> RepairReport:
            nonlocal is_resynced
            snapshot = None if is_resynced else await self._hub.snapshot(collection)
            try:
                return await self.repairer.repair(collection, snapshot)
            except ResyncCheaperError:
                is_resynced = True  # what differs still, with the snapshot joined, is what the hub does not have
                raise

        return await self._at_rest(collection, repair)

    async def examine(self, collection: str) -> RepairReport:
        """Compare with the hub, and change nothing. Raises what `Repairer.examine` and `follow` raise."""
        return await self._at_rest(collection, self.repairer.examine)

    async def scrub(self, collection: str) -> tuple[str, ...]:
        """Read every document back from the disk: see `ReplicaStore.scrub`."""
        async with self._alone(collection):
            return await asyncio.to_thread(self.store.scrub, collection)

    async def write(
        self, collection: str, documents: Mapping[str, DocumentContent | None], now_ms: int
    ) -> tuple[Version, ...]:
        """Write as the site. Raises what `Author.write_all` raises."""
        async with self._alone(collection):
            return await asyncio.to_thread(self.author.write_all, collection, documents, now_ms)

    def shared(self) -> tuple[str, ...]:
        """The collections that follow the hub."""
        return tuple(name for name, rule in self.collections().items() if _is_shared(rule))

    def collections(self) -> dict[str, Collection]:
        """All collections with their rules."""
        with self.store.reading() as reader:
            return {name: reader.record(name).collection for name in reader.collections()}

    async def _at_rest(self, collection: str, ask: Callable[[str], Awaitable[RepairReport]]) -> RepairReport:
        """Ask while both sides are at the end of the log: again where it went on meanwhile."""
        for attempt in range(MOST_COMPARISONS):
            try:
                async with self._alone(collection):
                    await self._follow(collection)
                    return await ask(collection)
            except (ComparisonMovedError, RetryLaterError, ResyncCheaperError):
                if attempt == MOST_COMPARISONS - 1:
                    raise
            await asyncio.sleep(random.uniform(0.0, 0.1 * 2**attempt))  # nobody waits for it meanwhile
        raise AssertionError("the last attempt returns or raises")

    async def _follow(self, collection: str) -> None:
        position = self.store.record(collection).replica.position
        if position is not None and (await self._hub.head(collection)).position < position:
            since_s = self._suspected_at_s.setdefault(collection, time.monotonic())
            if time.monotonic() - since_s < SUSPICION_S:
                raise RetryLaterError(f"{collection}: the hub's log seems to end before {position}", after_s=1.0)
        self._suspected_at_s.pop(collection, None)
        try:
            await self.follower.follow(collection)
        except UntrustedOperationError:
            await self.refresh_trust()
            with self._hub.bypassing_mirror():  # what it holds may be damaged, and the hub's own is not
                await self.follower.follow(collection)

    @asynccontextmanager
    async def _alone(self, collection: str) -> AsyncIterator[None]:
        """One at a time for a collection; afterwards it is looked at for changes."""
        async with self._locks.setdefault(collection, asyncio.Lock()):
            try:
                yield
            finally:
                self.look()


def _is_shared(collection: Collection) -> bool:
    return collection.owner == "shared"


async def _do_nothing() -> None:
    """There is nowhere to get keys from."""
