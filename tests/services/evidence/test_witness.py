"""The hub witnesses one history of each log, of its own site's key only; a site believes what the hub has cosigned."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from tests.support.audit_logs import HUB, KEYS, SITE1, SITE2, LogKey
from tidegate.schemas.audit import HeadFault
from tidegate.services.evidence.checkpoints import Checkpoint, SignedNote, sign_checkpoint
from tidegate.services.evidence.merkle import consistency_ranges, edge_of, leaf_hash, range_hash
from tidegate.services.evidence.witness import HeadRefusedError, check_head, choose_newer, good_keys

LEAVES = [leaf_hash(b"%d" % number) for number in range(20)]
FORKED = [*LEAVES[:6], leaf_hash(b"other"), *LEAVES[7:]]


def head(size: int, leaves: list[bytes] = LEAVES, domain: str = "site1") -> Checkpoint:
    return Checkpoint(f"tidegate.audit/{domain}", size, edge_of(leaves[:size]).root)


def signed(size: int, leaves: list[bytes] = LEAVES, key: LogKey = SITE1, domain: str = "site1") -> SignedNote:
    return sign_checkpoint(head(size, leaves, domain), key.known.public, key.private.sign)


def proof(old: int, size: int, leaves: list[bytes] = LEAVES) -> list[bytes]:
    def full(level: int, index: int) -> bytes:
        return edge_of(leaves[index << level : (index + 1) << level]).root

    return [range_hash(span, full) for span in consistency_ranges(old, size)]


@dataclass
class Case:
    note: SignedNote
    fault: HeadFault
    known: int = 8
    old: int = 8
    proof: tuple[bytes, ...] = ()


CASES = {
    "the first head": Case(signed(8), "", known=0, old=0),
    "it went on": Case(signed(13), "", proof=tuple(proof(8, 13))),
    "the same again": Case(signed(8), ""),
    "an older one": Case(signed(7), "truncated"),
    "another of the same size": Case(signed(8, FORKED), "forked"),
    "another history": Case(signed(13, FORKED), "forked", proof=tuple(proof(8, 13, FORKED))),
    "no proof": Case(signed(13), "forked"),
    "a proof from another size": Case(signed(13), "unproven", old=7, proof=tuple(proof(7, 13))),
    "signed by another site": Case(signed(13, key=SITE2), "unsigned", proof=tuple(proof(8, 13))),
    "signed by a key that nobody knows": Case(
        signed(13, key=LogKey("site1", 7)), "unsigned", proof=tuple(proof(8, 13))
    ),
    "another site's log": Case(signed(13, key=SITE2, domain="site2"), "foreign", proof=tuple(proof(8, 13))),
    "a site's log under the key of the hub": Case(signed(13, key=HUB), "unsigned", proof=tuple(proof(8, 13))),
}


@pytest.mark.parametrize("name", CASES)
def test_a_head_is_witnessed_only_where_it_continues_the_last_one(name: str) -> None:
    case = CASES[name]
    known = head(case.known) if case.known else None
    if not case.fault:
        assert check_head(case.note, "site1", KEYS, known, case.proof, case.old) == case.note.checkpoint
        return
    with pytest.raises(HeadRefusedError) as refused:
        check_head(case.note, "site1", KEYS, known, case.proof, case.old)
    assert refused.value.fault == case.fault


def test_of_two_heads_that_the_hub_has_witnessed_the_longer_is_kept_and_two_of_one_size_are_a_fork() -> None:
    short, long, other = (HUB.cosign(each) for each in (signed(8), signed(13), signed(13, FORKED)))
    assert choose_newer(None, short, "hub", KEYS) == short
    assert choose_newer(short, long, "hub", KEYS) == long
    assert choose_newer(long, short, "hub", KEYS) == long
    with pytest.raises(HeadRefusedError, match="two logs"):
        choose_newer(long, other, "hub", KEYS)
    for bad in (signed(13), SITE2.cosign(signed(13))):
        with pytest.raises(HeadRefusedError, match="has not witnessed"):
            choose_newer(short, bad, "hub", KEYS)


def test_a_key_that_was_revoked_or_has_expired_signs_no_new_head() -> None:
    key = SITE1.known
    ended = [replace(key, revoked_at_ms=5), replace(key, expires_at_ms=10)]
    assert good_keys([key, *ended], 9) == [key, ended[1]]
    assert good_keys([key, *ended], 10) == [key]
