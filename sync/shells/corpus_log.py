"""The log of each collection in the stream CORPUS: written by the hub alone, read there and from the site's mirror.

An entry is stored only where the log ends just before it, at whatever speed they are sent; no reading costs what the
whole log holds. Next: log_marks.py, where entries are found; sync/relay.py, `LogWriter`."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import msgspec

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream.publisher import WRONG_LAST_ID, WRONG_LAST_SEQUENCE, NotStoredError
from tidegate.brokers.jetstream.stored import Entry, StoredStream
from tidegate.schemas.message import decode, encode
from tidegate.schemas.subjects import CORPUS, corpus
from tidegate.schemas.sync import CollectionDelta, LogPosition
from tidegate.sync.relay import LogConflictError
from tidegate.sync.rules.merge import version_of
from tidegate.sync.shells.log_marks import LogMarks

PAGE = 256
MOST_ROUNDS = 4
ABOUT_BYTES = 1024
"""What a delta is taken to have before any was seen."""


class LogTail(msgspec.Struct, frozen=True):
    """What can still be read of a log: entries from index `first` of the epoch on, about `bytes` in all."""

    first: int
    bytes: int


class CorpusLog:
    """The logs of one tenant's collections in the CORPUS of a domain; see `relay.LogWriter`. At the hub all tenants
    write by one `stream`, and nobody else does."""

    def __init__(self, stream: StoredStream, tenant: str) -> None:
        self._stream = stream
        self._tenant = tenant
        self._indexes: dict[str, LogMarks] = {}
        self._ends: dict[str, LogPosition | None] = {}
        self._sizes: dict[str, tuple[int, int]] = {}

    async def append(self, deltas: Sequence[CollectionDelta]) -> None:
        """See `LogWriter`. Raises `NotStoredError`, `UnreachableError` too."""
        collection, left = deltas[0].collection, list(deltas)
        async with self._stream.writing:
            try:
                for _ in range(MOST_ROUNDS):
                    left = await self._append(collection, left)
                    if not left:
                        return
            except BaseException:
                self._ends.pop(collection, None)
                raise
        raise LogConflictError(f"{collection}: another writer stores into {CORPUS} at the same time")

    async def read(self, collection: str, after: LogPosition, limit: int) -> tuple[CollectionDelta, ...]:
        """See `LogWriter`. Raises `UnreachableError`, `TopologyMissingError`."""
        return await self._read(collection, after, None, limit)

    async def deltas(self, collection: str, epoch: int, first: int, last: int) -> tuple[CollectionDelta, ...]:
        """The entries of an epoch from `first` to `last` that are here, up to the first hole. Raises as `read`."""
        limit = last - first + 1
        found = await self._read(collection, LogPosition(epoch, first - 1), LogPosition(epoch, last), limit)
        whole = [each for number, each in enumerate(found) if each.position == LogPosition(epoch, first + number)]
        return tuple(whole)

    async def of_document(self, collection: str, document_id: str) -> tuple[CollectionDelta, ...]:
        """All entries about one document that can be read. Raises as `read`."""
        subject, found, sequence = corpus(self._tenant, collection, document_id), list[CollectionDelta](), 0
        while page := await self._stream.first(subject, sequence, PAGE):
            found += [self._delta(stored) for stored in page]
            sequence = page[-1].sequence
        return tuple(found)

    async def end(self, collection: str) -> LogPosition | None:
        """The position of the last entry; None where nothing of it can be read (any more). Raises as `read`."""
        last = await self._stream.last(self._subject(collection))
        return decode(last.data, CollectionDelta).position if last else None

    async def tail(self, collection: str, position: LogPosition) -> LogTail:
        """What can be read of the log that ends at `position`. Raises as `read`."""
        page = await self._stream.first(self._subject(collection), 0, 1)
        if not page:
            return LogTail(position.index + 1, 0)
        oldest = self._delta(page[0]).position
        first = oldest.index if oldest.epoch == position.epoch else 1
        return LogTail(first, max(0, position.index - first + 1) * self._mean_bytes(collection))

    async def _append(self, collection: str, deltas: list[CollectionDelta]) -> list[CollectionDelta]:
        """Store them behind the end; returns those that are still to be stored. Raises `LogConflictError`."""
        if collection not in self._ends:
            self._ends[collection] = await self.end(collection)
        end, first = self._ends[collection], deltas[0].position
        if end is not None and not _is_next(first, end):
            raise LogConflictError(f"the log of {collection} ends at {end}, {first} was to be appended")
        sequences, fault = await self._stream.append([self._entry(delta) for delta in deltas])
        for delta, sequence in zip(deltas, sequences, strict=False):
            self._note(delta, sequence, len(delta.operation.payload))
        if fault is None:
            self._ends[collection] = deltas[-1].position
            return []
        left = await self._unstored(deltas)
        is_conflict = isinstance(fault, NotStoredError) and fault.err_code in (WRONG_LAST_ID, WRONG_LAST_SEQUENCE)
        if left and not is_conflict:
            raise fault
        self._ends.pop(collection, None)
        return left

    async def _unstored(self, deltas: list[CollectionDelta]) -> list[CollectionDelta]:
        """Those of the deltas that the log does not hold: an answer may have been lost, and a resending refused."""
        first = deltas[0].position
        there = await self.read(deltas[0].collection, LogPosition(first.epoch, first.index - 1), len(deltas))
        for number, delta in enumerate(deltas):
            if number >= len(there):
                return deltas[number:]
            if there[number] != delta:
                raise LogConflictError(f"the log of {delta.collection} holds something else at {delta.position}")
        return []

    async def _read(
        self, collection: str, after: LogPosition, upto: LogPosition | None, limit: int
    ) -> tuple[CollectionDelta, ...]:
        sequence = await self._seek(collection, after)
        found: list[CollectionDelta] = []
        while len(found) < limit:
            page = await self._stream.first(self._subject(collection), sequence, PAGE)
            deltas = [self._delta(stored) for stored in page]
            found += [each for each in deltas if each.position > after and (upto is None or each.position <= upto)]
            if len(page) < PAGE or (upto is not None and deltas[-1].position >= upto):
                break
            sequence = page[-1].sequence
        return tuple(found[:limit])

    async def _seek(self, collection: str, after: LogPosition) -> int:
        """A sequence behind which everything after a position is, and not much more."""
        index = self._indexes.setdefault(collection, LogMarks())
        known, low, high = index.around(after)
        if known.epoch == after.epoch and after.index - known.index <= PAGE:
            return low
        if not high:
            last = await self._stream.last(self._subject(collection))
            if last is None:
                return low
            position, high = self._delta(last).position, last.sequence
            if position <= after:
                return high
        while high - low > PAGE:
            middle = (low + high) // 2
            page = await self._stream.first(self._subject(collection), middle, 1)
            if not page or self._delta(page[0]).position > after:
                high = middle
            else:
                low = page[0].sequence
        return low

    def _entry(self, delta: CollectionDelta) -> Entry:
        operation = version_of(delta.operation).operation
        digest = sha256(delta.operation.payload).hexdigest()[:16]
        subject = corpus(self._tenant, delta.collection, operation.document_id)
        # With the digest: after the log was lost another operation may come at the same index, and is no duplicate.
        return Entry(subject, encode(delta), f"corpus.{self._tenant}.{delta.collection}.{delta.position}.{digest}")

    def _delta(self, stored: StoredMessage) -> CollectionDelta:
        delta = decode(stored.data, CollectionDelta)
        self._note(delta, stored.sequence, len(stored.data))
        return delta

    def _note(self, delta: CollectionDelta, sequence: int, size: int) -> None:
        self._indexes.setdefault(delta.collection, LogMarks()).note(delta.position, sequence)
        count, total = self._sizes.get(delta.collection, (0, 0))
        self._sizes[delta.collection] = (count + 1, total + size)

    def _mean_bytes(self, collection: str) -> int:
        count, total = self._sizes.get(collection, (0, 0))
        return total // count if count else ABOUT_BYTES

    def _subject(self, collection: str) -> str:
        return corpus(self._tenant, collection, ">")


def _is_next(position: LogPosition, end: LogPosition) -> bool:
    return position == LogPosition(end.epoch, end.index + 1) or (position.index == 1 and position.epoch > end.epoch)
