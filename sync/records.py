"""What a store keeps as one value: the state of a replica, of an author, and a document with its checksum.

Every value is read back with its types checked; a document also against its checksum. Next: reader.py, writer.py."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

import msgspec

from tidegate.schemas.clocks import HybridTime, VectorClock
from tidegate.schemas.errors import TidegateError, UnreadableError
from tidegate.schemas.message import decoder_of
from tidegate.schemas.replication import HeldDocument
from tidegate.schemas.sync import Collection, LogPosition, SignedOperation
from tidegate.sync.rules.clock import NOTHING
from tidegate.sync.rules.merge import NO_VERSIONS, Siblings, Version, version_of
from tidegate.sync.rules.merkle import Checksum
from tidegate.sync.rules.replica import Replica


class DocumentDamagedError(TidegateError):
    """What is stored of a document is not what was written: its checksum says so."""

    hint = "`tidegate sync verify` finds all that is damaged, `tidegate sync repair` fetches it from the hub"


class ReplicaRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A replica of one collection as it is stored, but for its documents.

    `last` is the digest of the last operation of the log that was applied; `total` and `documents` are the checksum;
    `generation` counts the transactions that changed documents, and `complete_from` is the first generation from which
    on every change can be told: a document that went before it is named nowhere. `made_by` is the code's version.

    At a site `head` is where the hub's log was last known to end, and `known_at_ms`, by the hub's clock, when nothing
    was lacking here for the last time. At the hub `snapshot` is the position of the last one that was written.
    """

    collection: Collection
    replica: Replica = Replica()
    last: str = ""
    floor: VectorClock = NOTHING
    total: bytes = b""
    documents: int = 0
    generation: int = 0
    complete_from: int = 0
    made_by: str = ""
    head: LogPosition | None = None
    known_at_ms: int = 0
    snapshot: LogPosition | None = None

    @property
    def checksum(self) -> Checksum:
        """The checksum of all that is held."""
        return Checksum(int.from_bytes(self.total, "big"), self.documents)

    def with_checksum(self, checksum: Checksum) -> ReplicaRecord:
        """The record with another checksum."""
        total = bytes.fromhex(checksum.digest) if checksum.total else b""
        return msgspec.structs.replace(self, total=total, documents=checksum.documents)


class OwnState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who writes here, and how far it is: `counter` operations as `incarnation`, the last at `time`; `previous` is the
    digest of the last one in each stream. `is_fenced`: its history turned out to be two, and it writes no more."""

    domain: str
    incarnation: int = 1
    boot_id: str
    counter: int = 0
    time: HybridTime = HybridTime()
    previous: dict[str, str] = msgspec.field(default_factory=dict)
    is_fenced: bool = False

    @property
    def actor(self) -> str:
        """The actor that it writes as."""
        return f"{self.domain}@{self.incarnation}"


class Held(NamedTuple):
    """What is held of a document: its versions, and the signed operation of each, by the version's digest."""

    siblings: Siblings = NO_VERSIONS
    signed: Mapping[str, SignedOperation] = {}

    def with_siblings(self, siblings: Siblings, more: Mapping[str, SignedOperation]) -> Held:
        """The same document with other versions; the operation of each is held already, or among `more`."""
        known = {**self.signed, **more}
        return Held(siblings, {version.digest: known[version.digest] for version in siblings.versions})


NOT_HELD = Held()


def held_of(document: HeldDocument) -> Held:
    """The versions of a document as it is stored, sent or in a snapshot. Raises `UnreadableError`."""
    signed: dict[str, SignedOperation] = {}
    versions: list[Version] = []
    for operation in document.operations:
        version = version_of(operation)
        if version.operation.document_id != document.document_id:
            raise UnreadableError(f"{document.document_id} holds an operation on {version.operation.document_id}")
        versions.append(version)
        signed[version.digest] = operation
    return Held(Siblings(document.context, tuple(versions)), signed)


def document_of(document_id: str, held: Held) -> HeldDocument:
    """What is held of a document, in the form in which it is stored and sent."""
    siblings = held.siblings
    return HeldDocument(
        document_id, siblings.context, tuple(held.signed[version.digest] for version in siblings.versions)
    )


_encode = msgspec.msgpack.Encoder().encode
_decode_document = decoder_of(HeldDocument)


def pack_document(document: HeldDocument) -> tuple[bytes, bytes]:
    """The bytes of a document as they are stored, and their checksum, by which a damaged disk is known."""
    content = _encode(document)
    return content, sha256(content).digest()


def unpack_document(content: bytes, checksum: bytes, document_id: str) -> HeldDocument:
    """A stored document. Raises `DocumentDamagedError` where the bytes are not those that were stored."""
    if sha256(content).digest() != checksum:
        raise DocumentDamagedError(f"{document_id} is damaged on the disk")
    try:
        return _decode_document(content)
    except msgspec.DecodeError as error:
        raise DocumentDamagedError(f"{document_id} is unreadable: {error}") from error
