"""The subjects of sync for the AsyncAPI document, and what is sent under each.

Next: asyncapi.py, which makes the document; schemas/subjects.py."""

from __future__ import annotations

import msgspec

from tidegate.schemas import (
    REPLICA_REQUESTS,
    ActivationVote,
    ArtefactDescriptor,
    ArtefactManifest,
    AttestationRequest,
    AttestNow,
    AuditEntry,
    AuditEvent,
    Collection,
    CollectionDelta,
    CollectionHead,
    DecideActivation,
    DeltasReply,
    DeltasRequest,
    DocumentOperation,
    DocumentsRequest,
    DownlinkReply,
    DownlinkRequest,
    FollowReply,
    FollowRequest,
    HeadReply,
    HeadRequest,
    HeadSubmission,
    HeldDocuments,
    KeyRegister,
    KeysRotated,
    LeaseReport,
    NonceReply,
    NonceRequest,
    PrepareActivation,
    RangeReply,
    RangeRequest,
    Refused,
    RelayReceipt,
    ReplicaFault,
    ReplicaPosition,
    RotateKeys,
    SendOperations,
    SignedLease,
    SignedOperation,
    SiteLease,
    SnapshotManifest,
    SucceedKey,
    subjects,
)

SITE, TENANT, RID = "{site}", "{tenant}", "{rid}"
Kind = type[msgspec.Struct]


class Channel(msgspec.Struct, frozen=True):
    """A subject with gaps for its parameters, and what is sent under it; without messages it is any bytes."""

    address: str | None
    title: str
    messages: tuple[Kind, ...]


OPERATIONS = (SignedOperation, DocumentOperation)
"""What is stored, and what its payload is."""
PUBLISHED = (
    ArtefactDescriptor,
    ArtefactManifest,
    Collection,
    SnapshotManifest,
    KeyRegister,
    PrepareActivation,
    DecideActivation,
)
LEASE_REQUESTS = (NonceRequest, AttestationRequest, DownlinkRequest, SucceedKey, ReplicaPosition)
LEASE_REPLIES = (NonceReply, SignedLease, SiteLease, DownlinkReply, KeysRotated, CollectionHead, RelayReceipt, Refused)
COMPARISONS = (RangeRequest, DocumentsRequest, HeldDocuments)
FOLLOWING = (FollowRequest, HeadRequest, DeltasRequest, SendOperations)
ASKED_OF_WORKERS: dict[str, tuple[Kind, Kind]] = {
    **dict(REPLICA_REQUESTS.items()),
    "attest": (AttestNow, LeaseReport),
    "rotate": (RotateKeys, KeysRotated),
}


def sync_channels() -> dict[str, Channel]:
    """What replicas are made from, and what a site asks the hub for to keep them right."""
    which = (TENANT, "{collection}", "{document}")
    return {
        "edits": Channel(subjects.edits_of(SITE, *which), "stream EDITS, sourced into the hub's", OPERATIONS),
        "localEdits": Channel(subjects.local_edits(*which), "stream LOCAL: it never leaves its domain", OPERATIONS),
        "corpus": Channel(subjects.corpus(*which), "stream CORPUS, mirrored from the hub", (CollectionDelta,)),
        "artefacts": Channel(
            subjects.artefacts(TENANT, "{kind}", "{name}"), "stream ARTEFACTS, mirrored from the hub", PUBLISHED
        ),
        "compare": Channel(
            subjects.comparison(SITE), "what there is to hold, what lacks or differs", (*FOLLOWING, *COMPARISONS)
        ),
        "vote": Channel(subjects.activation_vote(SITE), "the site holds what is prepared, or not", (ActivationVote,)),
        "lease": Channel(subjects.lease_of(SITE), "for a lease, and for what it is sent", LEASE_REQUESTS),
        "heads": Channel(subjects.heads_of(SITE), "the head of its audit log, to be witnessed", (HeadSubmission,)),
        "auditLog": Channel(
            None, "files of a domain: what is reported to its log, and the log", (AuditEvent, AuditEntry)
        ),
        "headsReply": Channel(None, "the reply subject of `heads`", (HeadReply,)),
        "compareReply": Channel(
            None,
            "the reply subject of `compare`",
            (FollowReply, CollectionHead, DeltasReply, RangeReply, HeldDocuments, RelayReceipt),
        ),
        "voteReply": Channel(None, "the reply subject of `vote`", (DecideActivation, Refused)),
        "leaseReply": Channel(None, "the reply subject of `lease`", LEASE_REPLIES),
    }


def replica_channels() -> dict[str, Channel]:
    """What the sync worker of a domain is asked there, verb by verb, and what it replies."""
    channels: dict[str, Channel] = {}
    for verb, (request, reply) in ASKED_OF_WORKERS.items():
        subject, name = subjects.replica_request(verb), f"replica{verb.title()}"
        channels[name] = Channel(subject, "asked of the sync worker of this domain", (request,))
        channels[f"{name}Reply"] = Channel(None, f"the reply subject of `{subject}`", (reply, ReplicaFault))
    return channels
