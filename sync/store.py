"""What a replica, at a site or at the hub, holds of a tenant's collections: one file, and every change a transaction.

Documents, their tree, the position in the log and the own counter change together or not at all; a crash loses and
doubles nothing. Next: reader.py and writer.py, what may be done in it; author.py, relay.py, follower.py, who does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.sync import Collection
from tidegate.sync.changes import Changes, read_changes
from tidegate.sync.database import Database, reading_file
from tidegate.sync.reader import StoreReader
from tidegate.sync.records import OwnState, ReplicaRecord
from tidegate.sync.rules.merkle import Node, build, differences
from tidegate.sync.writer import StoreWriter


class OtherDomainError(TidegateError):
    """The store belongs to another site, or to the hub."""

    hint = "give each site a directory of its own; a cloned disk is provisioned anew by `tidegate site add`"


@contextmanager
def reading_store(path: Path) -> Iterator[StoreReader]:
    """One state of a store whose sync worker may be running: who only reads needs no start of its own.

    Raises `StoreMissingError`, `StoreDamagedError`.
    """
    with reading_file(path) as connection:
        yield StoreReader(connection)


class ReplicaStore:
    """The store of one tenant in one domain. Several threads may use it; readers do not wait for the writer.

    `boot_id` is random and new at each start: by it a restored backup and a cloned disk are found out. `trace` is
    called with every statement that writes, for tests that stop there.
    """

    def __init__(
        self,
        path: Path,
        domain: str,
        boot_id: str,
        *,
        incarnation: int = 1,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        """Open the file, and make it where it is not there: `incarnation` is that of a new one only.

        Raises `StoreDamagedError`, and `OtherDomainError` where the file is another domain's.
        """
        self._database = Database(path, trace)
        with self.writing() as writer:
            try:
                own = writer.own()
            except ValueError:  # it is new
                own = OwnState(domain=domain, incarnation=incarnation, boot_id=boot_id)
            if own.domain != domain:
                raise OtherDomainError(f"{path} is the store of {own.domain}, not of {domain}")
            writer.put_own(msgspec.structs.replace(own, boot_id=boot_id))
        self.domain = domain

    @contextmanager
    def writing(self) -> Iterator[StoreWriter]:
        """One transaction: stored when the block ends, and nothing of it where it raises. Raises `StoreFullError`."""
        with self._database.writing() as connection:
            writer = StoreWriter(connection)
            yield writer
            writer.finish()

    @contextmanager
    def reading(self) -> Iterator[StoreReader]:
        """One state of the store, whatever is written meanwhile."""
        with self._database.reading() as connection:
            yield StoreReader(connection)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def put_collection(self, collection: Collection) -> None:
        """Add a collection, or change its rules; what is held of it stays."""
        with self.writing() as writer:
            writer.put_collection(collection)

    def record(self, collection: str) -> ReplicaRecord:
        """The state of a collection's replica. Raises `CollectionUnknownError`."""
        with self.reading() as reader:
            return reader.record(collection)

    def changes_since(self, collection: str, generation: int) -> Changes:
        """See `changes.read_changes`. Raises `DocumentDamagedError`: repair first."""
        with self.reading() as reader:
            return read_changes(reader, collection, generation)

    def differing(self, collection: str, held: Node) -> tuple[str, ...]:
        """The documents of which somebody here holds another version than the store: what an index was made from,
        as a tree of the digests in `Changes`. Costs what differs, whatever is held."""
        ranges: tuple[str, ...] = ("",)
        documents: list[str] = []
        with self.reading() as reader:
            while ranges:
                found = differences(held, ranges, reader.in_detail(collection, ranges))
                ranges, documents = found.ranges, [*documents, *found.documents]
        return tuple(documents)

    def scrub(self, collection: str) -> tuple[str, ...]:
        """Read every document back, and have the tree say what is really on the disk. Returns what was changed there.

        A damaged document gets a digest that no replica has, and what is missing in the tables is missing in the tree
        from now on: the next comparison finds both. Writers wait for the end of it only, where something was found.
        """
        with self.reading() as reader:
            suspects = reader.suspects(collection)
            is_tree_right = build(reader.digests(collection)).digest == reader.tree(collection, ()).digest
        if not suspects and is_tree_right:
            return ()
        with self.writing() as writer:
            changed = tuple(each for each in suspects if not writer.check(collection, each))
            writer.rebuild(collection)
        return changed
