"""A tree is a function of its documents; two are compared in kilobytes, whatever their size; sums have no order."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas import RangeReply, RangeRequest, encode
from tidegate.schemas.comparison import RangeDigests
from tidegate.sync.rules.merkle import (
    DEPTH,
    EMPTY_TREE,
    Checksum,
    Node,
    RangeUnknownError,
    build,
    checksum_of,
    differences,
    differing,
    documents_in,
    in_detail,
    key_of,
    update,
)

MANY = {f"document-{number}": sha256(b"%d" % number).digest() for number in range(100_000)}
ids = st.sampled_from([f"d{number}" for number in range(8)])
digests = st.sampled_from([sha256(bytes([number])).digest() for number in range(4)])
held = st.dictionaries(ids, digests)


@pytest.fixture(scope="module")
def many() -> Node:
    return build(MANY)


def compare(mine: Node, theirs: Node) -> tuple[set[str], int, int]:
    """The dialogue as it is on the wire: what differs, how many bytes, in how many round trips."""
    ranges: tuple[str, ...] = ("",)
    found, sent, trips = set[str](), 0, 0
    while ranges:
        request = RangeRequest(tenant="kiosk", collection="notices", ranges=ranges)
        reply = RangeReply(tenant="kiosk", collection="notices", ranges=in_detail(theirs, ranges))
        sent, trips = sent + len(encode(request)) + len(encode(reply)), trips + 1
        ranges, documents = differences(mine, ranges, reply.ranges)
        found.update(documents)
    return found, sent, trips


@given(held, st.lists(st.tuples(ids, st.none() | digests)))
def test_a_tree_and_a_sum_are_functions_of_the_documents(
    documents: dict[str, bytes], changes: list[tuple[str, bytes | None]]
) -> None:
    tree, total, now = build(documents), checksum_of(documents), dict(documents)
    for document_id, digest in changes:
        total = total.replaced(document_id, now.pop(document_id, None), digest)
        tree = update(tree, document_id, digest)
        if digest is not None:
            now[document_id] = digest
    assert tree == build(now)
    assert total == checksum_of(dict(reversed(now.items())))
    assert dict(documents_in(tree)) == now
    assert (tree == EMPTY_TREE) == (not now) == (total == Checksum())
    assert total.documents == len(now)
    assert len(total.digest) == 64


@given(held, held)
def test_a_comparison_finds_just_what_differs(first: dict[str, bytes], second: dict[str, bytes]) -> None:
    expected = {each for each in first.keys() | second.keys() if first.get(each) != second.get(each)}
    mine, theirs = build(first), build(second)
    assert compare(mine, theirs)[0] == expected == set(differing(mine, theirs))
    assert (mine.digest == theirs.digest) == (not expected)
    assert (checksum_of(first) == checksum_of(second)) == (not expected)


@pytest.mark.parametrize("change", ["flipped", "lost", "added"])
def test_one_document_among_100_000_is_found_with_less_than_4_kib(many: Node, change: str) -> None:
    document_id = "document-4711" if change != "added" else "document-new"
    flipped = bytes([MANY["document-4711"][0] ^ 1]) + MANY["document-4711"][1:]
    theirs = update(many, document_id, None if change == "lost" else flipped)
    found, sent, trips = compare(many, theirs)
    assert found == {document_id}
    assert sent < 4096, sent
    assert trips == DEPTH + 1


def test_two_replicas_of_100_000_that_agree_say_so_in_one_exchange(many: Node) -> None:
    found, sent, trips = compare(many, build(MANY))
    assert not found
    assert (trips, sent < 512) == (1, True)


def test_an_update_shares_all_but_one_path_with_the_tree_before(many: Node) -> None:
    after = update(many, "document-4711", b"x" * 32)
    changed = int(key_of("document-4711")[0], 16)
    assert [one is other for one, other in zip(many.parts, after.parts, strict=True)] == [
        part != changed for part in range(16)
    ]
    assert dict(documents_in(many)) == MANY, "whoever reads the tree before still has it"


def test_documents_of_one_smallest_range_may_come_in_any_order() -> None:
    first, *others = [each for each in MANY if key_of(each) == key_of("document-4711")]
    assert others, "100 000 documents share 65 536 ranges"
    trees = []
    for order in ((first, *others), (*others[::-1], first)):
        tree = EMPTY_TREE
        for document_id in order:
            tree = update(tree, document_id, MANY[document_id])
        trees.append(tree)
    assert trees[0].digest == trees[1].digest


def test_an_empty_disk_differs_in_every_document(many: Node) -> None:
    assert len(differing(EMPTY_TREE, many)) == len(MANY)


@pytest.mark.parametrize(
    "replied",
    [
        (),
        (RangeDigests("a"),),
        (RangeDigests("", parts=(b"x",)),),
    ],
)
def test_a_reply_that_is_no_answer_is_refused(replied: tuple[RangeDigests, ...]) -> None:
    with pytest.raises(RangeUnknownError):
        differences(EMPTY_TREE, ("",), replied)


def test_a_range_deeper_than_the_tree_is_refused(many: Node) -> None:
    with pytest.raises(RangeUnknownError, match="no range 00000"):
        in_detail(many, ("00000",))
