"""Applies entries of a collection's log to a store, at the hub and at a site alike: what is next, in order, once.

Documents, marks and position change in the caller's transaction; an entry twice is a no-op. Next: follower.py."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from tidegate.schemas.clocks import HybridTime
from tidegate.schemas.sync import AuthorMark, BootStart, CollectionDelta, LogPosition
from tidegate.sync.rules.counters import AuthorHoleError, CounterWentBackError, observe
from tidegate.sync.rules.merge import Version, version_of
from tidegate.sync.rules.replica import Replica
from tidegate.sync.signing import SignatureVerifier, UntrustedOperationError, check_signature
from tidegate.sync.writer import StoreWriter

CHAIN = "stream:EDITS"
"""The scope of the marks by which the hub judges the chain of each author; no collection has a colon in its name."""


def checked_version(verifier: SignatureVerifier, delta: CollectionDelta) -> Version:
    """The version of a delta. Raises `UntrustedOperationError`, also for an operation of another collection."""
    version = version_of(delta.operation)
    operation = version.operation
    if (operation.tenant, operation.collection) != (delta.tenant, delta.collection):
        raise UntrustedOperationError(f"{operation.dot} is of {operation.collection}, and not of {delta.collection}")
    check_signature(verifier, operation, delta.operation, delta.relayed_at_ms)
    return version


def check_own(writer: StoreWriter, version: Version) -> None:
    """Raises `CounterWentBackError` where an operation was written as this author, and this disk does not know it."""
    own, operation = writer.own(), version.operation
    if operation.dot.actor != own.actor:
        return
    if operation.dot.counter > own.counter:
        raise CounterWentBackError(f"{operation.dot} was written here, and this disk knows {own.counter} operations")
    observe(writer.mark(operation.collection, own.actor), version, is_whole=False)


def apply_version(writer: StoreWriter, delta: CollectionDelta, version: Version) -> None:
    """Apply one delta, which the caller found to be the next one, or known.

    The hub judged the history of its author; where the marks here cannot follow it, as after a log was lost, they
    stay. Raises `ForkedDotError`: the caller's transaction has to be given up.
    """
    operation = version.operation
    actor = operation.dot.actor
    mark = writer.mark(delta.collection, actor)
    with suppress(CounterWentBackError):
        writer.put_mark(delta.collection, actor, observe(mark, version, is_whole=False))
    writer.join(delta.collection, version, delta.operation)
    if actor == writer.own().actor:
        writer.drop_pending(actor, (operation.dot.counter,))
    follow_time(writer, operation.time)


def follow_time(writer: StoreWriter, time: HybridTime) -> None:
    """Have the next own operation be later than one that was received."""
    own = writer.own()
    if time > own.time:
        writer.put_own(msgspec.structs.replace(own, time=time))


def extend_chain(writer: StoreWriter, version: Version) -> None:
    """Have the hub know that this operation of its author is in the log.

    Also one that came on another way than the author's stream, after the log was lost: whatever is later counts.
    """
    actor = version.operation.dot.actor
    mark = writer.mark(CHAIN, actor)
    with suppress(CounterWentBackError):
        try:
            writer.put_mark(CHAIN, actor, observe(mark, version))
        except AuthorHoleError:
            writer.put_mark(CHAIN, actor, _mark_behind_hole(version, mark))


def _mark_behind_hole(version: Version, mark: AuthorMark | None) -> AuthorMark:
    """What is missing in between counts as written by the same start as this."""
    moved, operation = observe(mark, version, is_whole=False), version.operation
    known = mark.boots if mark else ()
    if known and known[-1].boot_id == operation.boot_id:
        boots = moved.boots
    else:
        boots = (*moved.boots[:-1], BootStart(operation.boot_id, mark.counter + 1 if mark else 1))
    return msgspec.structs.replace(moved, previous=operation.previous, boots=boots)


def put_position(writer: StoreWriter, collection: str, position: LogPosition, last: str) -> None:
    """Store how far the log was applied, at the hub: its own replica follows always."""
    record = writer.record(collection)
    replica = Replica(state="following", position=position, generation=max(1, record.replica.generation))
    writer.put_record(msgspec.structs.replace(record, replica=replica, last=last))
