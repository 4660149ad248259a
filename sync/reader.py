"""Reads one state of a store: replicas, documents, the tree, the outbox, and what changed since a generation.

Nothing here costs more than what it returns, but for `documents` and `digests`, which read all. Next: writer.py, and
changes.py, which an index follows by."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from tidegate.schemas.comparison import RangeDigests
from tidegate.schemas.errors import TidegateError, UnreadableError
from tidegate.schemas.message import decoder_of
from tidegate.schemas.replication import HeldDocument
from tidegate.schemas.subjects import HUB
from tidegate.schemas.sync import AuthorMark, ReplicaPosition, SignedOperation
from tidegate.sync.records import (
    NOT_HELD,
    DocumentDamagedError,
    Held,
    OwnState,
    ReplicaRecord,
    held_of,
    unpack_document,
)
from tidegate.sync.rules.merkle import ABSENT, DEPTH, EMPTY, EMPTY_TREE, FAN_OUT, NODE_BYTES, Node, in_detail
from tidegate.sync.rules.ownership import OperationStream

SHARED_STREAMS: tuple[OperationStream, ...] = ("EDITS", "CORPUS")
"""The streams of operations that the hub's log is to have."""


_read_own, _read_record = decoder_of(OwnState), decoder_of(ReplicaRecord)
_read_mark, _read_operation = decoder_of(AuthorMark), decoder_of(SignedOperation)


class CollectionUnknownError(TidegateError):
    """This store has no such collection."""

    hint = "publish the collection at the hub; a site learns of it with its next lease"


class Pending(NamedTuple):
    """An operation of this author that is not known to be in the hub's log."""

    sequence: int
    stream: OperationStream
    collection: str
    operation: SignedOperation


class StoreReader:
    """One state of a store, as of one moment; valid inside of the block that it was given for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection

    def own(self) -> OwnState:
        """Who writes here. Every store has it, from when it is made."""
        [(state,)] = self._sql.execute("SELECT state FROM own")
        return _read_own(state)

    def collections(self) -> tuple[str, ...]:
        """The names of the collections, sorted."""
        return tuple(name for (name,) in self._sql.execute("SELECT collection FROM replicas ORDER BY collection"))

    def record(self, collection: str) -> ReplicaRecord:
        """The state of a collection's replica. Raises `CollectionUnknownError`."""
        row = self._sql.execute("SELECT record FROM replicas WHERE collection = ?", (collection,)).fetchone()
        if row is None:
            raise CollectionUnknownError(f"{collection} is not a collection of this store")
        return _read_record(row[0])

    def position(self, collection: str) -> ReplicaPosition:
        """How far the replica is, for plan.py and for the hub."""
        record = self.record(collection)
        return ReplicaPosition(
            tenant=record.collection.tenant,
            collection=collection,
            position=record.replica.position,
            last=record.last,
            checksum=record.checksum.digest,
            floor=record.floor,
            authors=self.marks(collection),
        )

    def marks(self, scope: str) -> dict[str, AuthorMark]:
        """The last known operation of each actor, in a collection or in a stream."""
        rows = self._sql.execute("SELECT actor, mark FROM marks WHERE scope = ? ORDER BY actor", (scope,))
        return {actor: _read_mark(mark) for actor, mark in rows}

    def mark(self, scope: str, actor: str) -> AuthorMark | None:
        """The last known operation of one actor."""
        row = self._sql.execute("SELECT mark FROM marks WHERE scope = ? AND actor = ?", (scope, actor)).fetchone()
        return row and _read_mark(row[0])

    def fence(self, actor: str) -> str:
        """Why nothing more of the actor is relayed; empty: it may write."""
        row = self._sql.execute("SELECT reason FROM fences WHERE actor = ?", (actor,)).fetchone()
        return row[0] if row else ""

    def held(self, collection: str, document_id: str) -> Held:
        """What is held of a document, nothing included. Raises `DocumentDamagedError`."""
        row = self._sql.execute(
            "SELECT content, checksum FROM documents WHERE collection = ? AND document_id = ?",
            (collection, document_id),
        ).fetchone()
        return held_of(unpack_document(row[0], row[1], document_id)) if row else NOT_HELD

    def held_whole(self, collection: str, document_id: str) -> Held:
        """What is held of a document that is to be edited. Raises `DocumentDamagedError` also while a damage is not
        repaired: what it lacks would be covered by the edit's context unseen, where it is of the same author."""
        if document_id in self.damages(collection):
            raise DocumentDamagedError(f"{document_id} was damaged, and is not repaired yet")
        return self.held(collection, document_id)

    def digest_of(self, collection: str, document_id: str) -> bytes | None:
        """The digest of what is held of a document, as the tree has it; None: nothing is."""
        row = self._sql.execute(
            "SELECT digest FROM documents WHERE collection = ? AND document_id = ?", (collection, document_id)
        ).fetchone()
        return row[0] if row else None

    def documents(self, collection: str) -> Iterator[HeldDocument]:
        """Every document, tombstones too, in the order of the tree. Raises `DocumentDamagedError`."""
        for document_id, content, checksum in self._sql.execute(
            "SELECT document_id, content, checksum FROM documents WHERE collection = ? ORDER BY key, document_id",
            (collection,),
        ):
            yield unpack_document(content, checksum, document_id)

    def suspects(self, collection: str) -> tuple[str, ...]:
        """The documents whose bytes on the disk are not those that the tree was made from. Reads all of them."""
        rows = self._sql.execute(
            "SELECT document_id, digest, content, checksum FROM documents WHERE collection = ?", (collection,)
        )
        return tuple(row[0] for row in rows if digest_on_disk(row[0], row[2], row[3])[0] != row[1])

    def damages(self, collection: str) -> frozenset[str]:
        """The documents that the disk did not give back as they were stored, and that are not repaired yet."""
        rows = self._sql.execute("SELECT document_id FROM damages WHERE collection = ?", (collection,))
        return frozenset(document_id for (document_id,) in rows)

    def digests(self, collection: str) -> dict[str, bytes]:
        """The digest of every document, as the tree has it."""
        rows = self._sql.execute("SELECT document_id, digest FROM documents WHERE collection = ?", (collection,))
        return dict(rows.fetchall())

    def chunk_digests(self, collection: str) -> frozenset[str]:
        """The digests of the verified chunks of a snapshot that is being fetched."""
        rows = self._sql.execute("SELECT digest FROM chunks WHERE collection = ?", (collection,))
        return frozenset(digest for (digest,) in rows)

    def chunk(self, collection: str, digest: str) -> bytes:
        """A chunk that is stored. Raises `ValueError` where it is not."""
        [(data,)] = self._sql.execute(
            "SELECT data FROM chunks WHERE collection = ? AND digest = ?", (collection, digest)
        ).fetchall()
        return bytes(data)

    def tree(self, collection: str, ranges: Iterable[str] = ("",)) -> Node:
        """The tree, loaded as deep as these ranges in detail need it: with one level below each of them."""
        wanted = set(ranges)
        prefixes = {each[:length] for each in wanted for length in range(len(each) + 1)}
        return self._node(collection, "", self._root_digest(collection), prefixes)

    def in_detail(self, collection: str, ranges: Iterable[str]) -> tuple[RangeDigests, ...]:
        """The answer to a request for ranges. Raises `RangeUnknownError`."""
        asked = tuple(ranges)
        return in_detail(self.tree(collection, (each[:DEPTH] for each in asked)), asked)

    def pending(
        self, limit: int = 1000, streams: Sequence[OperationStream] = SHARED_STREAMS, after: int = 0
    ) -> tuple[Pending, ...]:
        """The first operations of the outbox that are for these streams, in the order in which they were written, from
        behind the number `after` in the outbox on; `limit` -1: all of them."""
        rows = self._sql.execute(
            "SELECT sequence, stream, collection, operation FROM outbox"
            f" WHERE sequence > ? AND stream IN ({', '.join('?' * len(streams))}) ORDER BY sequence LIMIT ?",
            (after, *streams, limit),
        )
        return tuple(
            Pending(sequence, stream, collection, _read_operation(operation))
            for sequence, stream, collection, operation in rows
        )

    def count_sent(self, stream: OperationStream) -> int:
        """How many operations for a stream are not known to be in the hub's log."""
        row = self._sql.execute("SELECT count(*) FROM outbox WHERE stream = ?", (stream,)).fetchone()
        return int(row[0])

    def count_pending(self, collection: str) -> int:
        """How many operations on a collection are not known to be in the hub's log."""
        row = self._sql.execute(
            "SELECT count(*) FROM outbox WHERE collection = ? AND stream != 'LOCAL'", (collection,)
        ).fetchone()
        return int(row[0])

    def pending_documents(self, collection: str) -> frozenset[str]:
        """The documents of a collection whose last own edits are not known to be in the hub's log."""
        rows = self._sql.execute(
            "SELECT DISTINCT document_id FROM outbox WHERE collection = ? AND stream != 'LOCAL'", (collection,)
        )
        return frozenset(document_id for (document_id,) in rows)

    def is_served(self, collection: str) -> bool:
        """Whether readers get what is held: a collection that is read from the hub has to be whole once."""
        record = self.record(collection)
        is_hub = record.collection.owner != "shared" or self.own().domain == HUB
        return is_hub or record.replica.generation > 0

    def digests_since(self, collection: str, generation: int) -> dict[str, bytes]:
        """The digest of every document that changed after `generation`."""
        rows = self._sql.execute(
            "SELECT document_id, digest FROM documents WHERE collection = ? AND generation > ?",
            (collection, generation),
        )
        return dict(rows.fetchall())

    def packed_parts(self, collection: str, range: str) -> bytes:
        """The digests of the parts of an inner range behind each other; `ABSENT` for each that holds nothing."""
        row = self._sql.execute(
            "SELECT parts FROM ranges WHERE collection = ? AND range = ?", (collection, range)
        ).fetchone()
        return row[0] if row else ABSENT * FAN_OUT

    def parts(self, collection: str, range: str) -> list[bytes]:
        """The digests of the parts of an inner range; `EMPTY` for each that holds nothing."""
        packed = self.packed_parts(collection, range)
        cut = (packed[start : start + NODE_BYTES] for start in range_starts())
        return [EMPTY if each == ABSENT else each for each in cut]

    def leaf_documents(self, collection: str, key: str) -> dict[str, bytes]:
        """The digests of the documents of a smallest range."""
        rows = self._sql.execute(
            "SELECT document_id, digest FROM documents WHERE collection = ? AND key = ?", (collection, key)
        )
        return dict(rows.fetchall())

    def _root_digest(self, collection: str) -> bytes:
        row = self._sql.execute(
            "SELECT parts FROM ranges WHERE collection = ? AND range = 'root'", (collection,)
        ).fetchone()
        return row[0] if row else EMPTY

    def _node(self, collection: str, key: str, digest: bytes, wanted: set[str]) -> Node:
        if not digest:
            return EMPTY_TREE
        if key not in wanted:
            return Node(digest)
        if len(key) == DEPTH:
            return Node(digest, (), self.leaf_documents(collection, key))
        parts = enumerate(self.parts(collection, key))
        return Node(digest, tuple(self._node(collection, f"{key}{part:x}", each, wanted) for part, each in parts))


def digest_on_disk(document_id: str, content: bytes, checksum: bytes) -> tuple[bytes, bool]:
    """The digest of what is really stored of a document, and whether it is damaged: then one that nobody else has."""
    try:
        return held_of(unpack_document(content, checksum, document_id)).siblings.digest, False
    except (DocumentDamagedError, UnreadableError):
        return sha256(b"damaged" + content).digest(), True


def range_starts() -> range:
    """Where each part's digest begins in the bytes of an inner range."""
    return range(0, NODE_BYTES * FAN_OUT, NODE_BYTES)
