"""Makes documents whole again that the disk did not give back as they were stored, from the stream they went through.

Promises that a document is changed only where the stream has something of it. Next: local_journal.py; hub_tenant.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tidegate.schemas.sync import SignedOperation
from tidegate.sync.records import NOT_HELD
from tidegate.sync.rules.drift import DriftCause
from tidegate.sync.rules.merge import may_forget, version_of
from tidegate.sync.store import ReplicaStore


async def read_back(store: ReplicaStore, collection: str) -> dict[DriftCause, tuple[str, ...]]:
    """Read every document of a collection back from the disk: those that are not what was stored, by what did it."""
    changed = await asyncio.to_thread(store.scrub, collection)
    with store.reading() as reader:
        damages = reader.damages(collection)
    written_over = set(changed) - damages  # whole by their checksum, and not what the tree was made from
    found: dict[DriftCause, tuple[str, ...]] = {"tamper": tuple(sorted(written_over)), "disk": tuple(sorted(damages))}
    return {cause: ids for cause, ids in found.items() if ids}


async def mend(
    store: ReplicaStore,
    collection: str,
    document_ids: Sequence[str],
    operations_of: Callable[[str, str], Awaitable[Sequence[SignedOperation]]],
) -> tuple[str, ...]:
    """Make documents again of all operations on them that `operations_of(collection, id)` finds; returns those of which
    there are none, which stay as they are. Raises what that raises."""
    lost = []
    for document_id in document_ids:
        operations = await operations_of(collection, document_id)
        if not operations:
            lost.append(document_id)
            continue
        with store.writing() as writer:
            writer.put_held(collection, document_id, NOT_HELD)
            for signed in operations:
                writer.join(collection, version_of(signed), signed)
            if may_forget(writer.held(collection, document_id).siblings, writer.record(collection).floor):
                writer.put_held(collection, document_id, NOT_HELD)  # its deletion was forgotten
            writer.clear_damage_of(collection, document_id)
    return tuple(lost)
