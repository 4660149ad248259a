"""The Merkle tree of RFC 9162 (and RFC 6962) over sha256: heads, proofs, and an append that keeps the right edge only.

A proof is first a list of ranges of leaves, so that whoever stores the tree decides how to find their hashes. Pure.
Next: checkpoints.py, which is what is signed of a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from tidegate.schemas.errors import TidegateError

LEAF, NODE = b"\x00", b"\x01"
"""What is hashed before a leaf and before two nodes, so that neither passes for the other (RFC 9162, 2.1.1)."""
EMPTY_ROOT = sha256(b"").digest()
HASH_BYTES = 32
TILE_LEVEL = 8
"""A tile is a full subtree of 2**8 leaves, or of 2**8 tiles of the level below: its hash is kept."""
Range = tuple[int, int]
"""Leaves from a first to before another."""
FullNode = Callable[[int, int], bytes]
"""The hash of the `index`-th full subtree of 2**`level` leaves, as `(level, index)`."""


class ProofError(TidegateError, ValueError):
    """A proof does not show what it is said to show: the log was changed, or the proof is another's."""

    hint = "compare with a head that was witnessed: `tidegate audit verify` says which entries are at fault"


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of an entry's bytes."""
    return sha256(LEAF + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees side by side."""
    return sha256(NODE + left + right).digest()


def largest_power_below(size: int) -> int:
    """The largest power of two that is smaller than `size`, which is at least 2: where a tree is split."""
    return 1 << (size - 1).bit_length() - 1


class Edge(NamedTuple):
    """A tree of which only the full subtrees of the right edge are kept, the largest first."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    @property
    def root(self) -> bytes:
        """The hash of the whole tree."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root


EMPTY_EDGE = Edge()


class TreeBuilder:
    """A tree that grows by one leaf after another; changed in place, since a log is read by the million."""

    def __init__(self, edge: Edge = EMPTY_EDGE) -> None:
        self.size = edge.size
        self._hashes = list(edge.hashes)

    @property
    def edge(self) -> Edge:
        """The tree as it is now."""
        return Edge(self.size, tuple(self._hashes))

    def append(self, leaf: bytes) -> tuple[tuple[int, bytes], ...]:
        """Add a leaf, given by its hash; the tiles that it fills, as level and hash."""
        hashes, carries, level = self._hashes, self.size, 0
        filled: tuple[tuple[int, bytes], ...] = ()
        while carries & 1:
            leaf = sha256(NODE + hashes.pop() + leaf).digest()
            carries >>= 1
            level += 1
            if level % TILE_LEVEL == 0:
                filled += ((level, leaf),)
        hashes.append(leaf)
        self.size += 1
        return filled


def edge_of(leaves: Iterable[bytes]) -> Edge:
    """The tree of these leaf hashes."""
    tree = TreeBuilder()
    for leaf in leaves:
        tree.append(leaf)
    return tree.edge


def range_hash(span: Range, full: FullNode) -> bytes:
    """The hash of a subtree that a proof names; only its last part may be no full one."""
    begin, end = span
    size = end - begin
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return full(level, begin >> level)
    middle = begin + largest_power_below(size)
    return node_hash(range_hash((begin, middle), full), range_hash((middle, end), full))


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose hashes prove that a tree of `size` leaves has the leaf `index` (RFC 9162, 2.1.3.1).

    Raises `ValueError` where the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} has no leaf {index}")
    found: list[Range] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + largest_power_below(end - begin)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((begin, middle))
            begin = middle
    return found[::-1]


def consistency_ranges(old: int, size: int) -> list[Range]:
    """The subtrees whose hashes prove that a tree of `size` leaves begins with one of `old` (RFC 9162, 2.1.4.1).

    Raises `ValueError` unless 0 <= old <= size.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} does not begin with {old}")
    if old in (0, size):
        return []
    found: list[Range] = []
    begin, end, is_whole = 0, size, True
    while old != end:
        middle = begin + largest_power_below(end - begin)
        if old <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((begin, middle))
            begin, is_whole = middle, False
    return [*([] if is_whole else [(begin, end)]), *found[::-1]]


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raises `ProofError` unless the leaf with this hash is number `index` of the tree with this head (RFC 9162,
    2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofError(f"a log of {size} entries has no entry {index}")
    node, last, found = index, size - 1, leaf
    for each in proof:
        if last == 0:
            raise ProofError(f"the proof for entry {index} is too long")
        if node & 1 or node == last:
            found = node_hash(each, found)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = node_hash(found, each)
        node, last = node >> 1, last >> 1
    if last or found != root:
        raise ProofError(f"entry {index} is not in the log with this head")


def check_consistency(old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Raises `ProofError` unless the tree of `size` begins with that of `old` (RFC 9162, 2.1.4.2)."""
    if old > size:
        raise ProofError(f"a log of {size} entries does not continue one of {old}")
    if old in (0, size):
        if proof or (old == size and old_root != root) or (old == 0 and old_root != EMPTY_ROOT):
            raise ProofError(f"two heads of a log of {size} entries differ")
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    first, second = _roots_by(path, old - 1, size - 1)
    if first != old_root or second != root:
        raise ProofError(f"the log of {size} entries does not begin with the {old} that were known")


def _roots_by(path: Sequence[bytes], node: int, last: int) -> tuple[bytes, bytes]:
    """The roots of the older and the newer tree, as a proof makes them up. Raises `ProofError` where it does not end
    at the root."""
    if not path:
        raise ProofError("nothing shows that the one log continues the other")
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for each in path[1:]:
        if last == 0:
            raise ProofError("the proof is too long")
        if node & 1 or node == last:
            first, second = node_hash(each, first), node_hash(each, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, each)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofError("the proof is too short")
    return first, second
