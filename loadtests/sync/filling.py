"""A hub's store with many documents, as if they had been relayed long ago, and its log given up by age since.

Promises signatures that verify, of a site that was provisioned; nothing of it is what is measured. Next: domains.py."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from loadtests.sync.worker import TENANT, WorkerPlan
from tidegate.schemas.clocks import Dot, HybridTime, VectorClock
from tidegate.schemas.message import encode
from tidegate.schemas.replication import HeldDocument
from tidegate.schemas.subjects import HUB
from tidegate.schemas.sync import Collection, DocumentContent, DocumentOperation, LogPosition, SignedOperation
from tidegate.services.fleet.provision import provision_site
from tidegate.sync.apply import put_position
from tidegate.sync.records import held_of
from tidegate.sync.shells.machine import wall_ms
from tidegate.sync.store import ReplicaStore
from tidegate.sync.trust.live_keys import LiveAuthor, LiveKeys

AUTHOR = "site9"


def fill_hub(plan: WorkerPlan, collection: Collection, documents: int, make: Callable[[str], DocumentContent]) -> None:
    """Put `d0`, `d1`, … into the hub's store; its worker must not run. The next thing that it does is a snapshot."""
    assert plan.domain == HUB
    provision_site(plan.settings, AUTHOR)
    signer = LiveAuthor(LiveKeys(plan.paths.keys, AUTHOR), wall_ms)
    plan.paths.replicas.mkdir(parents=True, exist_ok=True)
    store = ReplicaStore(plan.paths.replica(TENANT), HUB, secrets.token_hex(8))
    store.put_collection(collection)
    with store.writing() as writer:
        for number in range(documents):
            document_id = f"d{number}"
            operation = DocumentOperation(
                tenant=TENANT,
                collection=collection.name,
                document_id=document_id,
                dot=Dot(f"{AUTHOR}@1", number + 1),
                boot_id="9" * 16,
                time=HybridTime(number + 1),
                signer=signer.key_id,
                content=make(document_id),
            )
            payload = encode(operation)
            signed = SignedOperation(payload=payload, signature=signer.sign(payload))
            held = HeldDocument(document_id, VectorClock(), (signed,))
            writer.insert(collection.name, held, held_of(held).siblings.digest)
        writer.rebuild(collection.name)
        put_position(writer, collection.name, LogPosition(1, documents), "")
    store.close()
