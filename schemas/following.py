"""What a site asks the hub for to follow it: what it may hold, where each log ends, deltas, the fate of its own edits.

Each reply fits one message of NATS, and a `ReplicaFault` may come instead. Next: schemas/comparison.py, repairs;
sync/shells/hub_endpoints.py, which answers."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tidegate.schemas.clocks import Actor
from tidegate.schemas.message import Message, Millis, Name
from tidegate.schemas.sync import (
    AuthorMark,
    Collection,
    CollectionDelta,
    CollectionHead,
    LogIndex,
    LogPosition,
    SignedOperation,
)

MOST_OPERATIONS = 500
"""Operations that a site sends in one request at most."""
MOST_DELTAS = 1000
"""Deltas that one request names at most."""


class FollowRequest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Asks what of a tenant the site may hold, and where the logs end. `actor` is who the site writes as, `positions`
    is how far it is in what it holds, `pending` how many of its edits have no receipt yet. Answered by
    `FollowReply`."""

    tenant: Name
    actor: Actor
    positions: dict[Name, LogPosition | None] = msgspec.field(default_factory=dict)
    pending: Annotated[int, msgspec.Meta(ge=0)] = 0


class FollowReply(Message, frozen=True, kw_only=True, omit_defaults=True):
    """All collections that the site may hold, as of `known_at_ms` by the hub's clock, and the heads of those whose
    log is at rest. `withdrawn` are those that it holds and may not hold any more. `mark` is the last operation of the
    site that is in the log; `fence` says why no more is taken."""

    tenant: Name
    collections: tuple[Collection, ...] = ()
    heads: tuple[CollectionHead, ...] = ()
    withdrawn: tuple[Name, ...] = ()
    mark: AuthorMark | None = None
    fence: str = ""
    known_at_ms: Millis = 0


class HeadRequest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Asks for the end of a collection's log. Answered by `CollectionHead`."""

    tenant: Name
    collection: Name


class DeltasRequest(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Asks for deltas of an epoch of a log, from index `first` to `last`. Answered by `DeltasReply`."""

    tenant: Name
    collection: Name
    epoch: Annotated[int, msgspec.Meta(ge=1)]
    first: Annotated[int, msgspec.Meta(ge=1)]
    last: LogIndex


class DeltasReply(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The deltas that were asked for, in order; the first of them where a reply has no room for more."""

    tenant: Name
    collection: Name
    deltas: tuple[CollectionDelta, ...] = ()


class SendOperations(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Sends operations of the site again whose receipt did not come, in the order of its chain. Answered by
    `RelayReceipt`; none of them: only the mark is asked for."""

    tenant: Name
    actor: Actor
    operations: Annotated[tuple[SignedOperation, ...], msgspec.Meta(max_length=MOST_OPERATIONS)] = ()
