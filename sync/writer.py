"""Changes a store inside of one transaction: documents, positions, marks, the outbox; the tree follows at its end.

What one document costs does not depend on how many are held: its row, its smallest range, and one path of the tree.
Next: store.py, which opens the transaction; apply.py, what is done in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

import msgspec

from tidegate.schemas.clocks import VectorClock
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.replication import HeldDocument
from tidegate.schemas.sync import Collection, SignedOperation
from tidegate.sync.reader import CollectionUnknownError, Pending, digest_on_disk
from tidegate.sync.records import (
    NOT_HELD,
    DocumentDamagedError,
    Held,
    ReplicaRecord,
    document_of,
    pack_document,
)
from tidegate.sync.rules.clock import NOTHING, compare
from tidegate.sync.rules.merge import Version, join, rejoin
from tidegate.sync.rules.merkle import (
    ABSENT,
    DEPTH,
    NODE_BYTES,
    Node,
    build,
    checksum_of,
    inner_digest,
    key_of,
    leaf,
)
from tidegate.sync.rules.ownership import OperationStream
from tidegate.sync.rules.replica import Replica
from tidegate.sync.state_writer import StateWriter


class StoreWriter(StateWriter):
    """One transaction of a store. It reads what it wrote, but for the tree, which is written by `finish`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._changed: dict[str, set[str]] = {}
        self._advanced: set[str] = set()

    def put_collection(self, collection: Collection) -> None:
        """Add a collection, or change its rules; what is held of it stays."""
        try:
            record = self.record(collection.name)
        except CollectionUnknownError:
            record = ReplicaRecord(collection=collection)
        replica = msgspec.structs.replace(record.replica, is_sensitive=collection.is_sensitive)
        self.put_record(msgspec.structs.replace(record, collection=collection, replica=replica))

    def put_fence(self, actor: str, reason: str) -> None:
        """Relay nothing more of this actor. The first reason stays."""
        self._sql.execute("INSERT OR IGNORE INTO fences VALUES (?, ?)", (actor, reason))

    def next_incarnation(self, site: str, above: int = 0) -> int:
        """An incarnation that no author of this name had; above this one too."""
        row = self._sql.execute("SELECT incarnation FROM incarnations WHERE site = ?", (site,)).fetchone()
        incarnation = max(row[0] if row else 0, above) + 1
        self._sql.execute("INSERT OR REPLACE INTO incarnations VALUES (?, ?)", (site, incarnation))
        return incarnation

    def join(self, collection: str, version: Version, signed: SignedOperation) -> bool:
        """Join one version to what is held of its document; whether it changed anything. Raises `ForkedDotError`.

        A damaged document begins anew with it: what it lacks then, the next comparison finds.
        """
        document_id = version.operation.document_id
        before = self.held_or_damaged(collection, document_id)
        siblings = join(before.siblings, version)
        if siblings == before.siblings:
            return False
        self.put_held(collection, document_id, before.with_siblings(siblings, {version.digest: signed}))
        return True

    def reconcile(self, collection: str, document_id: str, theirs: Held, their_floor: VectorClock) -> bool:
        """Join what another replica holds of a document; whether it changed anything here. Raises `ForkedDotError`.

        What is damaged here is not joined, but replaced.
        """
        mine = self.held_or_damaged(collection, document_id)
        floor = self.record(collection).floor
        if compare(floor, their_floor) in ("before", "equal"):
            floor = NOTHING  # who forgot all that this replica forgot did not forget what it still holds
        siblings = rejoin(mine.siblings, theirs.siblings, floor, their_floor)
        if siblings == mine.siblings and mine is not NOT_HELD:
            return False
        self.put_held(collection, document_id, mine.with_siblings(siblings, theirs.signed))
        return True

    def held_or_damaged(self, collection: str, document_id: str) -> Held:
        """What is held of a document; where it is damaged nothing, and the damage is noted for the repair's report."""
        try:
            return self.held(collection, document_id)
        except (DocumentDamagedError, UnreadableError):
            self.note_damage(collection, document_id)
            return NOT_HELD

    def note_damage(self, collection: str, document_id: str) -> None:
        """Remember that the disk did not give back what was stored of a document."""
        self._sql.execute("INSERT OR IGNORE INTO damages VALUES (?, ?)", (collection, document_id))

    def clear_damage(self, collection: str) -> None:
        """Forget the damages that are repaired. Documents with own edits on their way were not compared yet."""
        self._sql.execute(
            "DELETE FROM damages WHERE collection = ? AND document_id NOT IN"
            " (SELECT document_id FROM outbox WHERE collection = ?)",
            (collection, collection),
        )

    def clear_damage_of(self, collection: str, document_id: str) -> None:
        """Forget the damage of one document, which was made again."""
        self._sql.execute("DELETE FROM damages WHERE collection = ? AND document_id = ?", (collection, document_id))

    def put_held(self, collection: str, document_id: str, held: Held) -> None:
        """Store what is held of a document, as it is given; with no version and nothing above the floor: no more."""
        record = self.record(collection)
        siblings = held.siblings
        is_gone = not siblings.versions and compare(siblings.clock, record.floor) in ("before", "equal")
        digest = None if is_gone else siblings.digest
        old = self.digest_of(collection, document_id)
        key = key_of(document_id)
        generation = self._next_generation(collection)
        if is_gone:
            self._sql.execute(
                "DELETE FROM documents WHERE collection = ? AND document_id = ?", (collection, document_id)
            )
            self.put_record(msgspec.structs.replace(self.record(collection), complete_from=generation))
        else:
            content, checksum = pack_document(document_of(document_id, held))
            row = (collection, document_id, key, digest, generation, content, checksum)
            self._sql.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._changed.setdefault(collection, set()).add(key)
        self.put_record(self.record(collection).with_checksum(record.checksum.replaced(document_id, old, digest)))

    def insert(self, collection: str, document: HeldDocument, digest: bytes) -> None:
        """Store a document of a collection that holds nothing yet; `rebuild` has to follow the last one."""
        content, checksum = pack_document(document)
        generation = self._next_generation(collection)
        key = key_of(document.document_id)
        row = (collection, document.document_id, key, digest, generation, content, checksum)
        self._sql.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def check(self, collection: str, document_id: str) -> bool:
        """Have the tree say what is really on the disk of a document, so that a comparison finds it; whether it is
        what was stored. A damage is noted."""
        row = self._sql.execute(
            "SELECT digest, content, checksum FROM documents WHERE collection = ? AND document_id = ?",
            (collection, document_id),
        ).fetchone()
        if row is None:
            return True
        digest, is_damaged = digest_on_disk(document_id, row[1], row[2])
        if is_damaged:
            self.note_damage(collection, document_id)
        self._sql.execute(
            "UPDATE documents SET digest = ? WHERE collection = ? AND document_id = ?",
            (digest, collection, document_id),
        )
        return bool(digest == row[0])

    def add_pending(self, stream: OperationStream, version: Version, signed: SignedOperation) -> None:
        """Put an own operation into the outbox."""
        operation = version.operation
        dot, row = operation.dot, (stream, operation.collection, operation.document_id)
        self._sql.execute(
            "INSERT INTO outbox (stream, collection, document_id, actor, counter, operation) VALUES (?, ?, ?, ?, ?, ?)",
            (*row, dot.actor, dot.counter, msgspec.msgpack.encode(signed)),
        )

    def drop_pending(self, actor: str, counters: Iterable[int]) -> None:
        """Take operations out of the outbox: the hub's log has them."""
        self._sql.executemany(
            "DELETE FROM outbox WHERE actor = ? AND counter = ?", ((actor, each) for each in counters)
        )

    def clear_pending(self, entries: Iterable[Pending]) -> None:
        """Take these operations out of the outbox, whatever they are."""
        self._sql.executemany("DELETE FROM outbox WHERE sequence = ?", ((entry.sequence,) for entry in entries))

    def put_chunk(self, collection: str, digest: str, data: bytes) -> None:
        """Keep a verified chunk of a snapshot until all of them are there."""
        self._sql.execute("INSERT OR REPLACE INTO chunks VALUES (?, ?, ?)", (collection, digest, data))

    def clear_chunks(self, collection: str) -> None:
        """Forget the chunks of a snapshot: it is installed, or another one is fetched."""
        self._sql.execute("DELETE FROM chunks WHERE collection = ?", (collection,))

    def rebuild(self, collection: str) -> None:
        """Make the tree and the checksum anew, from the digests of all documents: where they may be wrong."""
        self._sql.execute("DELETE FROM ranges WHERE collection = ?", (collection,))
        held = self.digests(collection)
        self._write_node(collection, "", build(held))
        self.put_record(self.record(collection).with_checksum(checksum_of(held)))
        self._changed.pop(collection, None)

    def withdraw(self, collection: str) -> None:
        """Hold nothing of a collection any more, which is no longer for this site: readers get that it is empty."""
        record = self.record(collection)
        for table in ("documents", "ranges", "chunks", "damages"):
            self._sql.execute(f"DELETE FROM {table} WHERE collection = ?", (collection,))
        self.clear_marks(collection)
        self._changed.pop(collection, None)
        replica = Replica(state="revoked", generation=max(1, record.replica.generation))
        generation = self._next_generation(collection)
        self.put_record(
            ReplicaRecord(
                collection=record.collection, replica=replica, generation=generation, complete_from=generation
            )
        )

    def finish(self) -> None:
        """Bring the tree up to date; the last step of every transaction."""
        for collection, keys in self._changed.items():
            self._update_tree(collection, keys)
        self._changed.clear()
        super().finish()

    def _next_generation(self, collection: str) -> int:
        """All that one transaction changes is one generation."""
        record = self.record(collection)
        if collection not in self._advanced:
            self._advanced.add(collection)
            self.put_record(msgspec.structs.replace(record, generation=record.generation + 1))
        return self.record(collection).generation

    def _update_tree(self, collection: str, keys: Iterable[str]) -> None:
        level = {key: leaf(self.leaf_documents(collection, key)).digest for key in keys}
        for length in range(DEPTH - 1, -1, -1):
            above: dict[str, dict[int, bytes]] = {}
            for key, digest in level.items():
                above.setdefault(key[:length], {})[int(key[length], 16)] = digest
            level = {key: self._update_parts(collection, key, digests) for key, digests in above.items()}
        self._put_root(collection, level[""])

    def _update_parts(self, collection: str, key: str, digests: Mapping[int, bytes]) -> bytes:
        """Replace some parts of a range; its digest afterwards."""
        packed = bytearray(self.packed_parts(collection, key))
        for part, digest in digests.items():
            packed[part * NODE_BYTES : (part + 1) * NODE_BYTES] = digest or ABSENT
        found = inner_digest(packed)
        self._put_parts(collection, key, packed if found else b"")
        return found

    def _put_parts(self, collection: str, key: str, packed: bytes | bytearray) -> None:
        if not packed:
            self._sql.execute("DELETE FROM ranges WHERE collection = ? AND range = ?", (collection, key))
            return
        self._sql.execute("INSERT OR REPLACE INTO ranges VALUES (?, ?, ?)", (collection, key, packed))

    def _put_root(self, collection: str, digest: bytes) -> None:
        self._sql.execute("INSERT OR REPLACE INTO ranges VALUES (?, 'root', ?)", (collection, digest))

    def _write_node(self, collection: str, key: str, node: Node) -> None:
        if not key:
            self._put_root(collection, node.digest)
        if node.parts:
            self._put_parts(collection, key, b"".join(part.digest or ABSENT for part in node.parts))
            for part, child in enumerate(node.parts):
                self._write_node(collection, f"{key}{part:x}", child)
