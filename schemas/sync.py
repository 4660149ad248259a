"""What replicas tell each other of documents: collections, signed operations, the log of a collection, snapshots.

An operation is signed as bytes, and relayed as these bytes. Next: schemas/comparison.py; sync/rules/merge.py."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.clocks import Actor, Counter, Dot, HybridTime, VectorClock, author_of
from tidegate.schemas.message import END, Message, Millis, Name
from tidegate.schemas.pack import ItemId

Owner = Literal["site", "hub", "shared"]
MergeRule = Literal["last-writer", "field-merge", "ask"]
Digest = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{64}}{END}", description="sha256, in hexadecimal digits")]
BootId = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{16}}{END}", description="random, made anew at each start")]
KeyId = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{64}}{END}", description="the id of a public key")]
LogIndex = Annotated[int, msgspec.Meta(ge=0)]
Bytes = Annotated[int, msgspec.Meta(ge=0)]


class Collection(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Documents under one rule. `owner` says where they may be: at their site only, at the hub only, or at the hub
    and at `sites` (empty: all sites of the tenant). `sites_write`: sites may write what is shared, not the hub alone.

    `merge` is what becomes of versions that were written apart. A citation is fresh within `fresh_within_s`.
    `is_sensitive`: only a site that has attested itself lately, and holds a lease, gets any of it.
    """

    tenant: Name
    name: Name
    owner: Owner = "shared"
    sites: tuple[Name, ...] = ()
    sites_write: bool = False
    merge: MergeRule = "ask"
    fresh_within_s: Annotated[int, msgspec.Meta(ge=1)] = 600
    is_sensitive: bool = False


class Vectors(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The vectors of a document's passages: float16, little endian, `dimensions` each, in `data`; or elsewhere, under
    `digest`, the sha256 of that data. `model` is the digest of the embedding model: no other's can be compared."""

    model: Digest
    dimensions: Annotated[int, msgspec.Meta(ge=1)]
    digest: Digest
    data: bytes = b""


class FieldStamp(msgspec.Struct, frozen=True, order=True, array_like=True):
    """When, and by which event, a field of a document got its value."""

    time: HybridTime
    dot: Dot


class DocumentContent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a document holds. `vectors` are those of `title` and `text`; None: to be made where they are wanted.

    `stamps` are those of the fields that got their values before this operation, and of those of `meta` that are gone:
    `title`, `language`, `text`, `meta.<name>`. A field without one got its value by the operation itself.
    """

    title: str
    language: str
    text: str
    meta: dict[str, str] = {}
    vectors: Vectors | None = None
    stamps: dict[str, FieldStamp] = {}


class DocumentOperation(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A document was written (`content`) or deleted (None). Replaces every version whose dot `context` covers.

    `dot` counts all that its author writes; `previous` is the digest of the author's operation before this one in the
    same stream, empty for the first. `signer` is the key that the bytes are signed with. `is_new`: its author held
    nothing of the document, or only tombstones.
    """

    tenant: Name
    collection: Name
    document_id: ItemId
    dot: Dot
    boot_id: BootId
    context: VectorClock = VectorClock()
    time: HybridTime
    signer: KeyId
    previous: Digest | Literal[""] = ""
    content: DocumentContent | None = None
    is_new: bool = False

    @property
    def author(self) -> str:
        """The site that wrote it, or the hub."""
        return author_of(self.dot.actor)


class SignedOperation(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A `DocumentOperation` as the MessagePack that was signed (Ed25519, RFC 8032). Whoever relays it keeps the bytes:
    written anew, it would lack the fields of a later version, and with them the signature."""

    payload: bytes
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class LogPosition(msgspec.Struct, frozen=True, order=True, array_like=True):
    """How far the log of a collection was read: `index` counts without gaps from 1, anew in each `epoch`.

    The hub begins a new epoch where it cannot go on with the old one: it was restored, or its stream was made anew.
    """

    epoch: Annotated[int, msgspec.Meta(ge=1)]
    index: LogIndex = 0

    def __str__(self) -> str:
        return f"{self.epoch}.{self.index}"


class CollectionDelta(Message, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of the log of a collection, which the hub alone writes. `relayed_at_ms` is by the hub's clock."""

    tenant: Name
    collection: Name
    position: LogPosition
    operation: SignedOperation
    relayed_at_ms: Millis = 0


class CollectionHead(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The end of a collection's log at the hub, and what is held there: how a site knows that as of `known_at_ms`, by
    the hub's clock, it lacked nothing. Deltas from index `first` on can still be read, `tail_bytes` in all."""

    tenant: Name
    collection: Name
    position: LogPosition
    first: LogIndex = 1
    checksum: Digest
    documents: LogIndex = 0
    tail_bytes: Bytes = 0
    known_at_ms: Millis = 0


class BootStart(msgspec.Struct, frozen=True, array_like=True):
    """A start of an author, and the first operation that it wrote since."""

    boot_id: BootId
    first: Counter


class AuthorMark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last operation of an actor that is known, the digests of it and of the one before, and the actor's starts,
    oldest first."""

    counter: Counter
    digest: Digest
    previous: Digest | Literal[""] = ""
    boots: Annotated[tuple[BootStart, ...], msgspec.Meta(min_length=1)]


class SnapshotChunk(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a snapshot or an artefact, verified by itself: a transfer that was cut goes on behind the last one."""

    digest: Digest
    size: Bytes


class SnapshotManifest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A whole collection at one position of its log: what an empty site begins with, before the deltas behind it.

    `checksum` and `root` are those of the documents (see sync/rules/merkle.py), `floor` the clock of the tombstones
    that are no longer kept, `authors` the marks by which a counter that went back is known. Signed as a TUF target.
    """

    tenant: Name
    collection: Name
    position: LogPosition
    checksum: Digest
    root: Digest
    documents: LogIndex
    size: Bytes
    chunks: tuple[SnapshotChunk, ...]
    floor: VectorClock = VectorClock()
    authors: dict[Actor, AuthorMark] = msgspec.field(default_factory=dict)
    code_version: str = ""
    made_at_ms: Millis = 0


class ReplicaPosition(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What a replica has applied of a collection; stored with it in one transaction. None: nothing yet.

    `last` is the last operation that was applied, by its digest: a log that has another there is not the same log.
    """

    tenant: Name
    collection: Name
    position: LogPosition | None = None
    last: Digest | Literal[""] = ""
    checksum: Digest | Literal[""] = ""
    floor: VectorClock = VectorClock()
    authors: dict[Actor, AuthorMark] = msgspec.field(default_factory=dict)
