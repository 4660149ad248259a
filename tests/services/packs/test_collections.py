"""The collections of a pack: which documents are kept together, under which rules, and what is wrong with a declared
one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.small_pack import pack_at
from tidegate.schemas.pack import CollectionRules
from tidegate.services.packs.collections import collections_of, documents_by_collection
from tidegate.services.packs.load import check_pack, load_pack

DECLARED = (
    "- {name: tariffs, fresh_within_s: 60, merge: last-writer}\n"
    "- {name: rosters, owner: site}\n"
    "- {name: recipes, sites: [site1, site2], sites_write: true}\n"
)
PLAIN = "---\ntitle: {}\nlanguage: en\n{}---\n\nWe say {}.\n"
FILES = {
    "documents/tariffs/fees.md": PLAIN.format("Fees", "", "five pounds"),
    "documents/rosters/monday.md": PLAIN.format("Monday", "", "Ann is here"),
    "documents/home/keys.md": PLAIN.format("Keys", "scope: site\n", "under the mat"),
}


def test_a_document_is_in_the_collection_of_its_folder_or_in_that_for_its_scope(tmp_path: Path) -> None:
    pack = load_pack(pack_at(tmp_path, **{"collections.yaml": DECLARED, **FILES}))
    found = {name: [each.id for each in documents] for name, documents in documents_by_collection(pack).items()}
    assert found == {
        "documents": ["hours"],
        "hub-documents": ["board"],
        "local": ["keys"],
        "rosters": ["monday"],
        "tariffs": ["fees"],
    }
    assert {each.id: each.scope for each in pack.documents}["monday"] == "site", "it is as its collection's owner says"


def test_a_collection_may_be_public_contact_as_a_whole(tmp_path: Path) -> None:
    declared = DECLARED.replace("fresh_within_s: 60", "public_contact: true")
    pack = load_pack(pack_at(tmp_path / "a", **{"collections.yaml": declared, **FILES}))
    assert [each.id for each in pack.documents if each.is_public_contact] == ["fees"]
    plain = load_pack(pack_at(tmp_path / "b", **{"collections.yaml": DECLARED, **FILES}))
    versions = [{each.id: each.version for each in every.documents}["fees"] for every in (pack, plain)]
    assert versions[0] != versions[1]


def test_every_tenant_has_three_collections_and_those_that_the_pack_declares(tmp_path: Path) -> None:
    plain = collections_of(load_pack(pack_at(tmp_path / "plain")), "kiosk")
    assert [(each.name, each.owner) for each in plain] == [
        ("documents", "shared"),
        ("hub-documents", "hub"),
        ("local", "site"),
    ]
    declared = "- {name: documents, fresh_within_s: 30}\n" + DECLARED
    pack = load_pack(pack_at(tmp_path / "more", **{"collections.yaml": declared, **FILES}))
    found = {each.name: each for each in collections_of(pack, "north")}
    assert found.keys() == {"documents", "hub-documents", "local", "recipes", "rosters", "tariffs"}
    assert {each.tenant for each in found.values()} == {"north"}
    assert found["documents"].fresh_within_s == 30
    assert (found["tariffs"].owner, found["tariffs"].merge, found["tariffs"].fresh_within_s) == (
        "shared",
        "last-writer",
        60,
    )
    assert (found["recipes"].sites, found["recipes"].sites_write) == (("site1", "site2"), True)
    assert pack.collections[2] == CollectionRules(name="rosters", owner="site")


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("- {name: Tariffs}\n", 1, "regex"),
        ("- {name: a, owner: everybody}\n", 1, "everybody"),
        ("- {name: a, merge: newest}\n", 1, "newest"),
        ("- {name: a, fresh_within_s: 0}\n", 1, "fresh_within_s"),
        ("- {name: a, keeper: hub}\n", 1, "keeper"),
        ("- {name: a, owner: site}\n- {name: a, owner: site}\n", 2, "declared twice"),
        ("- {name: local, owner: shared}\n", 1, "the owner of local is site"),
        ("- {name: a, owner: hub, sites: [site1]}\n", 1, "belongs to the hub alone"),
        ("- {name: a, owner: site, sites_write: true}\n", 1, "belongs to the site alone"),
    ],
)
def test_a_collection_that_cannot_be_is_a_fault(tmp_path: Path, text: str, line: int, reason: str) -> None:
    pack = pack_at(tmp_path, **{"collections.yaml": text, "documents/a/x.md": PLAIN.format("X", "", "nothing")})
    [fault] = check_pack(pack).faults
    assert (fault.file, fault.line) == ("collections.yaml", line)
    assert reason in fault.reason
    assert fault.hint


def test_a_document_that_contradicts_its_collection_is_a_fault_and_an_empty_collection_a_warning(
    tmp_path: Path,
) -> None:
    wrong = PLAIN.format("Monday", "scope: hub\n", "Ann is here")
    pack = pack_at(tmp_path, **{"collections.yaml": DECLARED, "documents/rosters/monday.md": wrong})
    report = check_pack(pack)
    [fault] = report.faults
    assert (fault.file, fault.line) == ("documents/rosters/monday.md", 1)
    assert "rosters is of owner site" in fault.reason
    assert not report.warnings, "while a document cannot be read, it may be the one that is missing"
    (pack / "documents/rosters/monday.md").unlink()
    assert [(each.file, each.line) for each in check_pack(pack).warnings] == [("collections.yaml", 1)]
