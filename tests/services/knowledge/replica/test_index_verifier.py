"""What answers are made from is compared with the store to the last byte, repaired from it, and the cause is named."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.branch_index import LETTERS
from tests.support.corpus import BRANCH, document
from tests.support.index_files import (
    assert_the_leg_holds_what_the_database_says,
    keyword_folder,
    overwrite,
    wanted_rows,
)
from tests.support.replica_parts import EXACT, GRAPH, ReplicaLab
from tests.support.sync_parts import fast_directory
from tidegate.services.knowledge.index.database import read_head
from tidegate.services.knowledge.index.errors import IndexLockedError
from tidegate.services.knowledge.index.keyword import KeywordLeg, KeywordRow
from tidegate.services.knowledge.index.storage import Storage
from tidegate.services.knowledge.replica.index_follower import IndexFollower
from tidegate.services.knowledge.replica.index_verifier import IndexReport, IndexVerifier
from tidegate.services.knowledge.replica.opening import open_followed_index
from tidegate.sync.rules.drift import DriftCause, Leg

NOTICES = [
    document(f"d{number}", f"# Notice {number}\n\nLantern {number} is lit, not the {number + 1}th.")
    for number in range(8)
]
EVERY = {each.id: each.text for each in (*BRANCH, *NOTICES)}
both_modes = pytest.mark.parametrize("exact_below", [EXACT, GRAPH])


@pytest.fixture(scope="module", params=[EXACT, GRAPH])
def whole(request: pytest.FixtureRequest) -> Iterator[ReplicaLab]:
    """A store, and an index at what it holds, closed: each test has a copy."""
    with fast_directory() as path:
        lab = ReplicaLab(Path(path), exact_below=request.param)
        lab.write([*BRANCH, *NOTICES, document("gone", "# Gone\n\nIt was here.")])
        lab.follower.start("documents")
        lab.delete("gone")
        lab.follower.follow("documents")
        lab.index.wait_for_compaction()
        lab.index.close()
        shutil.copytree(lab.path / "index", lab.path / "whole")
        yield lab


@pytest.fixture
def lab(whole: ReplicaLab) -> Iterator[ReplicaLab]:
    shutil.rmtree(whole.path / "index")
    shutil.copytree(whole.path / "whole", whole.path / "index")
    whole.open()
    yield whole
    whole.index.wait_for_compaction()
    whole.index.close()


@pytest.fixture
def own(tmp_path: Path) -> ReplicaLab:
    """A store that a test may change."""
    lab = ReplicaLab(tmp_path)
    lab.write()
    lab.follower.start("documents")
    return lab


def verify(lab: ReplicaLab, *, is_repairing: bool = False) -> IndexReport:
    return IndexVerifier(lab.follower).verify("documents", is_repairing=is_repairing)


def on_disk(lab: ReplicaLab, statement: str, *values: object) -> None:
    """What the disk, or somebody, does to the database behind the index's back."""
    with sqlite3.connect(lab.path / "index" / "index.sqlite") as disk:
        disk.create_function("flipped", 1, lambda blob: blob[:40] + bytes([blob[40] ^ 4]) + blob[41:])
        disk.create_function("crc32", -1, checksum)
        disk.execute(statement, values)
    disk.close()


def checksum(number: int | None, *blobs: bytes) -> int:
    crc = (number or 0) & 0xFFFFFFFF
    for blob in blobs:
        crc = zlib.crc32(blob, crc)
    return crc


def flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 8
    overwrite(file, bytes(data))


def assert_is_repaired(lab: ReplicaLab, legs: dict[Leg, tuple[str, ...]], cause: DriftCause) -> None:
    """Found without a repair, repaired with one, and clean afterwards."""
    assert verify(lab).legs == legs
    report = verify(lab, is_repairing=True)
    assert (report.legs, report.causes.cause, report.is_repaired) == (legs, cause, True)
    again = verify(lab)
    assert (again.legs, again.causes.documents, again.is_repaired) == ({}, {}, False)
    assert lab.held() == EVERY
    assert_the_leg_holds_what_the_database_says(lab.path / "index")


def test_a_clean_index_gives_no_finding(lab: ReplicaLab) -> None:
    assert lab.held() == EVERY
    for is_repairing in (False, True):
        assert verify(lab, is_repairing=is_repairing) == IndexReport(collection="documents")


ROWS: dict[str, tuple[str, dict[Leg, tuple[str, ...]]]] = {
    "the text of a document": (
        "UPDATE documents SET document = flipped(document) WHERE id = 'fees'",
        {"texts": ("fees",)},
    ),
    "a passage": (
        "UPDATE passages SET passage = flipped(passage) WHERE first = (SELECT first FROM documents WHERE id = 'hours')",
        {"texts": ("hours",)},
    ),
    "its checksum": ("UPDATE documents SET crc = crc + 1 WHERE id = 'fees'", {"texts": ("fees",)}),
    "a vector": (
        "UPDATE vectors SET halves = flipped(halves) WHERE number = (SELECT first FROM documents WHERE id = 'd3')",
        {"vectors": ("d3",)},
    ),
    "where a document comes from": (
        "UPDATE sources SET source = flipped(source) WHERE document_id = 'd5'",
        {"texts": ("d5",)},
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_flipped_byte_of_a_row_is_the_disk_s_doing(lab: ReplicaLab, row: str) -> None:
    statement, legs = ROWS[row]
    on_disk(lab, statement)
    assert_is_repaired(lab, legs, "disk")


def test_a_flipped_byte_in_a_segment_of_the_keyword_leg_is_found(lab: ReplicaLab) -> None:
    folder = keyword_folder(lab.path / "index")
    for suffix in ("pos", "idx", "term", "fast", "fieldnorm"):
        [file, *_] = sorted(folder.glob(f"*.{suffix}"))
        flip(file, 3)
        report = verify(lab)
        assert report.legs["keywords"] == (f"{folder.name}/{file.name}",)
        assert report.causes.cause == "disk"
        assert verify(lab, is_repairing=True).is_repaired
        assert verify(lab).legs == {}
        assert lab.held() == EVERY
        folder = keyword_folder(lab.path / "index")


def graph_in_force(lab: ReplicaLab) -> Path:
    with lab.index.parts().reader.database.reading() as connection:
        return Storage(lab.path / "index").graph(read_head(connection).graph)


def test_a_flipped_byte_in_the_file_of_the_graph_is_found(lab: ReplicaLab) -> None:
    assert graph_in_force(lab).exists() is (lab.exact_below == GRAPH)
    for suffix in (".bin", ".axes") if lab.exact_below == GRAPH else ():
        file = graph_in_force(lab)
        flip(file.with_suffix(suffix), 200)
        assert_is_repaired(lab, {"vectors": (file.name,)}, "disk")


def test_wherever_a_byte_is_flipped_the_index_is_as_it_was_afterwards(lab: ReplicaLab) -> None:
    """Found when it is opened, when it is compared with the store, or of no consequence at all."""
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    rng, path = random.Random(seed), lab.path / "index"
    for _ in range(4):
        lab.index.close()
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size)
        file = rng.choice([path / "index.sqlite", *files])
        position = rng.randrange(file.stat().st_size)
        print(f"byte {position} of {file.name}")
        flip(file, position)
        lab.index = open_followed_index(path, LETTERS, exact_below=lab.exact_below)
        lab.follower = IndexFollower(lab.store, lab.index, "1")
        lab.follower.start("documents")
        verify(lab, is_repairing=True)
        lab.index.wait_for_compaction()
        assert verify(lab).legs == {}
        assert lab.held() == EVERY


def test_what_somebody_wrote_with_its_checksum_is_a_tampering_or_of_other_code(lab: ReplicaLab) -> None:
    changed = "CAST(replace(document, 'Saturday', 'Thursday') AS BLOB)"
    statement = f"UPDATE documents SET crc = crc32(first, {changed}), document = {changed} WHERE id = 'hours'"
    on_disk(lab, statement)
    report = verify(lab)
    assert report.causes.documents == {"tamper": ("hours",)}
    lab.index.close()
    lab.open(code_version="2")
    assert verify(lab).causes.documents == {"code-version": ("hours",)}
    assert verify(lab, is_repairing=True).is_repaired
    assert lab.held() == EVERY
    assert lab.follower.state("documents").made_by == "2", "all of it was verified by this version"


def test_a_document_that_the_index_lost_is_a_lost_delta(lab: ReplicaLab) -> None:
    first = "(SELECT first FROM documents WHERE id = 'coins')"
    digest = lab.index.status().version
    lab.index.delete(["coins"])
    assert_is_repaired(lab, {"texts": ("coins",)}, "lost-delta")
    assert lab.index.status().version == digest
    on_disk(lab, f"DELETE FROM vectors WHERE number = {first}")
    assert verify(lab).legs == {"texts": ("index.sqlite",)}
    assert verify(lab, is_repairing=True).is_repaired
    assert lab.held() == EVERY


def test_a_document_that_was_deleted_and_is_there_again_is_found(lab: ReplicaLab) -> None:
    lab.index.upsert([document("gone", "# Gone\n\nIt is back.")])
    assert_is_repaired(lab, {"texts": ("gone",)}, "tamper")


def test_rows_of_the_keyword_leg_that_lack_or_that_nobody_has_are_found(lab: ReplicaLab) -> None:
    path = lab.path / "index"
    number = wanted_rows(path)[0][0]
    leg = KeywordLeg(keyword_folder(path))
    leg.change(removed=[number])
    report = verify(lab)
    assert list(report.legs) == ["keywords"]
    assert report.causes.cause == "lost-delta"
    assert_is_repaired(lab, report.legs, "lost-delta")
    row = KeywordRow(number=90_000, mark=1, language="en", head="Zorblax", body="A Zorblax that never was.")
    KeywordLeg(keyword_folder(path)).change(added=[row])
    assert_is_repaired(lab, {"keywords": (f"{keyword_folder(path).name}:90000",)}, "tamper")


COLUMNS = ("title = 'Other'", "version = '0123456789ab'", "passages = passages + 1", "units = 0", "language = 'de'")


@pytest.mark.parametrize("change", COLUMNS)
def test_an_entry_that_does_not_add_up_makes_the_index_anew(lab: ReplicaLab, change: str) -> None:
    on_disk(lab, f"UPDATE documents SET {change} WHERE id = 'fees'")
    assert_is_repaired(lab, {"texts": ("index.sqlite",)}, "disk")


def test_what_no_replica_brought_is_kept_where_the_index_is_made_anew(lab: ReplicaLab) -> None:
    own = document("own", "# Own\n\nThe piano of the branch.")
    lab.index.upsert([own])
    on_disk(lab, "UPDATE head SET passages = 7")
    assert verify(lab, is_repairing=True).legs == {"texts": ("index.sqlite",)}
    assert lab.held() == EVERY | {"own": own.text}
    assert lab.index.origins()["own"] == "added"


def test_what_the_index_has_not_followed_yet_is_no_difference(own: ReplicaLab) -> None:
    own.write([document("fees", "# Fees\n\nAll is free."), document("new", "# New\n\nIt is new.")])
    own.delete("hours")
    assert verify(own) == IndexReport(collection="documents")
    own.follower.follow("documents")
    assert verify(own) == IndexReport(collection="documents")


def test_what_the_store_has_damaged_cannot_be_compared_and_is_said_so(own: ReplicaLab) -> None:
    on_disk(own, "UPDATE documents SET document = flipped(document) WHERE id IN ('fees', 'coins')")
    with own.store.reading() as reader:
        held = reader.held("documents", "fees")
    with sqlite3.connect(own.hub.path / "sync.db") as disk:
        disk.execute("UPDATE documents SET content = x'00' WHERE document_id = 'fees'")
    disk.close()
    report = verify(own, is_repairing=True)
    assert (report.legs, report.unread) == ({"texts": ("coins",)}, ("fees",))
    own.store.scrub("documents")
    assert verify(own) == IndexReport(collection="documents", unread=("fees",))
    with own.store.writing() as writer:
        writer.put_held("documents", "fees", held)
        writer.clear_damage("documents")
    own.follower.follow("documents")
    report = verify(own, is_repairing=True)
    assert (report.legs, report.unread) == ({"texts": ("fees",)}, ())
    assert own.held() == {each.id: each.text for each in BRANCH}


def test_an_index_that_was_not_followed_is_not_judged(own: ReplicaLab) -> None:
    own.follower.forget("documents")
    assert verify(own) == IndexReport(collection="documents")


def test_nobody_verifies_what_another_process_writes(own: ReplicaLab) -> None:
    with Storage(own.path / "index").lock(), pytest.raises(IndexLockedError, match="another process is writing"):
        verify(own)
    assert verify(own) == IndexReport(collection="documents")
