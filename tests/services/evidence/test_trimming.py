"""A log is kept within its bounds: old entries leave their hashes, and all that can be proven or noticed still is."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.audit_logs import HUB, KEYS, SITE1, attack, fill, rebuild
from tidegate.brokers.settings import RetentionSettings
from tidegate.schemas.audit import AuditedAct
from tidegate.services.evidence.checkpoints import SignedNote
from tidegate.services.evidence.export import ExportWish, export_log
from tidegate.services.evidence.log import AuditLog, EntryDraft
from tidegate.services.evidence.log_file import LOG
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.merkle import check_consistency, check_inclusion
from tidegate.services.evidence.trimming import TILE, choose_end
from tidegate.services.evidence.verification import Expectation, LogReport, verify_log

SIZE, TRIMMED, ERASED = 4 * TILE, 2 * TILE, 17
FOREVER = RetentionSettings(audit_bytes=0)


def trim(log: AuditLog, end: int) -> int:
    """As the audit worker does it."""
    log.announce_trimming(end, 9_000)
    log.keep_checkpoint(SITE1.sign_head(log))
    return log.trim(end)


@pytest.fixture(scope="module")
def trimmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SignedNote, list[bytes]]:
    """A log half of which was trimmed, a head that was witnessed before, and all leaf hashes that it had."""
    directory = tmp_path_factory.mktemp("trimmed")
    with AuditLog.open(directory, "site1") as log:
        fill(log, ERASED)
        log.append([EntryDraft(kind="erased", body=AuditedAct(digest="0a" * 32), source="e", tenant="kiosk")], 5_017)
        fill(log, SIZE - ERASED - 1, ERASED + 1, signed_every=100)
        witnessed = HUB.cosign(SITE1.sign_head(log))
        hashes = [stored.hash for stored in log.reader.entries()]
        assert trim(log, TRIMMED) == TRIMMED - 1
    with AuditReader.open(directory) as reader:  # so that all of it is in the one file
        assert reader.state().trimmed == TRIMMED
    return directory, witnessed, hashes


@pytest.fixture
def log_dir(trimmed: tuple[Path, SignedNote, list[bytes]], tmp_path: Path) -> Path:
    shutil.copytree(trimmed[0], tmp_path / "log")
    return tmp_path / "log"


def check(directory: Path, *witnessed: SignedNote) -> LogReport:
    heads = {f"hub {number}": note for number, note in enumerate(witnessed)}
    with AuditReader.open(directory) as reader:
        return verify_log(reader, Expectation(domain="site1", keys=KEYS, witnessed=heads))


def test_a_trimmed_log_is_good_and_says_from_where_it_is_whole(
    trimmed: tuple[Path, SignedNote, list[bytes]], log_dir: Path
) -> None:
    report = check(log_dir, trimmed[1])
    assert report.is_good, report.faults
    assert (report.trimmed, report.size, report.witnessed) == (TRIMMED, SIZE + 1, SIZE)
    with AuditReader.open(log_dir) as reader:
        kept = [stored.counter for stored in reader.entries()]
        assert kept == [ERASED, *range(TRIMMED, SIZE + 1)], "what erased somebody's data stays"
        assert [stored.counter for stored in reader.newest_first()] == kept[::-1]


@settings(max_examples=40)
@given(st.integers(0, SIZE), st.integers(0, SIZE - 1))
def test_every_head_and_every_entry_is_proven_as_before(
    trimmed: tuple[Path, SignedNote, list[bytes]], old: int, counter: int
) -> None:
    directory, _, hashes = trimmed
    with AuditReader.open(directory) as reader:
        head = reader.head()
        check_consistency(old, reader.root_at(old), head.size, head.root, reader.consistency_proof(old, head.size))
        proof = reader.inclusion_proof(counter, head.size)
        check_inclusion(hashes[counter], counter, head.size, proof, head.root)


def test_a_trimmed_log_goes_on_and_is_trimmed_again(log_dir: Path) -> None:
    with AuditLog.open(log_dir, "site1") as log:
        before = log.reader.state().leaf_bytes
        assert before == log.reader.count_bytes(0, log.size)
        fill(log, 10, SIZE + 1, signed_every=5)
        assert trim(log, TRIMMED + TILE) == TILE
        assert log.reader.state().leaf_bytes == log.reader.count_bytes(0, log.size) < before
    report = check(log_dir)
    assert report.is_good, report.faults
    assert report.trimmed == TRIMMED + TILE


def test_room_is_made_in_the_file(log_dir: Path) -> None:
    with sqlite3.connect(log_dir / LOG) as connection:
        free, pages = (connection.execute(f"PRAGMA {each}").fetchone()[0] for each in ("freelist_count", "page_count"))
    connection.close()
    assert free > 0.3 * pages, "the pages of what went are used again"


def test_an_export_of_a_trimmed_log_has_what_is_left_and_hashes_of_the_rest(log_dir: Path, tmp_path: Path) -> None:
    with AuditReader.open(log_dir) as reader:
        report = export_log(reader, ExportWish(tenant="kiosk", keys=KEYS), tmp_path / "kiosk.jsonl")
    assert (report.entries, report.hidden) == (SIZE + 1 - TRIMMED + 1, TRIMMED - 1)


ATTACKS = {
    "more bytes are taken": (["UPDATE entries SET leaf = x'' WHERE counter BETWEEN 600 AND 603"], "deleted", 600, 603),
    "and the state agrees": (["UPDATE entries SET leaf = x'' WHERE counter < 600"], "deleted", TRIMMED, 599),
    "a hash of what went": (["UPDATE entries SET hash = randomblob(32) WHERE counter = 30"], "edited", 0, 199),
    "the row of what went": (["DELETE FROM entries WHERE counter = 30"], "deleted", 30, 30),
    "what stayed is edited": (
        ["UPDATE entries SET leaf = replace(leaf, '0a0a', '0b0b') WHERE counter = 17"], "edited", 17, 17,
    ),
    "an entry that is whole": (
        ["UPDATE entries SET leaf = replace(leaf, 'r700', 'r701') WHERE counter = 700"], "edited", 700, 700,
    ),
    "the announcement": ([f"DELETE FROM entries WHERE counter = {SIZE}"], "truncated", SIZE, SIZE),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_what_is_done_to_a_trimmed_log_is_noticed(
    name: str, trimmed: tuple[Path, SignedNote, list[bytes]], log_dir: Path
) -> None:
    statements, kind, first, last = ATTACKS[name]
    attack(log_dir, *statements)
    found = [(fault.kind, fault.first, fault.last) for fault in check(log_dir, trimmed[1]).faults]
    assert (kind, first, last) in found, found


def test_bytes_that_are_taken_by_who_has_no_key_are_missed_whatever_agrees(
    trimmed: tuple[Path, SignedNote, list[bytes]], log_dir: Path
) -> None:
    """An entry that no head covers says that it was trimmed: that is no leave to do so."""
    with AuditLog.open(log_dir, "site1") as log:
        log.announce_trimming(3 * TILE, 9_500)
    attack(log_dir, f"UPDATE entries SET leaf = x'' WHERE counter < {3 * TILE}")
    rebuild(log_dir)
    faults = check(log_dir, trimmed[1]).faults
    assert [(fault.kind, fault.first, fault.last) for fault in faults] == [("deleted", TRIMMED, 3 * TILE - 1)]


def test_nothing_is_trimmed_that_no_signed_head_announces(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        fill(log, TILE + 1, signed_every=1)
        with pytest.raises(ValueError, match="no signed head"):
            log.trim(TILE)
        log.announce_trimming(TILE, 9_000)
        with pytest.raises(ValueError, match="no signed head"):
            log.trim(TILE)
        with pytest.raises(ValueError, match="none goes before"):
            log.announce_trimming(10 * TILE, 9_000)
        assert len(list(log.reader.entries())) == TILE + 2


@settings(max_examples=30)
@given(
    st.integers(0, SIZE + 1), st.sampled_from([0, 3_600, 7_200]), st.sampled_from([0, 1, 300_000]), st.integers(0, 9)
)
def test_nothing_goes_that_is_unwitnessed_or_young_enough_and_small_enough(
    trimmed: tuple[Path, SignedNote, list[bytes]], witnessed: int, kept_s: int, most_bytes: int, hours: int
) -> None:
    retention = RetentionSettings(audit_s=kept_s, audit_bytes=most_bytes)
    now_ms = hours * 3_600_000 + 5_700
    with AuditReader.open(trimmed[0]) as reader:
        end = choose_end(reader, retention, witnessed, now_ms)
        assert (end - TRIMMED) % TILE == 0
        assert end == TRIMMED or end <= witnessed
        gone = list(reader.entries(TRIMMED, end))
        left = reader.state().leaf_bytes - sum(len(each.leaf) for each in gone)
        too_old = [each for each in gone if kept_s and each.entry.logged_at_ms < now_ms - 1000 * kept_s]
        last = sum(len(each.leaf) for each in gone[-TILE:])
        assert len(too_old) == len(gone) or (most_bytes and left + last > most_bytes)
    if not kept_s and not most_bytes:
        assert end == TRIMMED


def test_what_is_older_goes_as_soon_as_it_is_witnessed(trimmed: tuple[Path, SignedNote, list[bytes]]) -> None:
    old = RetentionSettings(audit_s=3_600)
    with AuditReader.open(trimmed[0]) as reader:
        late = 3_600_000 + 5_000 + 3 * TILE
        assert choose_end(reader, old, SIZE, late) == 3 * TILE
        assert choose_end(reader, old, SIZE, late + 10 * TILE) == 4 * TILE
        assert choose_end(reader, old, 3 * TILE - 1, late) == TRIMMED
        assert choose_end(reader, FOREVER, SIZE, 1 << 45) == TRIMMED
        assert choose_end(reader, RetentionSettings(audit_bytes=1), SIZE, 0) == 4 * TILE
