"""Old bytes keep their meaning: a site may lag behind its hub, and a stream behind both, by years."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.message_samples import GOLDEN, SAMPLES
from tests.support.more_message_samples import MORE_SAMPLES
from tidegate.schemas import (
    Accepted,
    ActivationVote,
    Approved,
    ArtefactDescriptor,
    ArtefactManifest,
    ArtefactPublished,
    Asked,
    AttestationRequest,
    AttestNow,
    Begin,
    CloudState,
    Collection,
    CollectionDelta,
    CollectionHead,
    CollectionImported,
    CollectionRequest,
    ConflictList,
    DecideActivation,
    Delta,
    DeltasReply,
    DeltasRequest,
    DocumentOperation,
    DocumentsRequest,
    DocumentsWritten,
    Done,
    DownlinkReply,
    DownlinkRequest,
    Drafted,
    Escalated,
    FollowReply,
    FollowRequest,
    HeadReply,
    HeadRequest,
    HeadSubmission,
    HeldDocuments,
    ImportCollection,
    KeyRegister,
    KeysRotated,
    LeaseReport,
    LostEscalation,
    LostVerdict,
    Message,
    NonceReply,
    NonceRequest,
    Partial,
    PrepareActivation,
    Propose,
    PublishArtefact,
    Published,
    PutCollection,
    RangeReply,
    RangeRequest,
    Refused,
    RelayReceipt,
    RepairOutcomes,
    ReplicaFault,
    ReplicaPosition,
    ReplicaStatus,
    Replied,
    ResolveConflict,
    Resume,
    Retrieved,
    RotateKeys,
    Routed,
    Screened,
    SendOperations,
    SignedLease,
    SignedOperation,
    SiteLease,
    SnapshotManifest,
    StreamCheck,
    StreamReport,
    SucceedKey,
    UnreadableError,
    Verified,
    Withheld,
    WorkClaim,
    WriteDocuments,
    decode,
    encode,
    encode_json,
    is_json,
)
from tidegate.schemas.audit import AuditEntry, AuditEvent
from tidegate.schemas.subjects import token_of

TYPES: tuple[type[Message], ...] = (
    Asked,
    Screened,
    Withheld,
    Replied,
    Routed,
    Retrieved,
    Drafted,
    Escalated,
    Verified,
    Approved,
    Published,
    Refused,
    Partial,
    Delta,
    Resume,
    CloudState,
    Begin,
    Propose,
    Accepted,
    StreamCheck,
    StreamReport,
    LostEscalation,
    LostVerdict,
    WorkClaim,
    Collection,
    DocumentOperation,
    SignedOperation,
    CollectionDelta,
    CollectionHead,
    SnapshotManifest,
    ReplicaPosition,
    RangeRequest,
    RangeReply,
    ArtefactDescriptor,
    ArtefactManifest,
    PrepareActivation,
    ActivationVote,
    DecideActivation,
    SiteLease,
    SignedLease,
    KeyRegister,
    SucceedKey,
    RotateKeys,
    KeysRotated,
    DocumentsRequest,
    HeldDocuments,
    RelayReceipt,
    NonceRequest,
    NonceReply,
    AttestationRequest,
    DownlinkRequest,
    DownlinkReply,
    AttestNow,
    LeaseReport,
    FollowRequest,
    FollowReply,
    HeadRequest,
    DeltasRequest,
    DeltasReply,
    SendOperations,
    WriteDocuments,
    DocumentsWritten,
    PutCollection,
    PublishArtefact,
    ArtefactPublished,
    CollectionRequest,
    ResolveConflict,
    ConflictList,
    RepairOutcomes,
    ReplicaStatus,
    Done,
    ImportCollection,
    CollectionImported,
    ReplicaFault,
    AuditEvent,
    AuditEntry,
    HeadSubmission,
    HeadReply,
)
OPEN = ("question", "plan", "answer", "receipt", "escalated", "speculation")
by_type = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: token_of(type(sample)))


def test_every_type_of_the_pipeline_has_its_golden_files() -> None:
    assert [type(sample) for sample in SAMPLES] == list(TYPES)
    assert {path.name for path in GOLDEN.iterdir()} == {
        f"{token_of(kind)}.{suffix}" for kind in TYPES for suffix in ("msgpack", "json")
    }


@by_type
@pytest.mark.parametrize("suffix", ["msgpack", "json"])
def test_bytes_from_then_mean_what_they_meant_then(sample: Message, suffix: str) -> None:
    data = (GOLDEN / f"{token_of(type(sample))}.{suffix}").read_bytes()
    assert is_json(data) is (suffix == "json")
    assert decode(data, type(sample)) == sample
    assert decode(data, *TYPES) == sample


@pytest.mark.parametrize("sample", [*SAMPLES, *MORE_SAMPLES], ids=lambda sample: token_of(type(sample)))
def test_what_is_written_now_is_read_now(sample: Message) -> None:
    assert decode(encode(sample), *TYPES) == decode(encode_json(sample), *TYPES) == sample


@by_type
def test_fields_from_the_future_are_ignored_at_every_depth(sample: Message) -> None:
    tree: dict[str, Any] = msgspec.msgpack.decode(encode(sample))
    for part in (tree, *(tree[name] for name in OPEN if isinstance(tree.get(name), dict))):
        part["from_the_future"] = {"a": [1, None]}
    assert decode(msgspec.msgpack.encode(tree), *TYPES) == sample
    if type(sample) is not Asked:  # the only one with bytes, which JSON has in base64
        assert decode(msgspec.json.encode(tree), *TYPES) == sample


@by_type
def test_a_fact_cannot_be_changed(sample: Message) -> None:
    name = next((field.name for field in msgspec.structs.fields(type(sample))), "anything")
    with pytest.raises(AttributeError, match="immutable"):
        setattr(sample, name, "other")


@pytest.mark.parametrize("form", [msgspec.json.encode, msgspec.msgpack.encode])
def test_a_type_from_the_future_is_unreadable_and_named(form: Any) -> None:
    with pytest.raises(UnreadableError, match="foretold") as unreadable:
        decode(form({"type": "foretold", "tenant": "kiosk"}), Asked, Screened)
    assert "asked, screened" in unreadable.value.hint


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"\x81", "truncated"),
        (b"[1]", "Expected `object`"),
        (b"\xff\xfe", "Expected `object`"),
        (b'{"type": "asks"}', "asks"),
        (b'{"type": "asked", "tenant": "no such tenant"}', "$.tenant"),
        (b'{"type": "asked", "tenant": "kiosk", "budget_ms": 0}', "$.budget_ms"),
        (b'{"type": "asked", "tenant": "kiosk", "rid": "a.b"}', "$.rid"),
        (b'{"type": "asked", "tenant": "kiosk", "text": "\xff"}', "utf-8"),
        (b'{"type": "asked", "tenant": "kiosk", "x": ' + b"[" * 100_000, "recursion"),
    ],
)
def test_bytes_that_are_no_message_are_unreadable_at_the_first_fault(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableError) as unreadable:
        decode(data, Asked)
    assert reason in unreadable.value.reason
    assert "expected" in unreadable.value.hint


def test_what_no_field_can_hold_cannot_leave_the_site() -> None:
    from tidegate.schemas import Escalated

    fields = {field.name for field in msgspec.structs.fields(Escalated)}
    assert fields == {
        "rid", "tenant", "site", "asked_at_ms", "deadline_at_ms", "timings", "lineage",
        "question", "plan", "reason", "edge_confidence", "draft", "degradations", "can_retract", "generation", "source",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["rid", "tenant", "site"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", " ", ".b", "\u2028"])
def test_an_identifier_is_one_token_of_a_subject_to_its_last_character(name: str, ending: str) -> None:
    tree = {"type": "asked", "text": "x", "tenant": "kiosk", "rid": "r1", "site": "site1"}
    assert decode(msgspec.msgpack.encode(tree), Asked).rid == "r1"
    for form in (msgspec.json.encode, msgspec.msgpack.encode):
        with pytest.raises(UnreadableError, match=name):
            decode(form({**tree, name: tree[name] + ending}), Asked)
