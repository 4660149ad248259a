"""Compares what answers are made from, both legs of an index and every file of them, with what the store holds.

Promises to find a flipped byte wherever it is, to repair from the store alone, and to say why it thinks it happened.
Next: index/inspection.py, which looks; sync/rules/drift.py, the causes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import structlog

from tidegate.schemas.errors import UnreadableError
from tidegate.services.knowledge.index.errors import IndexDamagedError, OtherModelError
from tidegate.services.knowledge.index.inspection import ExpectedDocument, IndexFault, IndexInspector
from tidegate.services.knowledge.index.sources import DocumentSource
from tidegate.services.knowledge.replica.content import ContentRefusedError, name_model, to_document, unpack_vectors
from tidegate.services.knowledge.replica.index_follower import IndexFollower
from tidegate.services.knowledge.replica.opening import restore_index
from tidegate.sync.changes import ChangedDocument, list_changes, read_document
from tidegate.sync.records import DocumentDamagedError
from tidegate.sync.rules.drift import DriftEvidence, Leg, RepairReport, report
from tidegate.sync.store import ReplicaStore

_BATCH = 64
_log = structlog.get_logger()


class IndexReport(msgspec.Struct, frozen=True, kw_only=True):
    """What of an index differed from the store: documents, or files where these are damaged, by leg and by cause.

    `unread` are documents that the store itself has damaged, so that nothing can be compared with them.
    """

    collection: str
    legs: dict[Leg, tuple[str, ...]] = {}
    causes: RepairReport = RepairReport(documents={})
    unread: tuple[str, ...] = ()
    is_repaired: bool = False


class IndexVerifier:
    """Verifies one index; nobody else writes it meanwhile. Raises what `IndexFollower` raises."""

    def __init__(self, follower: IndexFollower) -> None:
        self._follower = follower
        self._inspector = IndexInspector(follower.index.parts())
        self._model = name_model(follower.index.embedder_version)

    def verify(self, collection: str, *, is_repairing: bool) -> IndexReport:
        """Read all that is indexed of a collection, and all files of the index; repair what differs where that is
        wanted. What the index has not followed yet is no difference. Raises `CollectionUnknownError`."""
        with self._follower.exclusively():
            made_by = self._made_by(collection)
            faults, unread = self._find(collection)
            legs: dict[Leg, tuple[str, ...]] = {}
            for fault in faults:
                legs[fault.leg] = (*legs.get(fault.leg, ()), fault.name)
            causes = report((each.name, self._evidence(each, made_by)) for each in faults)
            if faults:
                _log.warning("replica.index_differs", collection=collection, legs=legs, cause=causes.cause)
            if is_repairing:
                self._mend(collection, faults)
                if not unread:
                    self._note_verified(collection)
        is_repaired = is_repairing and bool(faults)
        return IndexReport(
            collection=collection, legs=legs, causes=causes, unread=tuple(unread), is_repaired=is_repaired
        )

    def _made_by(self, collection: str) -> str:
        try:
            return self._follower.state(collection).made_by
        except IndexDamagedError:
            return self._follower.code_version

    def _evidence(self, fault: IndexFault, made_by: str) -> DriftEvidence:
        return DriftEvidence(
            leg=fault.leg,
            is_stored=fault.is_stored,
            storage_checksum_ok=fault.is_whole,
            derived_ok=False,
            made_by=made_by,
            code_version=self._follower.code_version,
        )

    def _find(self, collection: str) -> tuple[list[IndexFault], list[str]]:
        try:
            found = self._inspector.inspect_database()
            if found:  # nothing else can be read from it for sure
                return found, []
            found, unread = self._compare_with_store(collection)
            return [*found, *self._inspector.inspect_keywords(), *self._inspector.inspect_graph()], unread
        except OtherModelError:
            raise
        except IndexDamagedError as error:
            name = self._follower.index.parts().storage.database.name
            _log.warning("replica.index_unreadable", collection=collection, reason=str(error))
            return [IndexFault(leg="texts", name=name, is_file=True, is_whole=False)], []

    def _compare_with_store(self, collection: str) -> tuple[list[IndexFault], list[str]]:
        """What the index holds, document by document, and what it lacks."""
        sources = self._follower.index.sources(collection)
        unread = _find_unreadable(self._follower.store, collection)
        rows = [row for name, row in sorted(sources.items()) if name not in unread]
        unknown = self._find_unknown(collection, sources)
        found = [each for each in unknown if each.name not in unread]
        for first in range(0, len(rows), _BATCH):
            found += self._compare_batch(rows[first : first + _BATCH])
        return found, unread

    def _find_unknown(self, collection: str, sources: dict[str, DocumentSource]) -> list[IndexFault]:
        """Documents of which the index does not have the digest that the store has, though it followed so far."""
        generation = self._follower.state(collection).generation
        if not generation:
            return []
        damaged = self._inspector.find_damaged_sources(collection)
        with self._follower.store.reading() as reader:
            waiting, held = list_changes(reader, collection, generation).digests, reader.digests(collection)
        known = {name: row.digest for name, row in sources.items()}
        names = sorted(name for name in held.keys() | known.keys() if held.get(name) != known.get(name))
        return [
            IndexFault(leg="texts", name=name, is_stored=name in known or name in damaged, is_whole=name not in damaged)
            for name in names
            if name not in waiting
        ]

    def _compare_batch(self, rows: Iterable[DocumentSource]) -> list[IndexFault]:
        expected: dict[str, ExpectedDocument] = {}
        absent: list[str] = []
        with self._follower.store.reading() as reader:
            for row in rows:
                now = read_document(reader, row.collection, row.document_id)
                if now is None or now.digest != row.digest:
                    continue  # `_find_unknown` has it, or it is to be followed yet
                wanted = self._expected(now)
                if wanted is not None and row.name:
                    expected[row.name] = wanted
                elif not row.fault:
                    absent.append(row.document_id)
        resurrected = (IndexFault(leg="texts", name=each) for each in self._inspector.find_unclaimed(absent))
        return [*self._inspector.inspect_documents(expected), *resurrected]

    def _expected(self, now: ChangedDocument) -> ExpectedDocument | None:
        content = now.resolved.content
        if content is None:
            return None
        try:
            document = to_document(now.document_id, content)
        except ContentRefusedError:
            return None
        vectors = unpack_vectors(content, self._model)
        return ExpectedDocument(document, content.vectors.data if vectors is not None and content.vectors else None)

    def _mend(self, collection: str, faults: Sequence[IndexFault]) -> None:
        if any(each.is_file and each.leg == "texts" for each in faults):
            self._begin_anew()
            return
        names = dict.fromkeys(each.name for each in faults if not each.is_file and each.leg != "keywords")
        if names:
            self._follower.rewrite(collection, list(names))
        if any(each.leg == "keywords" for each in faults):
            self._inspector.mend_keywords()
        if any(each.leg == "vectors" and each.is_file for each in faults):
            self._inspector.renew_graph()

    def _begin_anew(self) -> None:
        """Fill an empty index from the store, and with what could be read of the old one that no replica brought."""
        restore_index(self._follower.index)
        with self._follower.store.reading() as reader:
            collections = reader.collections()
        for each in collections:
            self._follower.start(each)

    def _note_verified(self, collection: str) -> None:
        """All of it is what this version of the code makes."""
        state = self._follower.state(collection)
        if state.generation and state.made_by != self._follower.code_version:
            verified = msgspec.structs.replace(state, made_by=self._follower.code_version)
            self._follower.put_state(collection, verified)


def _find_unreadable(store: ReplicaStore, collection: str) -> list[str]:
    """The documents that the store cannot give, because the disk does not."""
    unread = []
    with store.reading() as reader:
        for name in reader.digests(collection):
            try:
                reader.held(collection, name)
            except (DocumentDamagedError, UnreadableError):
                unread.append(name)
    return sorted(unread)
