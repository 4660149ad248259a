"""Finds which documents of a collection differ between two replicas, with a few kilobytes of digests.

A tree is a value: an update makes a new one that shares all but one path with the old, so that a comparison reads one
state while deltas are applied. Next: drift.py, why they differ; schemas/comparison.py, the dialogue on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import NamedTuple

from tidegate.schemas.comparison import DocumentDigest, RangeDigests
from tidegate.schemas.errors import TidegateError

FAN_OUT = 16
DEPTH = 4
"""Levels below the root: 65 536 smallest ranges, so that up to a million documents have at most some 16 in each."""
DIGEST_BYTES = 16
EMPTY = b""
"""The digest of a range without documents."""
NODE_BYTES = 32
ABSENT = bytes(NODE_BYTES)
"""Stands for the digest of an empty part: no sha256 that anybody has seen."""
CHECKSUM_BYTES = 32


class RangeUnknownError(TidegateError):
    """The other replica was asked for a range that no tree has, or answered for one that it was not asked for."""

    hint = "both sides must run versions that compare in the same ranges; begin the comparison anew"


class Node(NamedTuple):
    """A range: its digest, its parts, and of a smallest range its documents with the digest of what is held of each."""

    digest: bytes = EMPTY
    parts: tuple[Node, ...] = ()
    documents: Mapping[str, bytes] = {}


EMPTY_TREE = Node()


class Checksum(NamedTuple):
    """Of all documents of a collection, in whatever order they came: the sum of their hashes, and how many there are.

    It costs the same for one document as for a million. Equal sums mean equal documents where nobody forges them: what
    an adversary may have written is compared by the tree. Source: AdHash, Bellare and Micciancio, EUROCRYPT 1997.
    """

    total: int = 0
    documents: int = 0

    def replaced(self, document_id: str, old: bytes | None, new: bytes | None) -> Checksum:
        """The checksum after a document that had the digest `old` has `new`; None: it is not held."""
        total = self.total + _hash_of(document_id, new) - _hash_of(document_id, old)
        return Checksum(total % (1 << 8 * CHECKSUM_BYTES), self.documents + (new is not None) - (old is not None))

    @property
    def digest(self) -> str:
        """The sum, as 64 hexadecimal digits."""
        return self.total.to_bytes(CHECKSUM_BYTES, "big").hex()


def key_of(document_id: str) -> str:
    """Where a document is in the tree: the first digits of the sha256 of its id, so that ranges are equally full."""
    return sha256(document_id.encode()).hexdigest()[:DEPTH]


def checksum_of(documents: Mapping[str, bytes]) -> Checksum:
    """The checksum of documents, given by id with the digest of what is held of each."""
    total = sum(_hash_of(document_id, digest) for document_id, digest in documents.items())
    return Checksum(total % (1 << 8 * CHECKSUM_BYTES), len(documents))


def build(documents: Mapping[str, bytes]) -> Node:
    """The tree of documents, given by id with the digest of what is held of each; that of `update` for each of them."""
    keyed = sorted((key_of(document_id), document_id, digest) for document_id, digest in documents.items())
    level: list[tuple[str, Node]] = []
    leaves: dict[str, dict[str, bytes]] = {}
    for key, document_id, digest in keyed:
        leaves.setdefault(key, {})[document_id] = digest
    level = [(key, leaf(held)) for key, held in leaves.items()]
    for depth in range(DEPTH - 1, -1, -1):
        parts: dict[str, list[Node]] = {}
        for key, node in level:
            parts.setdefault(key[:depth], [EMPTY_TREE] * FAN_OUT)[int(key[depth], FAN_OUT)] = node
        level = [(key, inner(tuple(nodes))) for key, nodes in parts.items()]
    return level[0][1] if level else EMPTY_TREE


def update(tree: Node, document_id: str, digest: bytes | None) -> Node:
    """The tree with what is held of a document changed, or the document gone (None). Costs `DEPTH` hashes."""
    return _update(tree, key_of(document_id), document_id, digest)


def in_detail(tree: Node, ranges: Iterable[str]) -> tuple[RangeDigests, ...]:
    """The answer to a request for ranges. Raises `RangeUnknownError` for a range deeper than the tree."""
    return tuple(_detail(_node_at(tree, key), key) for key in ranges)


class Differences(NamedTuple):
    """What one reply told: ranges to ask for next, and documents of which the two replicas hold different things."""

    ranges: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()


def differences(tree: Node, asked: Iterable[str], replied: Iterable[RangeDigests]) -> Differences:
    """What differs between this tree and the ranges of another; begins with the range `""`, ends with no more ranges.

    Raises `RangeUnknownError` where what was replied is not what was asked for.
    """
    ranges: list[str] = []
    documents: list[str] = []
    expected, details = tuple(asked), tuple(replied)
    if tuple(detail.range for detail in details) != expected:
        raise RangeUnknownError("the reply is not for the ranges that were asked for")
    for detail in details:
        mine = _node_at(tree, detail.range)
        if len(detail.range) == DEPTH:
            theirs = {each.document_id: each.digest for each in detail.documents}
            ours = {document_id: _short(digest) for document_id, digest in mine.documents.items()}
            documents += sorted(each for each in ours.keys() | theirs.keys() if ours.get(each) != theirs.get(each))
            continue
        for part, (own, other) in enumerate(zip(_digests(mine), _padded(detail.parts), strict=True)):
            if own != other:
                ranges.append(f"{detail.range}{part:x}")
    return Differences(tuple(ranges), tuple(documents))


def differing(mine: Node, theirs: Node) -> tuple[str, ...]:
    """The documents on which two trees of one machine differ, as those of the log and of an index made from it."""
    ranges: tuple[str, ...] = ("",)
    documents: list[str] = []
    while ranges:
        found = differences(mine, ranges, in_detail(theirs, ranges))
        ranges, documents = found.ranges, [*documents, *found.documents]
    return tuple(documents)


def documents_in(tree: Node) -> Iterator[tuple[str, bytes]]:
    """Every document of the tree, with the digest of what is held of it."""
    yield from tree.documents.items()
    for part in tree.parts:
        yield from documents_in(part)


def leaf(documents: Mapping[str, bytes]) -> Node:
    """A smallest range of these documents, given by id with the digest of what is held of each."""
    if not documents:
        return EMPTY_TREE
    hashed = sha256(b"leaf")
    for document_id, digest in sorted(documents.items()):
        hashed.update(sha256(document_id.encode()).digest() + sha256(digest).digest())
    return Node(hashed.digest(), (), documents)


def inner(parts: tuple[Node, ...]) -> Node:
    """A range of these `FAN_OUT` parts, of which the digests alone are looked at."""
    if not any(part.digest for part in parts):
        return EMPTY_TREE
    return Node(inner_digest(b"".join(part.digest or ABSENT for part in parts)), parts)


def inner_digest(parts: bytes | bytearray) -> bytes:
    """The digest of a range, by those of its `FAN_OUT` parts behind each other; `ABSENT` stands for an empty one."""
    if not any(parts):
        return EMPTY
    # Fixed lengths and a prefix per level: no leaf can be taken for an inner node (RFC 6962, 2.1)
    return sha256(b"node" + parts).digest()


def _update(node: Node, key: str, document_id: str, digest: bytes | None) -> Node:
    if not key:
        others = {each: held for each, held in node.documents.items() if each != document_id}
        return leaf(others if digest is None else others | {document_id: digest})
    parts = list(node.parts or [EMPTY_TREE] * FAN_OUT)
    part = int(key[0], FAN_OUT)
    parts[part] = _update(parts[part], key[1:], document_id, digest)
    return inner(tuple(parts))


def _node_at(tree: Node, key: str) -> Node:
    if len(key) > DEPTH:
        raise RangeUnknownError(f"there is no range {key}: the tree has {DEPTH} levels")
    node = tree
    for digit in key:
        node = node.parts[int(digit, FAN_OUT)] if node.parts else EMPTY_TREE
    return node


def _detail(node: Node, key: str) -> RangeDigests:
    if len(key) < DEPTH:
        return RangeDigests(key, _digests(node) if node.parts else ())
    held = sorted(node.documents.items())
    return RangeDigests(key, (), tuple(DocumentDigest(document_id, _short(digest)) for document_id, digest in held))


def _digests(node: Node) -> tuple[bytes, ...]:
    return tuple(_short(part.digest) for part in node.parts) or (EMPTY,) * FAN_OUT


def _padded(parts: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if len(parts) not in (0, FAN_OUT):
        raise RangeUnknownError(f"a range has {FAN_OUT} parts, not {len(parts)}")
    return parts or (EMPTY,) * FAN_OUT


def _short(digest: bytes) -> bytes:
    return digest[:DIGEST_BYTES]


def _hash_of(document_id: str, digest: bytes | None) -> int:
    if digest is None:
        return 0
    return int.from_bytes(sha256(sha256(document_id.encode()).digest() + digest).digest(), "big")
