"""Versions of a document that were written apart are in the index as their collection's rule says, with all signers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.branch_index import LETTERS
from tests.support.replica_parts import SHARED, ReplicaLab
from tidegate.schemas import DocumentContent
from tidegate.schemas.sync import MergeRule


@pytest.mark.parametrize(
    ("merge", "found"),
    [("ask", "Later.\n"), ("last-writer", "Later.\n"), ("field-merge", "Later.\n")],
)
def test_of_versions_that_were_written_apart_the_provisional_one_is_quoted(
    tmp_path: Path, merge: MergeRule, found: str
) -> None:
    lab = ReplicaLab(tmp_path, msgspec.structs.replace(SHARED, merge=merge))
    first, later = (DocumentContent(title="Lobby", language="en", text=text) for text in ("First.\n", "Later.\n"))
    lab.write_apart("lobby", first, later)
    lab.follower.start("documents")
    assert lab.held() == {"lobby": found}
    [passage] = lab.index.search("later", LETTERS.embed("later"), 1, "en")
    assert passage.signer == f"site2/{'5e' * 8}"


def test_what_somebody_withdrew_is_not_quoted_while_nobody_has_decided(tmp_path: Path) -> None:
    lab = ReplicaLab(tmp_path)
    lab.write_apart("lobby", None, DocumentContent(title="Lobby", language="en", text="Edited."))
    lab.follower.start("documents")
    assert lab.held() == {}
    assert lab.index.sources("documents")["lobby"].signer == ""


def test_all_who_signed_a_merge_are_named(tmp_path: Path) -> None:
    lab = ReplicaLab(tmp_path, msgspec.structs.replace(SHARED, merge="field-merge"))
    lab.write_apart("lobby", *(DocumentContent(title="", language="en", text="", meta={"a": "1"}),) * 2)
    first = DocumentContent(title="Old", language="en", text="Old.", meta={"owner": "branch"})
    second = DocumentContent(title="New", language="en", text="New.")
    lab.write_apart("hall", first, second)
    lab.follower.start("documents")
    assert lab.held() == {"hall": "New."}
    assert lab.index.sources("documents")["hall"].signer == f"site1/{'5e' * 8} site2/{'5e' * 8}"
    assert set(lab.follower.faults("documents")) == {"lobby"}


def test_another_merge_rule_is_followed_though_no_document_changed(tmp_path: Path) -> None:
    lab = ReplicaLab(tmp_path)
    lab.write_apart("lobby", None, DocumentContent(title="Lobby", language="en", text="Edited."))
    lab.follower.start("documents")
    lab.store.put_collection(msgspec.structs.replace(SHARED, merge="last-writer"))
    lab.follower.follow("documents")
    assert lab.held() == {"lobby": "Edited."}
