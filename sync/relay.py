"""The hub's part: takes operations in each author's order, judges them, and appends them to the log of a collection.

An operation is in the log once, at an index without gaps, before its author is told so; an author with two histories is
fenced. Next: snapshots.py, what an empty site begins with; rules/counters.py."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from tidegate.schemas.clocks import VectorClock, author_of
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.replication import HeldDocuments, RelayOutcome, RelayReceipt
from tidegate.schemas.sync import AuthorMark, CollectionDelta, LogPosition, SignedOperation
from tidegate.sync.apply import CHAIN, apply_version, checked_version, extend_chain, put_position
from tidegate.sync.forgetting import forget_tombstones
from tidegate.sync.judging import ChainJudge
from tidegate.sync.reader import StoreReader
from tidegate.sync.records import held_of
from tidegate.sync.rules.clock import NOTHING, covers
from tidegate.sync.rules.merge import Version, version_of
from tidegate.sync.rules.ownership import check_relay
from tidegate.sync.signing import SignatureVerifier, check_signature
from tidegate.sync.store import ReplicaStore

MOST_ATTEMPTS = 8
PART = 100
"""So many operations are stored at once, and applied at once while the next ones are stored."""
Run = tuple[str, Sequence[SignedOperation]]
"""Operations that go into the log of one collection behind each other."""


class LogConflictError(TidegateError):
    """The log of a collection does not end where the relay thought: another relay wrote, or an earlier life of this."""

    hint = "nothing needs doing: the log is read to its end, and the operation is tried again"


class LogWriter(Protocol):
    """The log of each collection of a tenant: what the hub alone writes."""

    async def append(self, deltas: Sequence[CollectionDelta]) -> None:
        """Store deltas of one collection behind each other, or the first of them, and return when all are stored.

        The first is stored only where the log ends just before it: at the index before it, or in an earlier epoch if
        its index is 1. Raises `LogConflictError` otherwise, `TimeoutError` where it is not known what is stored.
        """

    async def read(self, collection: str, after: LogPosition, limit: int) -> tuple[CollectionDelta, ...]:
        """The deltas behind a position, in order, of its epoch and of later ones; at most `limit`."""


class _Applying:
    """One thing that is done in a thread meanwhile; left when it has ended, whatever else failed or was cancelled."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])  # a thread cannot be cancelled, and holds the store
            self._task.exception()  # what failed beside it is raised; this comes again when the log is read

    def begin(self, work: Callable[[], None]) -> None:
        """Do it. The one before has ended."""
        self._task = asyncio.create_task(asyncio.to_thread(work))

    async def end(self) -> None:
        """Return when it is done, if there is one. Raises what it raised."""
        if self._task is not None:
            await asyncio.shield(self._task)
            self._task = None


class Relay:
    """Writes the logs of one tenant. `ahead_ms`: an operation from further ahead of the hub's time has to wait."""

    def __init__(
        self, store: ReplicaStore, log: LogWriter, verifier: SignatureVerifier, ahead_ms: int = 60_000
    ) -> None:
        self._store = store
        self._log = log
        self._verifier = verifier
        self._judge = ChainJudge(verifier, ahead_ms)
        self._lock = asyncio.Lock()  # one batch at a time: the index of the next delta depends on the one before

    async def recover(self) -> int:
        """Apply what the log has and the store has not, after a crash or a restored backup; how many deltas it was.

        To be called before anything else. The log, written first, is the truth where the two differ.
        """
        async with self._lock:
            with self._store.reading() as reader:
                names = reader.collections()
            return sum([await self._recover(name) for name in names])

    async def take(self, site: str, operations: Sequence[SignedOperation], now_ms: int) -> RelayReceipt:
        """Relay operations that came from a site (or from the hub itself), in the order of its chain, all of one actor.

        Each that is `relayed` or `known` is in the log and on this disk when this returns. The first that is neither
        ends the batch: a `hole` (send from the mark on), `ahead` (send it later), `refused`, `fenced`.
        """
        async with self._lock:
            return await self._take(site, [version_of(each) for each in operations], operations, now_ms)

    async def take_own(self, now_ms: int) -> int:
        """Relay what the hub itself wrote; how many operations it was."""
        taken = 0
        while True:
            with self._store.reading() as reader:
                entries = reader.pending(500, ("CORPUS",))
            if not entries:
                return taken
            receipt = await self.take(self._store.domain, [entry.operation for entry in entries], now_ms)
            with self._store.writing() as writer:
                writer.clear_pending(entries[: receipt.taken])
            taken += receipt.taken
            if receipt.taken < len(entries):
                raise LogConflictError(f"the hub's own operation is {receipt.outcome}: {receipt.reason}")

    async def absorb(self, offered: HeldDocuments, now_ms: int) -> int:
        """Relay what a site still holds and this hub has lost: operations that were relayed before its log was.

        They are signed by their authors, whoever offers them, and known ones change nothing. Raises
        `UntrustedOperationError`, `NotOwnedError`; nothing is relayed then.
        """
        async with self._lock:
            lost: list[tuple[Version, SignedOperation]] = []
            with self._store.reading() as reader:
                record = reader.record(offered.collection)
                collection = record.collection
                floor = NOTHING if _is_of_epoch(offered.position, record.replica.position) else record.floor
                for document in offered.documents:
                    for signed in held_of(document).signed.values():
                        version = version_of(signed)
                        check_signature(self._verifier, version.operation, signed)
                        check_relay(collection, version.operation, version.operation.author)
                        if not _is_known(reader, version, floor):
                            lost.append((version, signed))
            lost.sort(key=lambda each: each[0].operation.dot)
            return await self._append_runs([(offered.collection, [signed for _, signed in lost])], now_ms)

    async def begin_epoch(self, collection: str, above: int, stable: VectorClock = NOTHING) -> LogPosition:
        """Go on with an empty log, in an epoch that no site knows: `above` is the last one that any reported.

        All that is held stays, but for the tombstones of what every replica has applied (`stable`); sites join the
        snapshot that has to be written next. Reads every document where `stable` is given.
        """
        async with self._lock:
            with self._store.writing() as writer:
                record = writer.record(collection)
                epoch = max(above, record.replica.position.epoch if record.replica.position else 0) + 1
                put_position(writer, collection, LogPosition(epoch), record.last)
                if stable != NOTHING:
                    forget_tombstones(writer, collection, stable)
            return LogPosition(epoch)

    async def rest(self) -> None:
        """Return when nothing is on its way into the log that the store has not: until the caller awaits again, what
        the store holds is all that the log does."""
        async with self._lock:
            return

    def grant_incarnation(self, site: str) -> int:
        """An incarnation that the site never had, for a new disk or a fenced author."""
        with self._store.writing() as writer:
            known = [int(actor.partition("@")[2]) for actor in writer.marks(CHAIN) if author_of(actor) == site]
            above = max(known, default=1)
            return writer.next_incarnation(site, above)

    def mark_of(self, actor: str) -> AuthorMark | None:
        """The last operation of an actor that is in the log."""
        with self._store.reading() as reader:
            return reader.mark(CHAIN, actor)

    async def _take(
        self, site: str, versions: list[Version], operations: Sequence[SignedOperation], now_ms: int
    ) -> RelayReceipt:
        if not versions:
            raise ValueError("there is nothing to relay")
        actor, relayed = versions[0].operation.dot.actor, 0
        for attempt in range(MOST_ATTEMPTS):
            with self._store.reading() as reader:
                judged = self._judge.judge(reader, site, list(zip(versions, operations, strict=True)), now_ms)
            try:
                relayed += await self._append_runs(judged.runs, now_ms)
                break
            except LogConflictError:
                if attempt == MOST_ATTEMPTS - 1:
                    raise
        if judged.outcome == "fenced":
            with self._store.writing() as writer:
                writer.put_fence(actor, judged.reason)
        outcome: RelayOutcome = "relayed" if judged.outcome == "known" and relayed else judged.outcome
        return RelayReceipt(
            actor=actor, outcome=outcome, taken=judged.taken, reason=judged.reason, mark=self.mark_of(actor)
        )

    async def _append_runs(self, runs: Sequence[Run], now_ms: int) -> int:
        """Append in the order of the chain across collections: a crash in between leaves the first operations of it
        only. While the log stores one part, the one before it is applied here; both have ended when this does.

        What is stored and was not applied, where this raises, is applied once the log is read again.
        """
        applying = _Applying()
        ends: dict[str, LogPosition] = {}
        async with applying:
            for collection, operations in _parts_of(runs):
                deltas = self._number(collection, operations, ends, now_ms)
                try:
                    await self._log.append(deltas)
                except LogConflictError:
                    await applying.end()
                    await self._recover(collection)
                    raise
                await applying.end()
                applying.begin(functools.partial(self._apply, collection, deltas))
            await applying.end()
        return sum(len(operations) for _, operations in runs)

    def _number(
        self, collection: str, operations: Sequence[SignedOperation], ends: dict[str, LogPosition], now_ms: int
    ) -> list[CollectionDelta]:
        """The entries of the log that operations become. `ends` is where logs end whose last entries are not applied
        yet, and is moved on."""
        record = self._store.record(collection)
        end = ends.get(collection) or record.replica.position or LogPosition(1)
        ends[collection] = LogPosition(end.epoch, end.index + len(operations))
        return [
            CollectionDelta(
                tenant=record.collection.tenant,
                collection=collection,
                position=LogPosition(end.epoch, index),
                operation=signed,
                relayed_at_ms=now_ms,
            )
            for index, signed in enumerate(operations, end.index + 1)
        ]

    def _apply(self, collection: str, deltas: Sequence[CollectionDelta]) -> None:
        with self._store.writing() as writer:
            for delta in deltas:
                version = checked_version(self._verifier, delta)
                own, dot = writer.own(), version.operation.dot
                if dot.actor == own.actor and dot.counter > own.counter:  # this disk is older than the log
                    writer.put_own(msgspec.structs.replace(own, is_fenced=True))
                apply_version(writer, delta, version)
                extend_chain(writer, version)
            put_position(writer, collection, deltas[-1].position, version.digest)

    async def _recover(self, collection: str) -> int:
        applied = 0
        while True:
            position = self._store.record(collection).replica.position or LogPosition(1)
            deltas = await self._log.read(collection, position, 500)
            if not deltas:
                return applied
            self._apply(collection, deltas)
            applied += len(deltas)


def _parts_of(runs: Sequence[Run]) -> Iterator[Run]:
    for collection, operations in runs:
        for first in range(0, len(operations), PART):
            yield collection, operations[first : first + PART]


def _is_known(reader: StoreReader, version: Version, floor: VectorClock) -> bool:
    operation = version.operation
    clock = reader.held(operation.collection, operation.document_id).siblings.clock
    return covers(clock, operation.dot) or covers(floor, operation.dot)


def _is_of_epoch(offered: LogPosition | None, held: LogPosition | None) -> bool:
    """Whether a replica has forgotten what the hub has: whatever else it holds, the hub has lost."""
    return offered is not None and held is not None and offered.epoch == held.epoch
