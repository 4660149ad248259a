"""What an index has to change for some documents of a collection to be as the store has them.

Promises that the same documents make the same index, in whatever order they came: where collections have a document of
one id, the first by `rank_of` has it, and the others are left out, with a fault. Next: index_follower.py."""

from __future__ import annotations

from collections.abc import Collection as Sized
from collections.abc import Iterable, Mapping

import msgspec

from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.pack import Document
from tidegate.schemas.sync import Collection, Owner
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.index_writer import DocumentRefusedError, IndexChange, check_documents
from tidegate.services.knowledge.index.sources import DocumentSource
from tidegate.services.knowledge.index.vectors import Matrix
from tidegate.services.knowledge.replica.content import ContentRefusedError, name_model, to_document, unpack_vectors
from tidegate.sync.changes import ChangedDocument, read_document
from tidegate.sync.reader import CollectionUnknownError, StoreReader
from tidegate.sync.records import DocumentDamagedError

OWNERS: tuple[Owner, ...] = ("shared", "hub", "site")
"""Whose document has an id that several collections have: what everybody has comes before what one site has."""
TAKEN = "the id is taken: "
"""Begins the fault of a document that gave way to one of another collection."""


def rank_of(collection: Collection) -> tuple[int, str]:
    """The lowest has the id."""
    return OWNERS.index(collection.owner), collection.name


class PlannedChange(msgspec.Struct):
    """The parts of an `IndexChange`; `damaged` are the documents that the store could not give: repair it first."""

    documents: list[Document] = []
    deleted: list[str] = []
    vectors: dict[str, Matrix] = {}
    sources: list[DocumentSource] = []
    forgotten: list[tuple[str, str]] = []
    damaged: list[str] = []

    def as_change(self, state: Mapping[str, bytes], anew: Sized[str] = ()) -> IndexChange:
        """The change, with the caller's state."""
        return IndexChange(
            documents=self.documents,
            deleted=self.deleted,
            origin="replica",
            state=state,
            vectors=self.vectors,
            anew=anew,
            sources=self.sources,
            forgotten=self.forgotten,
        )


class ChangePlanner:
    """Plans by one state of the store and the index as it is. Its caller lets nobody else write the index meanwhile."""

    def __init__(self, reader: StoreReader, index: HybridIndex, collection: str, *, is_dropped: bool = False) -> None:
        """`is_dropped`: whatever the store still holds, the collection is to be served no more."""
        self._reader = reader
        self._index = index
        self._collection = collection
        self._is_dropped = is_dropped
        self._model = name_model(index.embedder_version)
        self._planned = PlannedChange()

    def plan(self, document_ids: Iterable[str]) -> PlannedChange:
        """What these documents need. Raises what the index raises."""
        asked = list(document_ids)
        rows: dict[str, dict[str, DocumentSource]] = {}
        for row in self._index.find_sources(asked):
            rows.setdefault(row.document_id, {})[row.collection] = row
        for document_id in asked:
            self._plan_document(document_id, rows.get(document_id, {}))
        return self._planned

    def _plan_document(self, document_id: str, rows: Mapping[str, DocumentSource]) -> None:
        own = self._collection
        try:
            now = None if self._is_dropped else read_document(self._reader, own, document_id)
        except (DocumentDamagedError, UnreadableError):
            self._planned.damaged.append(document_id)
            return
        document, source = self._made(now)
        claims = {name: row for name, row in rows.items() if name != own and _is_claim(row)}
        if source is None:
            self._planned.forgotten.append((document_id, own))
        elif document is None:
            self._planned.sources.append(source)
        else:
            claims[own] = source
        winner = min(claims, key=self._rank, default="")
        for name, claim in claims.items():
            wanted = _settled(claim, winner)
            if wanted != rows.get(name):
                self._planned.sources.append(wanted)
        if not winner:
            self._planned.deleted.append(document_id)
        elif winner == own and document is not None and now is not None:
            self._put(document, now)
        elif not claims[winner].name:
            self._put_of(winner, document_id, claims[winner])

    def _made(self, now: ChangedDocument | None) -> tuple[Document | None, DocumentSource | None]:
        """The document, and its row; no document where it is deleted or refused, no row where nothing is held."""
        if now is None:
            return None, None
        source = DocumentSource(
            document_id=now.document_id, collection=self._collection, digest=now.digest, signer=now.signer
        )
        if now.resolved.content is None:
            return None, source
        try:
            document = to_document(now.document_id, now.resolved.content)
            check_documents([document])
        except (ContentRefusedError, DocumentRefusedError) as error:
            return None, msgspec.structs.replace(source, fault=str(error))
        return document, source

    def _put(self, document: Document, now: ChangedDocument) -> None:
        self._planned.documents.append(document)
        vectors = None if now.resolved.content is None else unpack_vectors(now.resolved.content, self._model)
        if vectors is not None:
            self._planned.vectors[document.id] = vectors

    def _put_of(self, collection: str, document_id: str, claim: DocumentSource) -> None:
        """Put in the document of another collection, which gave way until now; where it cannot be read, nothing is
        there until it is repaired."""
        kept = [
            each for each in self._planned.sources if (each.collection, each.document_id) != (collection, document_id)
        ]
        try:
            now = read_document(self._reader, collection, document_id)
            if now is None or now.resolved.content is None:
                raise DocumentDamagedError(f"{document_id} of {collection} changed meanwhile")
            self._put(to_document(document_id, now.resolved.content), now)
            row = msgspec.structs.replace(_settled(claim, collection), digest=now.digest, signer=now.signer)
        except (DocumentDamagedError, UnreadableError, ContentRefusedError):
            row = msgspec.structs.replace(claim, digest=b"")  # so that it is looked at again
            self._planned.deleted.append(document_id)
        self._planned.sources = [*kept, row]

    def _rank(self, collection: str) -> tuple[int, str]:
        try:
            return rank_of(self._reader.record(collection).collection)
        except CollectionUnknownError:
            return len(OWNERS), collection


def _is_claim(row: DocumentSource) -> bool:
    return bool(row.name) or row.fault.startswith(TAKEN)


def _settled(claim: DocumentSource, winner: str) -> DocumentSource:
    """The row of a claim once it is known whose the id is."""
    if claim.collection == winner:
        return msgspec.structs.replace(claim, name=claim.document_id, fault="")
    return msgspec.structs.replace(claim, name="", fault=f"{TAKEN}{winner} has a document {claim.document_id}")
