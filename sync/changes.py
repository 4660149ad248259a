"""What an index has to do to follow a store: which documents changed since it last looked, and what each is now.

Costs what changed, whatever is held; a document is read when it is wanted, so that a cold start holds few at a time.
Next: services/knowledge/replica/index_follower.py, which does it."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.schemas.sync import DocumentContent
from tidegate.sync.reader import StoreReader
from tidegate.sync.rules.merge import Siblings, Version
from tidegate.sync.rules.resolve import ResolvedDocument, resolve

KEY_DIGITS = 16
"""So many digits of a key's id are shown with who signed a document."""


class ChangedDocument(NamedTuple):
    """A document as it is now; `digest` is that of all its versions, which an index keeps beside what it made of it.

    `signer` is who wrote what it is, as `signer_of` says.
    """

    document_id: str
    digest: bytes
    resolved: ResolvedDocument
    signer: str = ""


class Changes(NamedTuple):
    """What an index has to do to be at `generation`. `is_complete`: whatever is not named here is not held any more."""

    generation: int
    documents: tuple[ChangedDocument, ...] = ()
    is_complete: bool = False


class ChangedDigests(NamedTuple):
    """As `Changes`, by the digests alone: tombstones have one too."""

    generation: int
    digests: dict[str, bytes]
    is_complete: bool = False


def list_changes(reader: StoreReader, collection: str, generation: int) -> ChangedDigests:
    """What changed after `generation`; everything where that cannot be told.

    Nothing where the replica was never whole. An index that starts compares what it holds by `ReplicaStore.differing`
    first: generations begin anew on a new disk. Raises `CollectionUnknownError`.
    """
    record = reader.record(collection)
    if not reader.is_served(collection):
        return ChangedDigests(0, {})
    is_complete = not record.complete_from <= generation <= record.generation
    digests = reader.digests_since(collection, -1 if is_complete else generation)
    return ChangedDigests(record.generation, digests, is_complete or generation == 0)


def read_document(reader: StoreReader, collection: str, document_id: str) -> ChangedDocument | None:
    """A document as it is now; None where nothing of it is held. Raises `DocumentDamagedError`: repair first."""
    digest = reader.digest_of(collection, document_id)
    if digest is None:
        return None
    siblings = reader.held(collection, document_id).siblings
    resolved = resolve(siblings, reader.record(collection).collection.merge)
    return ChangedDocument(document_id, digest, resolved, signer_of(siblings, resolved))


def read_changes(reader: StoreReader, collection: str, generation: int) -> Changes:
    """All of `list_changes` at once. Raises `DocumentDamagedError`: repair first."""
    listed = list_changes(reader, collection, generation)
    documents = (read_document(reader, collection, document_id) for document_id in listed.digests)
    return Changes(listed.generation, tuple(each for each in documents if each is not None), listed.is_complete)


def signer_of(siblings: Siblings, resolved: ResolvedDocument) -> str:
    """Who signed what a document is: `<site or hub>/<16 digits of the key's id>`; empty where it is deleted.

    Of several versions it is the one that was taken, the latest where they are equal; of a merge all of them, sorted.
    """
    if resolved.content is None:
        return ""
    written = [each for each in siblings.versions if each.operation.content is not None]
    taken = [each for each in written if _says(each, resolved.content)]
    if taken:
        written = [max(taken, key=lambda each: (each.operation.time, each.operation.dot))]
    return " ".join(sorted({f"{each.operation.author}/{each.operation.signer[:KEY_DIGITS]}" for each in written}))


def _says(version: Version, content: DocumentContent) -> bool:
    """Whether a version has all that the document has."""
    own = version.operation.content
    return own is not None and (own.title, own.language, own.text, own.meta) == (
        content.title,
        content.language,
        content.text,
        content.meta,
    )
