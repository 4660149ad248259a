"""What is asked of the sync worker of one's own domain, and what it answers: edits, conflicts, checks, status.

Next: schemas/subjects.py, `replica_request`; schemas/sync.py, what replicas tell each other."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.artefact import Epoch, Rung
from tidegate.schemas.clocks import Dot
from tidegate.schemas.message import Message, Millis, Name
from tidegate.schemas.pack import ItemId
from tidegate.schemas.switch import SwitchStatus
from tidegate.schemas.sync import Bytes, Collection, Digest, DocumentContent, LogIndex, Owner

ReplicaVerb = Literal[
    "write", "collection", "status", "conflicts", "resolve", "verify", "repair", "snapshot", "publish", "import"
]
"""The last token of the subject that a request goes to; `REPLICA_REQUESTS` has the message of each, and its reply."""


class WriteDocuments(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Write these documents, and delete those, as the domain that is asked. All of one request, or none of it.

    Answered by `DocumentsWritten`.
    """

    tenant: Name
    collection: Name
    documents: dict[ItemId, DocumentContent] = msgspec.field(default_factory=dict)
    deleted: tuple[ItemId, ...] = ()


class DocumentsWritten(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What was written: the event of each document. One that was to be deleted and was not held is not among them."""

    tenant: Name
    collection: Name
    dots: dict[ItemId, Dot] = msgspec.field(default_factory=dict)


class PutCollection(Message, frozen=True, kw_only=True, omit_defaults=True):
    """At the hub: have this collection, under these rules, and tell the sites that may hold it. At a site only for what
    stays there (`owner: site`). Answered by `Done`."""

    collection: Collection


class PublishArtefact(Message, frozen=True, kw_only=True, omit_defaults=True):
    """At the hub: publish the bytes of a file of this machine as the next epoch of an artefact. Answered by
    `ArtefactPublished`. `base_digests`: the models that an adapter fits."""

    tenant: Name
    kind: str
    name: str
    path: str
    is_critical: bool = False
    soft_s: Annotated[int, msgspec.Meta(ge=1)] = 7 * 86_400
    hard_s: Annotated[int, msgspec.Meta(ge=1)] = 30 * 86_400
    at_hard: Rung = "evidence-only"
    base_digests: tuple[Digest, ...] = ()


class ArtefactPublished(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The artefact is published. `is_new`: false where these bytes are those of the epoch in force."""

    tenant: Name
    kind: str
    name: str
    epoch: Epoch
    digest: Digest
    size: Bytes
    is_new: bool = True


class ImportCollection(Message, frozen=True, kw_only=True, omit_defaults=True):
    """At a site: join a collection from a file of this machine, which was exported at the hub. Answered by
    `CollectionImported`."""

    path: str


class CollectionImported(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A collection was joined from a file, and is as the hub had it at `known_at_ms`, by the hub's clock. `is_new`:
    false where the site had all of it already."""

    tenant: Name
    collection: Name
    position: str
    documents: LogIndex = 0
    known_at_ms: Millis = 0
    is_new: bool = True


class CollectionRequest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Asks for something of one collection, or of all (an empty name) of a tenant's, or of all tenants'."""

    tenant: Name | Literal[""] = ""
    collection: Name | Literal[""] = ""


class ResolveConflict(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Decide a conflict: `keep` is the event of the version that stays; None: the document is deleted. Answered by
    `DocumentsWritten`."""

    tenant: Name
    collection: Name
    document_id: ItemId
    keep: Dot | None = None


class SiblingVersion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of several versions of a document that were written apart; without a text where it is a deletion."""

    dot: Dot
    author: Name
    written_at_ms: Millis
    signer: str
    title: str = ""
    text: str = ""
    is_deletion: bool = False


class DocumentConflict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A document whose versions were written apart, and what became of them. `is_open`: a person has to decide; what is
    quoted meanwhile is `chosen`, or nothing where a version deletes it."""

    tenant: Name
    collection: Name
    document_id: ItemId
    rule: str
    versions: tuple[SiblingVersion, ...]
    chosen: Dot | None = None
    is_open: bool = False


class ConflictList(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Documents with versions written apart, of those that were asked for."""

    conflicts: tuple[DocumentConflict, ...] = ()


class RepairOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a comparison found, and repaired where it was to: documents by the cause that explains them."""

    tenant: Name
    collection: Name
    documents: dict[str, tuple[str, ...]] = {}
    index: dict[str, tuple[str, ...]] = {}
    """What of the index differed from the documents, by leg."""
    bytes_on_wire: Bytes = 0
    at_ms: Millis = 0
    fault: str = ""
    """Why the comparison could not be made, or the repair not ended."""


class RepairOutcomes(Message, frozen=True, kw_only=True, omit_defaults=True):
    """One outcome for each collection that was compared."""

    outcomes: tuple[RepairOutcome, ...] = ()


class CollectionStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One collection in one domain. `lag` is the deltas of the log that are not applied here, as far as is known;
    `known_at_ms`, by the hub's clock, is when it was last known that nothing was lacking (0: never)."""

    tenant: Name
    collection: Name
    owner: Owner
    state: str
    position: str = ""
    head: str = ""
    lag: LogIndex = 0
    known_at_ms: Millis = 0
    fresh_within_s: int = 0
    is_fresh: bool = True
    documents: LogIndex = 0
    indexed_generation: int = 0
    generation: int = 0
    checksum: str = ""
    conflicts: LogIndex = 0
    pending: LogIndex = 0
    fault: str = ""
    last_repair: RepairOutcome | None = None


class ArtefactStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One artefact in one domain. `epoch` is in force, `offered` is the newest one that is known, maybe a later one."""

    tenant: Name
    kind: str
    name: str
    epoch: int = 0
    offered: int = 0
    digest: str = ""
    size: Bytes = 0
    current_at_ms: Millis = 0
    is_critical: bool = False
    fault: str = ""


class ReplicaStatus(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What a domain knows, how old it is, and what it may do with it: see `tidegate sync status`.

    `switches` are those to evidence-only: at the hub all that were ever published, at a site those that are on.
    """

    domain: Name
    boot_id: str = ""
    incarnation: int = 1
    is_fenced: bool = False
    collections: tuple[CollectionStatus, ...] = ()
    artefacts: tuple[ArtefactStatus, ...] = ()
    switches: tuple[SwitchStatus, ...] = ()
    rung: Rung = "full"
    rung_reason: str = ""
    lease_until_ms: Millis = 0
    assurance: str = ""
    trusted_ms: Millis = 0
    faults: tuple[str, ...] = ()


class Done(Message, frozen=True, kw_only=True, omit_defaults=True):
    """It was done."""


class ReplicaFault(Message, frozen=True, kw_only=True, omit_defaults=True):
    """It was not done: the error's code, its reason and its hint, for people."""

    code: str
    reason: str
    hint: str = ""


REPLICA_REQUESTS: dict[ReplicaVerb, tuple[type[Message], type[Message]]] = {
    "write": (WriteDocuments, DocumentsWritten),
    "collection": (PutCollection, Done),
    "status": (CollectionRequest, ReplicaStatus),
    "conflicts": (CollectionRequest, ConflictList),
    "resolve": (ResolveConflict, DocumentsWritten),
    "verify": (CollectionRequest, RepairOutcomes),
    "repair": (CollectionRequest, RepairOutcomes),
    "snapshot": (CollectionRequest, Done),
    "publish": (PublishArtefact, ArtefactPublished),
    "import": (ImportCollection, CollectionImported),
}
"""What each verb takes, and what it is answered by where it is done; where not, by a `ReplicaFault`."""
