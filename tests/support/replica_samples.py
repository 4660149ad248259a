"""One value of every type by which the sync worker of a domain is asked and answers; see message_samples.py."""

from __future__ import annotations

from tests.support.sync_samples import DIGEST, OPERATION, OTHER_DIGEST, SYNC_SAMPLES
from tidegate.schemas import (
    ArtefactPublished,
    ArtefactStatus,
    Collection,
    CollectionImported,
    CollectionRequest,
    CollectionStatus,
    ConflictList,
    DocumentConflict,
    DocumentsWritten,
    Done,
    Dot,
    ImportCollection,
    Message,
    PublishArtefact,
    PutCollection,
    RepairOutcome,
    RepairOutcomes,
    ReplicaFault,
    ReplicaStatus,
    ResolveConflict,
    SiblingVersion,
    WriteDocuments,
)

WHICH = {"tenant": "kiosk", "collection": "branch-notices"}
NOW = 1_790_000_000_000
assert OPERATION.content is not None
[COLLECTION] = (sample for sample in SYNC_SAMPLES if isinstance(sample, Collection))
OUTCOME = RepairOutcome(
    **WHICH,
    documents={"disk": ("opening-hours",), "lost-delta": ("fees", "queue")},
    index={"keywords": ("fees",)},
    bytes_on_wire=2787,
    at_ms=NOW,
    fault="the link was cut",
)

REPLICA_SAMPLES: tuple[Message, ...] = (
    WriteDocuments(**WHICH, documents={"opening-hours": OPERATION.content}, deleted=("old-hours",)),
    DocumentsWritten(**WHICH, dots={"opening-hours": Dot("site1@2", 41)}),
    PutCollection(collection=COLLECTION),
    PublishArtefact(
        tenant="kiosk",
        kind="adapter",
        name="branch",
        path="/srv/models/branch.tar",
        is_critical=True,
        soft_s=600,
        hard_s=86_400,
        at_hard="local-only",
        base_digests=(OTHER_DIGEST,),
    ),
    ArtefactPublished(
        tenant="kiosk", kind="adapter", name="branch", epoch=3, digest=DIGEST, size=4096, is_new=False
    ),
    CollectionRequest(**WHICH),
    ResolveConflict(**WHICH, document_id="opening-hours", keep=Dot("site2@1", 7)),
    ConflictList(
        conflicts=(
            DocumentConflict(
                **WHICH,
                document_id="opening-hours",
                rule="ask",
                versions=(
                    SiblingVersion(
                        dot=Dot("site1@2", 41),
                        author="site1",
                        written_at_ms=NOW,
                        signer=OTHER_DIGEST,
                        title="Opening hours",
                        text="We are open until 18:00.",
                    ),
                    SiblingVersion(
                        dot=Dot("site2@1", 7), author="site2", written_at_ms=NOW + 1, signer=DIGEST, is_deletion=True
                    ),
                ),
                chosen=Dot("site2@1", 7),
                is_open=True,
            ),
        )
    ),
    RepairOutcomes(outcomes=(OUTCOME,)),
    ReplicaStatus(
        domain="site1",
        boot_id="1234" * 4,
        incarnation=2,
        is_fenced=True,
        collections=(
            CollectionStatus(
                **WHICH,
                owner="site",
                state="lagging",
                position="3.1190",
                head="3.1200",
                lag=10,
                known_at_ms=NOW,
                fresh_within_s=600,
                is_fresh=False,
                documents=812,
                indexed_generation=411,
                generation=412,
                checksum=DIGEST,
                conflicts=1,
                pending=2,
                fault="the hub does not answer",
                last_repair=OUTCOME,
            ),
        ),
        artefacts=(
            ArtefactStatus(
                tenant="kiosk",
                kind="policy",
                name="default",
                epoch=12,
                offered=13,
                digest=DIGEST,
                size=4096,
                current_at_ms=NOW,
                is_critical=True,
                fault="a chunk is not here yet",
            ),
        ),
        rung="evidence-only",
        rung_reason="the policy default is 2 days old",
        lease_until_ms=NOW + 300_000,
        assurance="software",
        trusted_ms=NOW,
        faults=("the timestamp of the repository has expired",),
    ),
    Done(),
    ImportCollection(path="/media/stick/branch-notices.bundle"),
    CollectionImported(**WHICH, position="3.1200", documents=812, known_at_ms=NOW, is_new=False),
    ReplicaFault(code="not_owned", reason="site1 may not write to documents", hint="publish it at the hub"),
)  # fmt: skip
