"""The versions of a document that no other has replaced, from whatever operations arrived, in whatever order.

The state is a function of the set of operations: it converges under any order, duplication and partition.
Next: resolve.py, which makes one document of several versions."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from tidegate.schemas.clocks import VectorClock
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import decode
from tidegate.schemas.sync import DocumentOperation, SignedOperation
from tidegate.sync.rules.clock import NOTHING, clock_of, compare, covers, merge


class ForkedDotError(TidegateError):
    """Two different operations have the same dot: two machines write as one author."""

    hint = "fence the author: its disk was cloned, or a backup of it was restored; provision it anew"


class Version(msgspec.Struct, frozen=True):
    """One operation on a document, and the digest of the bytes that its author signed."""

    operation: DocumentOperation
    digest: str


class Siblings(msgspec.Struct, frozen=True):
    """What is held of one document: the versions that nothing has replaced, by dot, and `context`, which covers all
    that was replaced. A version whose operation has no content is a tombstone. Two that are equal hold the same."""

    context: VectorClock = NOTHING
    versions: tuple[Version, ...] = ()

    @property
    def clock(self) -> VectorClock:
        """Covers every operation that this follows from: the context of whatever is to replace all of it."""
        return merge((self.context, clock_of(version.operation.dot for version in self.versions)))

    @property
    def is_deleted(self) -> bool:
        """Whether nothing but tombstones is left."""
        return all(version.operation.content is None for version in self.versions)

    @property
    def digest(self) -> bytes:
        """The sha256 of all of it: what the Merkle tree compares."""
        return sha256(msgspec.msgpack.encode((self.context, [each.digest for each in self.versions]))).digest()


NO_VERSIONS = Siblings()


def version_of(signed: SignedOperation) -> Version:
    """The version that a signed operation makes; who signed it is checked elsewhere. Raises `UnreadableError`."""
    return Version(decode(signed.payload, DocumentOperation), sha256(signed.payload).hexdigest())


def join(siblings: Siblings, version: Version) -> Siblings:
    """The siblings with one more version; the same ones where it is known, or replaced already. Raises
    `ForkedDotError`.

    The floor of a collection is not asked: it covers all that an author wrote before a forgotten deletion, also what is
    still there. What was forgotten is in no log of the epoch, and with replicas of another `reconcile` keeps it away.
    """
    if covers(siblings.context, version.operation.dot):
        return siblings
    return _siblings((siblings.context, version.operation.context), (*siblings.versions, version))


def reconcile(mine: Siblings, theirs: Siblings, my_floor: VectorClock, their_floor: VectorClock) -> Siblings:
    """What both replicas hold once they have compared a document: each one's versions that the other has not replaced.

    A version that one lacks though its floor covers it was deleted there, and the tombstone is gone: it goes too, and
    is not resurrected. Commutative, associative, idempotent. Raises `ForkedDotError`.
    """
    kept = [
        version
        for ours, other, floor in ((mine, theirs, their_floor), (theirs, mine, my_floor))
        for version in ours.versions
        if not covers(floor, version.operation.dot)
        or any(known.operation.dot == version.operation.dot for known in other.versions)
    ]
    return _siblings((mine.context, theirs.context), kept)


def rejoin(mine: Siblings, theirs: Siblings, my_floor: VectorClock, their_floor: VectorClock) -> Siblings:
    """What a replica holds once it has joined what the hub holds: as `reconcile`, and in the hub's own form where
    nothing else is left, though this replica knows more of what was replaced: all of that is below the hub's floor.

    Raises `ForkedDotError`.
    """
    joined = reconcile(mine, theirs, my_floor, their_floor)
    known = merge((theirs.context, their_floor))
    is_theirs = joined.versions == theirs.versions and compare(joined.context, known) in ("before", "equal")
    return theirs if is_theirs else joined


def may_forget(siblings: Siblings, stable: VectorClock) -> bool:
    """Whether only tombstones are left, and every replica has applied them and all that they replaced (`stable`).

    Whoever forgets them merges their clock into the collection's floor; next: `context_of_edit`.
    """
    return siblings.is_deleted and compare(siblings.clock, stable) in ("before", "equal")


def context_of_edit(siblings: Siblings, floor: VectorClock) -> VectorClock:
    """The context of an operation that replaces all that is held of a document, where nothing is held too.

    A document that was deleted and is written again replaces its tombstone, forgotten or not; without the floor,
    a replica that still has the tombstone would take the two for a conflict.
    """
    return merge((siblings.clock, floor))


def _siblings(contexts: Iterable[VectorClock], versions: Iterable[Version]) -> Siblings:
    context = merge(contexts)
    kept: dict[str, Version] = {}
    for version in versions:
        dot = version.operation.dot
        if covers(context, dot):
            continue
        if kept.setdefault(str(dot), version).digest != version.digest:
            raise ForkedDotError(f"two operations on {version.operation.document_id} have the dot {dot}")
    return Siblings(context, tuple(sorted(kept.values(), key=lambda version: version.operation.dot)))
