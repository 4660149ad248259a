"""Writes documents at a site or at the hub: an edit becomes a signed operation, stored and applied in one step.

What was written is in the outbox until its stream, or the hub's log, is known to have it; an author whose history is
two writes no more until it is readmitted. Next: relay.py, which takes operations; rules/counters.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tidegate.schemas.clocks import Dot, HybridTime, VectorClock
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import encode
from tidegate.schemas.sync import (
    AuthorMark,
    Collection,
    DocumentContent,
    DocumentOperation,
    FieldStamp,
    SignedOperation,
)
from tidegate.sync.reader import Pending
from tidegate.sync.records import OwnState
from tidegate.sync.rules.clock import clock_from, clock_of, covers, merge, next_time
from tidegate.sync.rules.counters import CounterWentBackError, OwnCounter, judge, next_counter, observe
from tidegate.sync.rules.merge import Siblings, Version, context_of_edit, version_of
from tidegate.sync.rules.ownership import OperationStream, stream_of_edit
from tidegate.sync.rules.resolve import resolve, stamp_edit
from tidegate.sync.signing import Signer
from tidegate.sync.store import ReplicaStore
from tidegate.sync.writer import StoreWriter

MOST_PAYLOAD_BYTES = 1_000_000
"""A signed operation and the headers of its message fit the 1 MiB that a server takes."""


class DocumentTooLargeError(TidegateError):
    """A document, with its vectors, does not fit one message."""

    hint = "split the document, or store its vectors elsewhere under their digest"


class AuthorFencedError(TidegateError):
    """This disk is a restored backup or a clone: what it writes could not be told from what was written before."""

    hint = "`tidegate site add` provisions the site anew; edits that were not relayed are written again then"


class Author:
    """Writes as the domain of a store. The hub's `mark` of it, where it is known, guards against an older disk."""

    def __init__(self, store: ReplicaStore, signer: Signer, most_bytes: int = MOST_PAYLOAD_BYTES) -> None:
        self._store = store
        self._signer = signer
        self._most_bytes = most_bytes
        self._mark: AuthorMark | None = None

    def learn(self, mark: AuthorMark | None) -> None:
        """Hear from the hub which operation of this author it knows as the last; see `counters.next_counter`."""
        self._mark = mark

    def write(self, collection: str, document_id: str, content: DocumentContent, now_ms: int) -> Version:
        """Replace all that is held of a document by `content`; its `stamps` are made here.

        Raises `NotOwnedError`, `DocumentTooLargeError`, `AuthorFencedError`, `CollectionUnknownError`, and
        `DocumentDamagedError` until the document is repaired; nothing is stored then. `CounterWentBackError` where the
        hub knows more of this author than it itself: it is fenced.
        """
        return self._write(collection, {document_id: content}, now_ms)[0]

    def write_all(
        self, collection: str, documents: Mapping[str, DocumentContent | None], now_ms: int
    ) -> tuple[Version, ...]:
        """Write many documents, by id, in one transaction: all of them or none; None deletes, where there is something
        left to delete. Raises what `write` raises."""
        return self._write(collection, documents, now_ms)

    def delete(self, collection: str, document_id: str, now_ms: int) -> Version | None:
        """Delete a document; None where nothing of it is left to delete. Raises what `write` raises."""
        return next(iter(self._write(collection, {document_id: None}, now_ms)), None)

    def delete_again(self, collection: str, document_ids: Sequence[str], now_ms: int) -> tuple[Version, ...]:
        """Make tombstones of documents of which nothing is held. Raises what `write` raises."""
        with self._store.writing() as writer:
            floor = writer.record(collection).floor
            edits = [_Edit(collection, each, floor, None, None) for each in document_ids]
            return tuple(self._append(writer, edit, now_ms) for edit in edits)

    def fence(self) -> None:
        """Write no more: the hub, or the log, has another history of this author."""
        with self._store.writing() as writer:
            writer.put_own(msgspec.structs.replace(writer.own(), is_fenced=True))

    def readmit(self, incarnation: int, mark: AuthorMark | None, now_ms: int) -> tuple[Version, ...]:
        """Go on as another incarnation, which the hub granted: all of the outbox that it does not know is written anew.

        `mark` is what the hub has of the old one. What this disk wrote since its history became two is taken back
        from its documents, and from the contexts of the edits behind it: the dots mean others' operations there.
        Raises `AuthorFencedError` where the incarnation is not a later one.
        """
        with self._store.writing() as writer:
            own = writer.own()
            if incarnation <= own.incarnation:
                raise AuthorFencedError(f"{own.domain} was {own.incarnation}, and cannot become {incarnation}")
            entries = writer.pending(-1)
            unknown = _unknown(entries, own.actor, mark)
            _take_back(writer, own, unknown)
            boot = OwnState(domain=own.domain, incarnation=incarnation, boot_id=own.boot_id, time=own.time)
            writer.put_own(boot)
            writer.clear_pending(entries)
            return self._write_again(writer, own.actor, unknown, now_ms)

    def _write(
        self, collection: str, documents: Mapping[str, DocumentContent | None], now_ms: int
    ) -> tuple[Version, ...]:
        written: list[Version] = []
        try:
            with self._store.writing() as writer:
                floor = writer.record(collection).floor
                for document_id, content in documents.items():
                    siblings = writer.held_whole(collection, document_id).siblings
                    if content is None and siblings.is_deleted and len(siblings.versions) <= 1:
                        continue
                    context = context_of_edit(siblings, floor)
                    is_new = content is not None and siblings.is_deleted
                    edit = _Edit(collection, document_id, context, content, siblings, is_new)
                    written.append(self._append(writer, edit, now_ms))
        except CounterWentBackError:
            self.fence()
            raise
        return tuple(written)

    def _append(self, writer: StoreWriter, edit: _Edit, now_ms: int) -> Version:
        """Make, sign, store and apply the next operation."""
        collection, own = writer.record(edit.collection).collection, writer.own()
        if own.is_fenced:
            raise AuthorFencedError(f"{own.actor} is fenced")
        stream = stream_of_edit(collection, own.domain)
        stored = OwnCounter(boot_id=own.boot_id, counter=own.counter)
        dot = Dot(own.actor, next_counter(stored, self._mark))
        time = next_time(max([own.time, *_times(edit)]), now_ms)
        operation = DocumentOperation(
            tenant=collection.tenant,
            collection=collection.name,
            document_id=edit.document_id,
            dot=dot,
            boot_id=own.boot_id,
            context=edit.context,
            time=time,
            signer=self._signer.key_id,
            previous=own.previous.get(stream, ""),
            content=_stamped(collection, edit, FieldStamp(time, dot)),
            is_new=edit.is_new,
        )
        signed = self._sign(operation)
        return _store(writer, stream, own, signed)

    def _sign(self, operation: DocumentOperation) -> SignedOperation:
        payload = encode(operation)
        if len(payload) > self._most_bytes:
            raise DocumentTooLargeError(
                f"{operation.document_id} takes {len(payload)} bytes with its vectors, of {self._most_bytes}"
            )
        return SignedOperation(payload=payload, signature=self._signer.sign(payload))

    def _write_again(
        self, writer: StoreWriter, old_actor: str, unknown: list[Version], now_ms: int
    ) -> tuple[Version, ...]:
        """The same edits in the same order; each still replaces those before it that it knew of."""
        self._mark = None
        written: list[tuple[Dot, Version]] = []
        first = min((each.operation.dot.counter for each in unknown), default=0)
        for version in unknown:
            operation = version.operation
            known = clock_of(again.operation.dot for old, again in written if covers(operation.context, old))
            context = merge((without(operation.context, old_actor, first), known))
            content = _without_stamps(operation.content, old_actor, first)
            edit = _Edit(operation.collection, operation.document_id, context, content, None, operation.is_new)
            written.append((operation.dot, self._append(writer, edit, max(now_ms, operation.time.ms))))
        return tuple(again for _, again in written)


class _Edit(msgspec.Struct, frozen=True):
    collection: str
    document_id: str
    context: VectorClock
    content: DocumentContent | None
    siblings: Siblings | None
    """What it replaces; None: the content is written again, and has its stamps."""
    is_new: bool = False


def without(clock: VectorClock, actor: str, first: int) -> VectorClock:
    """The clock without the events of an actor from the `first` on."""
    return clock_from({each: min(counter, first - 1) if each == actor else counter for each, counter in clock.counters})


def _stamped(collection: Collection, edit: _Edit, stamp: FieldStamp) -> DocumentContent | None:
    if edit.content is None or edit.siblings is None or collection.merge != "field-merge":
        return edit.content
    previous = resolve(edit.siblings, collection.merge).content
    return stamp_edit(edit.content, previous, stamp)


def _times(edit: _Edit) -> list[HybridTime]:
    return [each.operation.time for each in edit.siblings.versions] if edit.siblings else []


def _without_stamps(content: DocumentContent | None, actor: str, first: int) -> DocumentContent | None:
    """Fields whose values are written again by their actor get the stamp of that."""
    if content is None:
        return None
    stamps = {
        name: stamp for name, stamp in content.stamps.items() if stamp.dot.actor != actor or stamp.dot.counter < first
    }
    return msgspec.structs.replace(content, stamps=stamps)


def _store(writer: StoreWriter, stream: OperationStream, own: OwnState, signed: SignedOperation) -> Version:
    version = version_of(signed)
    operation = version.operation
    writer.put_own(
        msgspec.structs.replace(
            own,
            counter=operation.dot.counter,
            time=max(own.time, operation.time),
            previous={**own.previous, stream: version.digest},
        )
    )
    mark = writer.mark(operation.collection, own.actor)
    writer.put_mark(operation.collection, own.actor, observe(mark, version, is_whole=False))
    writer.join(operation.collection, version, signed)
    writer.add_pending(stream, version, signed)
    return version


def _unknown(entries: tuple[Pending, ...], actor: str, mark: AuthorMark | None) -> list[Version]:
    """The operations that the hub does not know, in their order: from the first that is not a duplicate on."""
    versions = [version_of(entry.operation) for entry in entries]
    for number, version in enumerate(versions):
        if version.operation.dot.actor != actor or mark is None or judge(mark, version) != "duplicate":
            return versions[number:]
    return []


def _take_back(writer: StoreWriter, own: OwnState, unknown: list[Version]) -> None:
    """Have the documents be as if these had not been written, though what they replaced stays replaced."""
    first = min((version.operation.dot.counter for version in unknown), default=own.counter + 1)
    for collection, document_id in sorted(
        {(each.operation.collection, each.operation.document_id) for each in unknown}
    ):
        held = writer.held(collection, document_id)
        kept = [each for each in held.siblings.versions if not _is_from(each, own.actor, first)]
        context = without(held.siblings.context, own.actor, first)
        writer.put_held(collection, document_id, held.with_siblings(Siblings(context, tuple(kept)), {}))
    for scope in {version.operation.collection for version in unknown}:
        writer.put_mark(scope, own.actor, None)


def _is_from(version: Version, actor: str, first: int) -> bool:
    dot = version.operation.dot
    return dot.actor == actor and dot.counter >= first
