"""A log that nobody touched is good; whatever somebody did to one is noticed, and the entry is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.audit_logs import HUB, KEYS, SITE1, SITE2, LogKey, answer, attack, fill, rebuild, renumber
from tidegate.services.evidence.checkpoints import SignedNote
from tidegate.services.evidence.log import KEPT_EVERY, AuditLog
from tidegate.services.evidence.log_file import LOG
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.verification import Expectation, FaultKind, LogReport, verify_log

SIZE, SIGNED_EVERY, WITNESSED = 3 * KEPT_EVERY, KEPT_EVERY, 2 * KEPT_EVERY
Attack = Callable[[Path], None]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SignedNote]:
    """A log, signed to its end, and the head of it that the hub has witnessed."""
    directory = tmp_path_factory.mktemp("untouched")
    with AuditLog.open(directory, "site1") as log:
        fill(log, WITNESSED, signed_every=SIGNED_EVERY)
        witnessed = HUB.cosign(SITE1.sign_head(log))
        fill(log, SIZE - WITNESSED, WITNESSED, signed_every=SIGNED_EVERY)
    with AuditReader.open(directory) as reader:  # so that all of it is in the one file
        assert reader.state().size == SIZE
    return directory, witnessed


@pytest.fixture
def log_dir(untouched: tuple[Path, SignedNote], tmp_path: Path) -> Path:
    shutil.copytree(untouched[0], tmp_path / "log")
    return tmp_path / "log"


def check(directory: Path, *witnessed: SignedNote) -> LogReport:
    heads = {f"hub {number}": note for number, note in enumerate(witnessed)}
    with AuditReader.open(directory) as reader:
        return verify_log(reader, Expectation(domain="site1", keys=KEYS, witnessed=heads))


def sql(*statements: str) -> Attack:
    return lambda directory: attack(directory, *statements)


def smart(*statements: str) -> Attack:
    """The same by somebody who makes all that needs no key agree."""

    def change(directory: Path) -> None:
        attack(directory, *statements)
        rebuild(directory)

    return change


def taken_out(directory: Path) -> None:
    attack(directory, "DELETE FROM entries WHERE counter = 313")
    renumber(directory)


def other_log(directory: Path) -> None:
    shutil.rmtree(directory)
    with AuditLog.open(directory, "site2") as log:
        fill(log, SIZE)
        log.keep_checkpoint(SITE2.sign_head(log))


def own_log_anew(directory: Path) -> None:
    """By somebody who has the site's key."""
    shutil.rmtree(directory)
    with AuditLog.open(directory, "site1") as log:
        log.append([answer(number + 100) for number in range(SIZE)], 5_000)
        log.keep_checkpoint(SITE1.sign_head(log))


def older_copy(directory: Path) -> None:
    shutil.rmtree(directory)
    with AuditLog.open(directory, "site1") as log:
        fill(log, SIGNED_EVERY, signed_every=SIGNED_EVERY)


def resigned(directory: Path) -> None:
    """An edit in what was witnessed, by somebody who has the site's key too."""
    attack(directory, "UPDATE entries SET leaf = replace(leaf, 'answered', 'withheld') WHERE counter = 5")
    rebuild(directory)
    attack(directory, "DELETE FROM checkpoints")
    with AuditLog.open(directory, "site1") as log:
        log.keep_checkpoint(SITE1.sign_head(log))


def signed_by_a_stranger(directory: Path) -> None:
    attack(directory, "DELETE FROM checkpoints")
    with AuditLog.open(directory, "site1") as log:
        log.keep_checkpoint(LogKey("site1", seed=2).sign_head(log))


def swapped(directory: Path) -> None:
    attack(
        directory,
        "UPDATE entries SET counter = -1 WHERE counter = 7",
        "UPDATE entries SET counter = 7 WHERE counter = 8",
        "UPDATE entries SET counter = 8 WHERE counter = -1",
    )


def swapped_smartly(directory: Path) -> None:
    swapped(directory)
    renumber(directory)


TABLE: dict[str, tuple[Attack, FaultKind, int, int]] = {
    "a byte of an entry": (
        sql("UPDATE entries SET leaf = replace(leaf, 'answered', 'withheld') WHERE counter = 300"), "edited", 300, 300,
    ),
    "an entry and its hash": (
        smart("UPDATE entries SET leaf = replace(leaf, 'answered', 'withheld') WHERE counter = 300"),
        "edited", 256, 511,
    ),
    "an entry that is no JSON": (smart("UPDATE entries SET leaf = x'00ff' WHERE counter = 29"), "edited", 29, 29),
    "only the hash": (sql("UPDATE entries SET hash = randomblob(32) WHERE counter = 0"), "edited", 0, 0),
    "the time of an entry": (
        smart("UPDATE entries SET leaf = replace(leaf, '_at_ms\":5300', '_at_ms\":4300') WHERE counter = 300"),
        "reordered", 299, 300,
    ),
    "one entry deleted": (sql("DELETE FROM entries WHERE counter = 313"), "deleted", 313, 313),
    "the first deleted": (sql("DELETE FROM entries WHERE counter < 2"), "deleted", 0, 1),
    "one taken out and the rest moved up": (taken_out, "edited", 256, 511),
    "the last deleted": (sql("DELETE FROM entries WHERE counter >= 700"), "truncated", 700, 767),
    "the last deleted, and it agrees": (smart("DELETE FROM entries WHERE counter >= 700"), "truncated", 700, 767),
    "the last deleted, with the heads of them": (
        smart("DELETE FROM entries WHERE counter >= 400", "DELETE FROM checkpoints WHERE size > 256"),
        "truncated", 400, 511,
    ),
    "two swapped": (swapped, "reordered", 7, 7),
    "two swapped, and renumbered": (swapped_smartly, "reordered", 7, 8),
    "the same entry twice": (
        smart("UPDATE entries SET leaf = (SELECT leaf FROM entries WHERE counter = 3) WHERE counter = 4"),
        "reordered", 4, 4,
    ),
    "another domain's log": (other_log, "replaced", 0, SIZE),
    "a log made anew by who has the key": (own_log_anew, "forked", 0, WITNESSED - 1),
    "an older copy": (older_copy, "truncated", SIGNED_EVERY, WITNESSED - 1),
    "an edit under a new signature": (resigned, "forked", 0, WITNESSED - 1),
    "the head of a stranger": (signed_by_a_stranger, "unsigned", 0, SIZE),
    "a head that is no note": (sql("UPDATE checkpoints SET note = 'x' WHERE size = 256"), "unsigned", 0, 256),
    "a head of another size": (
        sql("UPDATE checkpoints SET note = replace(note, char(10)||'256', char(10)||'257') WHERE size = 256"),
        "unsigned", 0, 256,
    ),
}  # fmt: skip


def test_a_log_that_nobody_touched_is_good(untouched: tuple[Path, SignedNote], log_dir: Path) -> None:
    report = check(log_dir, untouched[1])
    assert report.is_good, report.faults
    assert (report.size, report.signed, report.witnessed) == (SIZE, SIZE, WITNESSED)
    with AuditReader.open(log_dir) as reader:
        assert report.root == reader.head().root.hex()


@pytest.mark.parametrize("name", TABLE)
def test_whatever_was_done_to_a_log_is_noticed_and_where(
    name: str, untouched: tuple[Path, SignedNote], log_dir: Path
) -> None:
    change, kind, first, last = TABLE[name]
    change(log_dir)
    report = check(log_dir, untouched[1])
    assert not report.is_good
    fault = report.faults[0]
    assert (fault.kind, fault.first, fault.last) == (kind, first, last), report.faults


def test_two_histories_of_one_length_are_a_fork_though_either_is_good(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with AuditLog.open(tmp_path / name, "site1") as log:
            fill(log, 4)
            log.append([answer(9 if name == "a" else 8)], 9_000)
            log.keep_checkpoint(SITE1.sign_head(log))
    with AuditReader.open(tmp_path / "b") as reader:
        seen = reader.newest_checkpoint()
    assert seen is not None
    assert check(tmp_path / "a").is_good
    assert check(tmp_path / "b", seen).is_good
    assert [fault.kind for fault in check(tmp_path / "a", seen).faults] == ["forked"]


def test_the_log_of_another_incarnation_is_another_log(tmp_path: Path) -> None:
    for name, incarnation in (("first", 1), ("second", 2)):
        with AuditLog.open(tmp_path / name, "site1", incarnation) as log:
            fill(log, 3, signed_every=3)
        assert check(tmp_path / name).is_good
    with AuditLog.open(tmp_path / "second", "site1", 3) as log:
        assert log.reader.state().origin == "tidegate.audit/site1@2", "what was begun stays what it is"
    with AuditReader.open(tmp_path / "first") as reader:
        kept = reader.newest_checkpoint()
    assert kept is not None
    assert [fault.kind for fault in check(tmp_path / "second", kept).faults] == ["replaced"]


def test_entries_behind_the_last_signed_head_are_not_counted_as_signed(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        fill(log, 7, signed_every=5)
    report = check(tmp_path)
    assert report.is_good
    assert (report.size, report.signed, report.witnessed) == (7, 5, 0)


def test_what_no_head_covers_yet_is_looked_at_too(tmp_path: Path) -> None:
    for name, domain in (("own", "site1"), ("other", "site2")):
        with AuditLog.open(tmp_path / name, domain) as log:
            fill(log, 3)
    attack(tmp_path / "own", "DELETE FROM entries WHERE counter = 2")
    (fault,) = check(tmp_path / "own").faults
    assert (fault.kind, fault.first, fault.last) == ("truncated", 2, 2)
    assert [fault.kind for fault in check(tmp_path / "other").faults] == ["replaced"] * 3


def test_the_head_that_another_has_kept_must_be_the_site_s(untouched: tuple[Path, SignedNote], log_dir: Path) -> None:
    witnessed = untouched[1]
    forged = SignedNote(witnessed.text, witnessed.signatures[1:])
    faults = check(log_dir, forged).faults
    assert [fault.kind for fault in faults] == ["unsigned"]
    assert "hub 0" in faults[0].reason


def test_of_very_many_faults_some_are_listed(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        log.append([answer(number) for number in range(300)], 1)
    attack(tmp_path, "UPDATE entries SET hash = x'00'")
    assert len(check(tmp_path).faults) == 100


@settings(max_examples=60)
@given(st.integers(0, SIZE - 1), st.data())
def test_no_changed_bit_of_a_signed_entry_goes_unnoticed(
    untouched: tuple[Path, SignedNote], tmp_path_factory: pytest.TempPathFactory, counter: int, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("flipped")
    shutil.copytree(untouched[0], directory, dirs_exist_ok=True)
    with AuditReader.open(directory) as reader:
        (stored,) = reader.entries(counter, counter + 1)
    at, bit = data.draw(st.integers(0, len(stored.leaf) - 1)), data.draw(st.integers(0, 7))
    changed = stored.leaf[:at] + bytes([stored.leaf[at] ^ (1 << bit)]) + stored.leaf[at + 1 :]
    attack(directory, f"UPDATE entries SET leaf = x'{changed.hex()}' WHERE counter = {counter}")
    if data.draw(st.booleans()):
        rebuild(directory)
    report = check(directory)
    (directory / LOG).unlink()
    assert any(fault.first <= counter <= fault.last for fault in report.faults), report
