"""What a domain holds of a collection, held against what is to be written: what changed, what is new, what went.

Read beside the sync worker, from its store. Costs a reading of the collection, and a digest in memory for each
document. Next: publishing.py; sync/store.py, `reading_store`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from tidegate.schemas import DocumentContent
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.replica.content import name_model, to_content
from tidegate.sync.database import StoreMissingError
from tidegate.sync.reader import CollectionUnknownError, StoreReader
from tidegate.sync.records import held_of
from tidegate.sync.rules.resolve import resolve
from tidegate.sync.store import reading_store

PACK = "pack"
"""The field of a document that names the pack which it came from."""


class HeldSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A document that is held: a digest of what it says (empty: it is deleted), the pack that it came from, and whether
    anybody but the domain itself wrote what it is."""

    digest: bytes
    pack: str
    is_foreign: bool


class CollectionDifference(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be written to a collection, and deleted from it, so that it holds what a pack has of it.

    `kept` are documents that somebody else wrote, or deleted, since: they are left as they are.
    """

    changed: tuple[Document, ...] = ()
    deleted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    unchanged: int = 0


def read_collections(path: Path, collections: Iterable[str]) -> dict[str, dict[str, HeldSummary]]:
    """All that the store in this file holds of these collections, deleted documents too; nothing where there is no such
    collection, or no store yet. Raises `StoreDamagedError`, `DocumentDamagedError`."""
    try:
        with reading_store(path) as reader:
            return {name: _read_held(reader, name) for name in collections}
    except StoreMissingError:
        return {name: {} for name in collections}


def _read_held(reader: StoreReader, collection: str) -> dict[str, HeldSummary]:
    try:
        rule = reader.record(collection).collection.merge
    except CollectionUnknownError:
        return {}
    own = reader.own().domain
    found: dict[str, HeldSummary] = {}
    for document in reader.documents(collection):
        siblings = held_of(document).siblings
        content = resolve(siblings, rule).content
        found[document.document_id] = HeldSummary(
            digest=digest_of_content(content) if content else b"",
            pack=content.meta.get(PACK, "") if content else "",
            is_foreign=any(version.operation.author != own for version in siblings.versions),
        )
    return found


def compare_with_held(
    held: Mapping[str, HeldSummary], documents: Sequence[Document], pack: str, embedder: str, *, overwrites: bool
) -> CollectionDifference:
    """What differs between documents that are to be in a collection and what is held of it. With `overwrites` what
    others wrote is replaced as well.

    `pack` is where the documents come from, all that there are in that; empty: from nowhere, and there may be others.
    `embedder` is the version of the model that vectors are made with.
    """
    changed: list[Document] = []
    kept: list[str] = []
    unchanged = 0
    for document in documents:
        own = held.get(document.id)
        if own is not None and own.digest == digest_of_document(document, embedder) and _is_from(own, pack):
            unchanged += 1
        elif own is not None and own.is_foreign and not overwrites:
            kept.append(document.id)
        else:
            changed.append(document)
    names = {document.id for document in documents}
    gone = [name for name, own in held.items() if pack and own.pack == pack and name not in names]
    kept += [name for name in gone if held[name].is_foreign and not overwrites]
    return CollectionDifference(
        changed=tuple(changed),
        deleted=tuple(name for name in gone if overwrites or not held[name].is_foreign),
        kept=tuple(kept),
        unchanged=unchanged,
    )


def _is_from(held: HeldSummary, pack: str) -> bool:
    return not pack or held.pack == pack


def from_pack(content: DocumentContent, pack: str) -> DocumentContent:
    """The content of a document that comes from a pack, which is how it is known when it is gone from there."""
    return msgspec.structs.replace(content, meta={**content.meta, PACK: pack}) if pack else content


def digest_of_document(document: Document, embedder: str) -> bytes:
    """The digest of what a document will say, with vectors of this model."""
    return _digest(to_content(document), name_model(embedder))


def digest_of_content(content: DocumentContent) -> bytes:
    """The digest of what a document says, whenever it was written and whichever pack it came from."""
    return _digest(content, content.vectors.model if content.vectors else "")


def _digest(content: DocumentContent, model: str) -> bytes:
    meta = sorted((name, value) for name, value in content.meta.items() if name != PACK)
    return sha256(msgspec.msgpack.encode((content.title, content.language, content.text, meta, model))).digest()
