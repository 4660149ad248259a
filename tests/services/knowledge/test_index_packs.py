"""What a pack brings into an index, what people did to it meanwhile, and which tenants and sites have one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.support.branch_index import LETTERS
from tests.support.corpus import BRANCH, document
from tidegate.schemas.pack import Document, Pack, Scope
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.packing import prepare_index
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes


def pack_of(*documents: Document) -> Pack:
    return Pack(
        name="p", version="1", path="", documents=documents, intents=(), questions=(), calibration=(), policy_files=()
    )


def test_preparing_brings_the_pack_and_leaves_alone_what_people_did(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    prepare_index(pack_of(*BRANCH[:3]), "site", LETTERS, tmp_path / "i", lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    by_hand = HybridIndex.open(tmp_path / "i", LETTERS)
    by_hand.upsert([document("added", "# Added\n\nBy hand.")])
    by_hand.delete(["hours"])
    again = prepare_index(pack_of(*BRANCH[1:]), "site", LETTERS, tmp_path / "i")
    assert again.document_ids() == {"added", "stunden", "coins"}
    newer = document("hours", "# Opening hours\n\nAlways.")
    assert "hours" in prepare_index(pack_of(newer), "site", LETTERS, tmp_path / "i").document_ids()
    assert "fees" in prepare_index(pack_of(BRANCH[0]), "site", LETTERS, tmp_path / "i").document_ids()


def test_what_is_shared_is_held_by_all_and_the_rest_by_its_owner_alone(tmp_path: Path) -> None:
    scopes: tuple[Scope, ...] = ("shared", "hub", "site")
    documents = [msgspec.structs.replace(each, scope=scope) for each, scope in zip(BRANCH, scopes, strict=False)]
    shared, hub, site = (each.id for each in documents)
    assert prepare_index(pack_of(*documents), "site", LETTERS, tmp_path / "s").document_ids() == {shared, site}
    assert prepare_index(pack_of(*documents), "hub", LETTERS, tmp_path / "h").document_ids() == {shared, hub}


def test_a_tenant_that_is_not_served_has_no_index(tmp_path: Path) -> None:
    indexes = TenantIndexes(("one", "two"), lambda tenant: tmp_path / tenant, LETTERS, exact_below=100)
    one, two = indexes.index("one"), indexes.index("two")
    assert one is not None
    assert two is not None
    one.upsert(BRANCH)
    assert two.status().documents == 0
    assert indexes.index("three") is None
    assert not (tmp_path / "three").exists()
    assert TenantIndexes(("one",), lambda tenant: tmp_path / tenant, LETTERS, exact_below=100).index("one") is one
