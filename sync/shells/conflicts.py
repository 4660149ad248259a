"""Which documents have versions that were written apart, kept up with the store; and how one is decided.

The first question reads all documents, each later one what has changed since. Next: sync/rules/resolve.py, which says
what becomes of such versions."""

from __future__ import annotations

import threading

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.replica import DocumentConflict, ResolveConflict, SiblingVersion
from tidegate.schemas.sync import DocumentContent
from tidegate.sync.rules.merge import Version
from tidegate.sync.rules.resolve import resolve
from tidegate.sync.store import ReplicaStore

MOST_SHOWN, MOST_CHARS = 100, 1_500
"""Conflicts that are listed at once, and characters of each version: together they fit a message."""


class NoSuchVersionError(TidegateError, LookupError):
    """The document has no version of this event, or no several versions."""

    hint = "`tidegate sync conflicts list` shows the versions as they are now"


class ConflictIndex:
    """The documents of one tenant's collections with versions written apart."""

    def __init__(self, tenant: str, store: ReplicaStore) -> None:
        self._tenant = tenant
        self._store = store
        self._known: dict[str, tuple[int, set[str]]] = {}
        self._lock = threading.Lock()  # a question may take its thread long the first time

    def ids(self, collection: str) -> tuple[str, ...]:
        """The ids of those documents, sorted. Raises `CollectionUnknownError`, `DocumentDamagedError`."""
        with self._lock:
            generation, found = self._known.get(collection, (0, set()))
            changes = self._store.changes_since(collection, generation)
            if changes.is_complete:
                found = set()
            for document in changes.documents:
                if document.resolved.conflict is not None:
                    found.add(document.document_id)
                else:
                    found.discard(document.document_id)
            self._known[collection] = (changes.generation, found)
            return tuple(sorted(found))

    def describe(self, collection: str) -> tuple[DocumentConflict, ...]:
        """Those documents with their versions, the first `MOST_SHOWN` of them. Raises as `ids` does."""
        found = []
        for document_id in self.ids(collection)[:MOST_SHOWN]:
            conflict = self._describe(collection, document_id)
            found += [conflict] if conflict is not None else []
        return tuple(found)

    def decide(self, decision: ResolveConflict) -> DocumentContent | None:
        """What is to be written to decide a conflict. Raises `NoSuchVersionError`, `CollectionUnknownError`."""
        with self._store.reading() as reader:
            reader.record(decision.collection)
            versions = reader.held(decision.collection, decision.document_id).siblings.versions
        if decision.keep is None:
            return None
        for version in versions:
            if version.operation.dot == decision.keep:
                return version.operation.content
        raise NoSuchVersionError(f"{decision.document_id} has no version {decision.keep}")

    def _describe(self, collection: str, document_id: str) -> DocumentConflict | None:
        with self._store.reading() as reader:
            rule = reader.record(collection).collection.merge
            siblings = reader.held(collection, document_id).siblings
        conflict = resolve(siblings, rule).conflict
        if conflict is None:
            return None
        return DocumentConflict(
            tenant=self._tenant,
            collection=collection,
            document_id=document_id,
            rule=rule,
            versions=tuple(_shown(version) for version in siblings.versions),
            chosen=conflict.chosen,
            is_open=conflict.is_open,
        )


def _shown(version: Version) -> SiblingVersion:
    operation = version.operation
    content = operation.content
    return SiblingVersion(
        dot=operation.dot,
        author=operation.author,
        written_at_ms=operation.time.ms,
        signer=operation.signer,
        title=content.title if content else "",
        text=content.text[:MOST_CHARS] if content else "",
        is_deletion=content is None,
    )
