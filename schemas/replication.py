"""What replicas hand each other beside the log: documents as they are held, and what became of an author's operations.

The same bytes are in a chunk of a snapshot, in a repair and in a file; next: sync/rules/merge.py, sync/relay.py."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.clocks import Actor, VectorClock
from tidegate.schemas.message import Message, Name
from tidegate.schemas.pack import ItemId
from tidegate.schemas.sync import AuthorMark, LogIndex, LogPosition, SignedOperation

MOST_DOCUMENTS = 256
"""Documents that one request names at most."""
RelayOutcome = Literal["relayed", "known", "hole", "ahead", "refused", "fenced"]


class HeldDocument(msgspec.Struct, frozen=True, array_like=True):
    """All that a replica holds of a document: the operations that nothing has replaced, as they were signed, and
    `context`, which covers all that was replaced."""

    document_id: ItemId
    context: VectorClock = VectorClock()
    operations: tuple[SignedOperation, ...] = ()


class DocumentsRequest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Asks for all that is held of these documents. Answered by `HeldDocuments`."""

    tenant: Name
    collection: Name
    document_ids: Annotated[tuple[ItemId, ...], msgspec.Meta(min_length=1, max_length=MOST_DOCUMENTS)]


class HeldDocuments(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Documents as one replica holds them at `position`: a chunk of a snapshot, a reply, or what a site offers the hub.

    A document that was asked for and is not among them is not held; its tombstone may be covered by `floor`.
    """

    tenant: Name
    collection: Name
    position: LogPosition | None = None
    floor: VectorClock = VectorClock()
    documents: tuple[HeldDocument, ...] = ()


class RelayReceipt(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What the hub did with operations of an author: `taken` of those that were sent are in the log, the first of them.

    `outcome` is that of the first that is not (`relayed` or `known`: there is none), and `reason` says it to people.
    `mark` is the last operation of the author that the hub has.
    """

    actor: Actor
    outcome: RelayOutcome
    taken: LogIndex = 0
    reason: str = ""
    mark: AuthorMark | None = None
