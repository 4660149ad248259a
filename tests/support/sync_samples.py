"""One value of every type that replicas speak, with something in every field; see message_samples.py."""

from __future__ import annotations

import msgspec

from tidegate.schemas import (
    ActivationVote,
    ArtefactDescriptor,
    ArtefactManifest,
    AttestationRequest,
    AttestNow,
    Collection,
    CollectionDelta,
    CollectionHead,
    DecideActivation,
    DeltasReply,
    DeltasRequest,
    DocumentContent,
    DocumentOperation,
    DocumentsRequest,
    Dot,
    DownlinkReply,
    DownlinkRequest,
    FollowReply,
    FollowRequest,
    HeadRequest,
    HeldDocument,
    HeldDocuments,
    HybridTime,
    KeyRegister,
    KeysRotated,
    LeaseReport,
    LogPosition,
    Message,
    NonceReply,
    NonceRequest,
    PrepareActivation,
    RangeReply,
    RangeRequest,
    RelayReceipt,
    ReplicaPosition,
    RotateKeys,
    SendOperations,
    SignedLease,
    SignedOperation,
    SiteLease,
    SnapshotManifest,
    StalenessBudget,
    SucceedKey,
    TrustedKey,
    VectorClock,
    encode,
)
from tidegate.schemas.comparison import DocumentDigest, RangeDigests
from tidegate.schemas.message import replace
from tidegate.schemas.sync import AuthorMark, BootStart, FieldStamp, SnapshotChunk, Vectors
from tidegate.schemas.trust import KeySuccession

DIGEST, OTHER_DIGEST = "0a" * 32, "b1" * 32
WHICH = {"tenant": "kiosk", "collection": "branch-notices"}
CLOCK = VectorClock((("hub@1", 7), ("site1@2", 40)))
POSITION = LogPosition(3, 1200)
MARKS = {
    "site1@2": AuthorMark(
        counter=41, digest=DIGEST, previous=OTHER_DIGEST, boots=(BootStart("00ff" * 4, 1), BootStart("1234" * 4, 30))
    )
}
OPERATION = DocumentOperation(
    tenant="kiosk",
    collection="branch-notices",
    document_id="opening-hours",
    dot=Dot("site1@2", 41),
    boot_id="1234" * 4,
    context=CLOCK,
    time=HybridTime(1_790_000_000_000, 2),
    signer=OTHER_DIGEST,
    previous=DIGEST,
    content=DocumentContent(
        title="Opening hours",
        language="en",
        text="We are open until 18:00.",
        meta={"owner": "branch"},
        vectors=Vectors(model=DIGEST, dimensions=2, digest=OTHER_DIGEST, data=b"\x00\x3c\x00\x00"),
        stamps={"title": FieldStamp(HybridTime(1_780_000_000_000, 0), Dot("hub@1", 7))},
    ),
)
SIGNED = SignedOperation(payload=encode(OPERATION), signature=bytes(range(64)))
ARTEFACT = ArtefactDescriptor(
    tenant="kiosk",
    kind="policy",
    name="default",
    digest=DIGEST,
    size=4096,
    epoch=12,
    budget=StalenessBudget(soft_s=600, hard_s=86_400, at_hard="local-only", closed_s=604_800),
    is_critical=True,
    base_digests=(OTHER_DIGEST,),
    published_at_ms=1_790_000_000_000,
)
SUCCESSOR = TrustedKey(key_id=OTHER_DIGEST, role="author", owner="site1", public=bytes(range(1, 33)))
SUCCESSION = KeySuccession(site="site1", incarnation=2, key=SUCCESSOR, overlap_s=86_400)
LEASE = SiteLease(
    site="site1",
    boot_id="1234" * 4,
    counter=42,
    incarnation=2,
    lasts_s=300,
    hub_time_ms=1_790_000_000_400,
    epochs={"default": 12},
)

RULE = Collection(
    tenant="kiosk",
    name="branch-notices",
    owner="site",
    sites=("site1", "site2"),
    sites_write=True,
    merge="field-merge",
    fresh_within_s=60,
)
DELTA = CollectionDelta(**WHICH, position=POSITION, operation=SIGNED, relayed_at_ms=1_790_000_000_100)
HEAD = CollectionHead(
    **WHICH,
    position=POSITION,
    first=900,
    checksum=DIGEST,
    documents=812,
    tail_bytes=65_536,
    known_at_ms=1_790_000_000_200,
)

SYNC_SAMPLES: tuple[Message, ...] = (
    RULE,
    OPERATION,
    SIGNED,
    DELTA,
    HEAD,
    SnapshotManifest(
        **WHICH,
        position=POSITION,
        checksum=DIGEST,
        root=OTHER_DIGEST,
        documents=812,
        size=1_000_000,
        chunks=(SnapshotChunk(DIGEST, 524_288), SnapshotChunk(OTHER_DIGEST, 475_712)),
        floor=CLOCK,
        authors=MARKS,
        code_version="0.1.0",
        made_at_ms=1_790_000_000_000,
    ),
    ReplicaPosition(
        **WHICH, position=POSITION, last=DIGEST, checksum=OTHER_DIGEST, floor=CLOCK, authors=MARKS
    ),
    RangeRequest(**WHICH, ranges=("", "0a", "ffff")),
    RangeReply(
        **WHICH,
        position=POSITION,
        ranges=(
            RangeDigests("0a", parts=(b"\x01" * 16, b"")),
            RangeDigests("ffff", documents=(DocumentDigest("opening-hours", b"\x02" * 16),)),
        ),
    ),
    ARTEFACT,
    ArtefactManifest(artefact=ARTEFACT, chunks=(SnapshotChunk(DIGEST, 4096),)),
    PrepareActivation(artefact=ARTEFACT),
    ActivationVote(tenant="kiosk", name="default", site="site1", epoch=12, digest=DIGEST, fault="the disk is full"),
    DecideActivation(
        tenant="kiosk", name="default", epoch=12, digest=DIGEST, outcome="commit", decided_at_ms=1_790_000_000_300
    ),
    LEASE,
    SignedLease(payload=encode(LEASE), signer=OTHER_DIGEST, signature=bytes(range(64))),
    KeyRegister(
        keys=(
            TrustedKey(
                key_id=DIGEST,
                role="device",
                owner="site1",
                public=bytes(range(32)),
                created_at_ms=1_780_000_000_000,
                expires_at_ms=1_800_000_000_000,
                revoked_at_ms=1_790_000_000_500,
                reason="the disk was stolen",
            ),
        )
    ),
    SucceedKey(
        payload=msgspec.msgpack.encode(SUCCESSION), signer=DIGEST, signature=bytes(range(64)), possession=bytes(64)
    ),
    RotateKeys(roles=("author",), overlap_s=86_400),
    KeysRotated(keys=(SUCCESSOR,), before=(replace(SUCCESSOR, key_id=DIGEST, expires_at_ms=1_790_000_086_400),)),
    DocumentsRequest(**WHICH, document_ids=("opening-hours", "fees")),
    HeldDocuments(
        **WHICH, position=POSITION, floor=CLOCK, documents=(HeldDocument("opening-hours", CLOCK, (SIGNED,)),)
    ),
    RelayReceipt(actor="site1@2", outcome="hole", taken=3, reason="42 is missing", mark=MARKS["site1@2"]),
    NonceRequest(),
    NonceReply(nonce=DIGEST),
    AttestationRequest(envelope=b'{"payload": ""}'),
    DownlinkRequest(
        kbit_s=40_000,
        bulk_hours=("22:00-06:00",),
        wants_weights=True,
        tenants=("kiosk",),
        collections=(("kiosk", "faq"),),
        remade=("CORPUS",),
    ),
    DownlinkReply(
        tenants=("kiosk",),
        collections=(("kiosk", "faq"),),
        paused=("index", "weights"),
        passed={"CORPUS": (17, 4096)},
    ),
    AttestNow(),
    LeaseReport(
        site="site1",
        incarnation=2,
        counter=42,
        assurance="software",
        until_ms=1_790_000_300_400,
        lasts_s=300,
        epochs={"kiosk/default": 12},
        measured={"code": DIGEST},
        code="unexpected_digest",
        reason="site1 runs code 0a, which is not allowed",
        hint="attest again",
    ),
    FollowRequest(
        tenant="kiosk",
        actor="site1@2",
        positions={"branch-notices": POSITION, "fees": None},
    ),
    FollowReply(
        tenant="kiosk",
        collections=(RULE,),
        heads=(HEAD,),
        withdrawn=("fees",),
        mark=MARKS["site1@2"],
        fence="a backup or a clone wrote 41",
        known_at_ms=1_790_000_000_200,
    ),
    HeadRequest(**WHICH),
    DeltasRequest(**WHICH, epoch=3, first=1190, last=1200),
    DeltasReply(**WHICH, deltas=(DELTA,)),
    SendOperations(tenant="kiosk", actor="site1@2", operations=(SIGNED,)),
)  # fmt: skip
