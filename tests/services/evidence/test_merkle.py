"""The tree agrees with the recursive definitions of RFC 9162 at every size; a proof shows one thing and no other."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tidegate.services.evidence.merkle import (
    EMPTY_ROOT,
    ProofError,
    Range,
    TreeBuilder,
    check_consistency,
    check_inclusion,
    consistency_ranges,
    edge_of,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    range_hash,
)

MOST = 130
LEAVES = [leaf_hash(b"entry %d" % number) for number in range(MOST)]
sizes = st.integers(1, MOST)
VECTORS = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    bytes(range(0x50, 0x58)),
    bytes(range(0x60, 0x70)),
]
"""The entries of the test vectors of Certificate Transparency's reference implementation."""
VECTOR_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def split(size: int) -> int:
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def reference_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162, 2.1.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + reference_root(leaves[:k]) + reference_root(leaves[k:])).digest()


def reference_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162, 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*reference_path(m, leaves[:k]), reference_root(leaves[k:])]
    return [*reference_path(m - k, leaves[k:]), reference_root(leaves[:k])]


def reference_subproof(m: int, leaves: list[bytes], is_whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 9162, 2.1.4.1."""
    if m == len(leaves):
        return [] if is_whole else [reference_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*reference_subproof(m, leaves[:k], is_whole), reference_root(leaves[k:])]
    return [*reference_subproof(m - k, leaves[k:], False), reference_root(leaves[:k])]


def full(level: int, index: int) -> bytes:
    return reference_root(LEAVES[index << level : (index + 1) << level])


def hashes(ranges: list[Range]) -> list[bytes]:
    return [range_hash(span, full) for span in ranges]


@pytest.mark.parametrize("size", VECTOR_ROOTS)
def test_the_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert edge_of(map(leaf_hash, VECTORS[:size])).root.hex() == VECTOR_ROOTS[size]


def test_the_edge_has_the_root_of_the_whole_tree_and_one_hash_for_each_bit() -> None:
    tree = TreeBuilder()
    assert tree.edge.root == EMPTY_ROOT
    for size, leaf in enumerate(LEAVES, 1):
        tree.append(leaf)
        assert tree.edge.root == reference_root(LEAVES[:size])
        assert len(tree.edge.hashes) == size.bit_count()
        assert TreeBuilder(tree.edge).edge == tree.edge


def test_a_tile_is_known_when_its_last_leaf_has_come() -> None:
    many = [leaf_hash(b"%d" % number) for number in range(600)]
    tree = TreeBuilder()
    filled = [(number, tiles) for number, leaf in enumerate(many, 1) if (tiles := tree.append(leaf))]
    assert filled == [
        (256, ((8, reference_root(many[:256])),)),
        (512, ((8, reference_root(many[256:512])),)),
    ]


@given(st.data(), sizes)
def test_an_inclusion_proof_is_the_path_and_proves_its_leaf_alone(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof, root = hashes(inclusion_ranges(index, size)), reference_root(LEAVES[:size])
    assert proof == reference_path(index, LEAVES[:size])
    check_inclusion(LEAVES[index], index, size, proof, root)
    with pytest.raises(ProofError):
        check_inclusion(leaf_hash(b"another"), index, size, proof, root)
    if proof:
        at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        flipped = (int.from_bytes(proof[at]) ^ (1 << bit)).to_bytes(32)
        for bad in ([*proof[:at], flipped, *proof[at + 1 :]], proof[:-1], [*proof, proof[0]]):
            with pytest.raises(ProofError):
                check_inclusion(LEAVES[index], index, size, bad, root)


@given(st.data(), sizes)
def test_a_leaf_is_not_proven_at_another_index(data: st.DataObject, size: int) -> None:
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(-1, size))
    assume(index != other)
    proof = hashes(inclusion_ranges(index, size))
    with pytest.raises(ProofError):
        check_inclusion(LEAVES[index], other, size, proof, reference_root(LEAVES[:size]))


@given(st.data(), sizes)
def test_a_consistency_proof_shows_what_a_log_began_with_and_nothing_else(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(0, size))
    proof, root, old_root = (
        hashes(consistency_ranges(old, size)),
        reference_root(LEAVES[:size]),
        reference_root(LEAVES[:old]),
    )
    if 0 < old < size:
        assert proof == reference_subproof(old, LEAVES[:size], True)
    check_consistency(old, old_root, size, root, proof)
    forked = reference_root([*LEAVES[: max(0, old - 1)], leaf_hash(b"another")])
    with pytest.raises(ProofError):
        check_consistency(old, forked, size, root, proof)
    for bad in ([*proof, root], proof[:-1]):
        if bad != proof:
            with pytest.raises(ProofError):
                check_consistency(old, old_root, size, root, bad)


@given(sizes, sizes)
def test_a_shorter_log_continues_no_longer_one(old: int, size: int) -> None:
    assume(old > size)
    with pytest.raises(ProofError, match="does not continue"):
        check_consistency(old, reference_root(LEAVES[:old]), size, reference_root(LEAVES[:size]), [])


def test_there_is_no_proof_of_what_is_not_there() -> None:
    with pytest.raises(ValueError, match="no leaf 3"):
        inclusion_ranges(3, 3)
    with pytest.raises(ValueError, match="does not begin"):
        consistency_ranges(4, 3)


def test_a_leaf_never_passes_for_a_node() -> None:
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)


def test_a_subtree_never_passes_for_a_leaf() -> None:
    root = reference_root(LEAVES[:5])
    with pytest.raises(ProofError):
        check_inclusion(root, 0, 5, [], root)
    with pytest.raises(ProofError):
        check_inclusion(reference_root(LEAVES[:4]), 0, 5, [LEAVES[4]], root)
