"""How old a site is, as every process of it judges from one file: by the machine's clock, and per tenant."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tidegate.schemas.artefact import StalenessBudget
from tidegate.schemas.errors import UnreadableError
from tidegate.sync.rules.staleness import HeldArtefact, Now, TimeJudgement
from tidegate.sync.trust.standing import FILE, judge_standing, read_machine_clock, read_standing, write_standing

HOUR = 3_600_000
BUDGET = StalenessBudget(soft_s=3600, hard_s=7200, at_hard="evidence-only", closed_s=14_400)
START = Now(boot_id="ab" * 8, monotonic_ms=1_000_000, wall_ms=1_700_000_000_000)
TRUSTED = TimeJudgement(trusted_ms=1_700_000_000_000)


def later(hours: float, **changed: object) -> Now:
    passed = int(hours * HOUR)
    now = Now(boot_id=START.boot_id, monotonic_ms=START.monotonic_ms + passed, wall_ms=START.wall_ms + passed)
    return msgspec.structs.replace(now, **changed)


def held(tenant: str = "kiosk", hours_before: float = 0.0) -> HeldArtefact:
    at = TRUSTED.trusted_ms - int(hours_before * HOUR)
    return HeldArtefact(name=f"artefacts/{tenant}/policy/safe", budget=BUDGET, current_at_ms=at)


@pytest.mark.parametrize(
    ("hours", "rung", "is_stale"),
    [(0, "full", False), (0.9, "full", False), (1, "full", True), (2, "evidence-only", True), (4, "closed", True)],
)
def test_it_ages_along_its_budget_though_nobody_writes_any_more(
    tmp_path: Path, hours: float, rung: str, is_stale: bool
) -> None:
    write_standing(tmp_path, [held()], TRUSTED, START)
    record = read_standing(tmp_path)
    assert record is not None
    found = judge_standing(record, "kiosk", later(hours, wall_ms=START.wall_ms))
    assert (found.rung, bool(found.stale), found.is_doubtful) == (rung, is_stale, False), "the wall clock stood still"


def test_after_another_start_the_longer_of_both_times_counts_and_is_doubtful(tmp_path: Path) -> None:
    write_standing(tmp_path, [held()], TRUSTED, START)
    record = read_standing(tmp_path)
    assert record is not None
    off = judge_standing(record, "kiosk", later(3, boot_id="cd" * 8, monotonic_ms=1000))
    assert (off.rung, off.is_doubtful) == ("evidence-only", True)
    on = judge_standing(record, "kiosk", later(0, boot_id="cd" * 8, monotonic_ms=5 * HOUR))
    assert (on.rung, on.is_doubtful) == ("closed", True)


def test_a_file_from_another_machine_closes_the_site(tmp_path: Path) -> None:
    write_standing(tmp_path, [held()], TRUSTED, START)
    record = read_standing(tmp_path)
    assert record is not None
    found = judge_standing(record, "kiosk", later(-1))
    assert found.rung == "closed"
    assert "before" in found.because[0]


def test_each_tenant_stands_by_its_own_artefacts(tmp_path: Path) -> None:
    write_standing(
        tmp_path, [held("kiosk"), held("north", 3)], msgspec.structs.replace(TRUSTED, is_doubtful=True), START
    )
    record = read_standing(tmp_path)
    assert record is not None
    rungs = {tenant: judge_standing(record, tenant, START).rung for tenant in ("kiosk", "north", "south")}
    assert rungs == {"kiosk": "full", "north": "evidence-only", "south": "closed"}, "nothing of the south is in force"
    assert judge_standing(record, "kiosk", START).is_doubtful, "the trusted time was"


def test_without_a_file_nothing_is_known_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    assert read_standing(tmp_path) is None
    (tmp_path / FILE).write_bytes(b"{")
    with pytest.raises(UnreadableError) as found:
        read_standing(tmp_path)
    assert found.value.hint


def test_the_machine_s_clock_goes_on_and_names_its_start() -> None:
    first, second = read_machine_clock(), read_machine_clock()
    assert first.boot_id == second.boot_id
    assert len(first.boot_id) == 16
    assert second.monotonic_ms >= first.monotonic_ms > 0
