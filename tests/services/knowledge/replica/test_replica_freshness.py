"""How current what is quoted is known to be, by the time that may be trusted, when the question is asked."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from tests.support.message_parts import PASSAGE
from tidegate.schemas import Collection, Passage, TidegateError
from tidegate.services.fleet.machine_clock import open_freshness
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.replica.freshness import FreshnessJudge
from tidegate.services.settings import Settings
from tidegate.sync.rules.staleness import TimeWentBackError
from tidegate.sync.store import ReplicaStore
from tidegate.sync.trust.standing import read_machine_clock
from tidegate.sync.trust.trusted_clock import TIME_FILE, TrustedClock

NOW = 1_790_000_000_000
SHARED = msgspec.structs.replace(PASSAGE, collection="documents", signer="hub/0123456789abcdef")
OWN = msgspec.structs.replace(SHARED, collection="local")
LOST = msgspec.structs.replace(SHARED, collection="unheard-of")


def make_store(path: Path, domain: str, known_at_ms: int) -> ReplicaStore:
    store = ReplicaStore(path, domain, "a" * 16)
    store.put_collection(Collection(tenant="kiosk", name="documents", fresh_within_s=60))
    store.put_collection(Collection(tenant="kiosk", name="local", owner="site"))
    with store.writing() as writer:
        writer.put_record(msgspec.structs.replace(writer.record("documents"), known_at_ms=known_at_ms))
    return store


def judged(path: Path, domain: str, now_ms: int, *passages: Passage) -> list[tuple[int, bool]]:
    judge = FreshnessJudge(lambda tenant: path / f"{tenant}.sqlite", domain, lambda: now_ms)
    return [(each.known_at_ms, each.is_fresh) for each in judge.judge("kiosk", passages)]


@pytest.mark.parametrize(
    ("known_at_ms", "now_ms", "is_fresh"),
    [
        (NOW, NOW, True),
        (NOW, NOW + 60_000, True),
        (NOW, NOW + 60_001, False),
        (NOW + 5, NOW, True),
        (0, NOW, False),
        (0, 10, False),
    ],
)
def test_a_shared_collection_is_fresh_as_long_as_it_says(
    tmp_path: Path, known_at_ms: int, now_ms: int, is_fresh: bool
) -> None:
    make_store(tmp_path / "kiosk.sqlite", "site1", known_at_ms)
    assert judged(tmp_path, "site1", now_ms, SHARED) == [(known_at_ms, is_fresh)]


def test_who_is_the_origin_knows_what_it_has(tmp_path: Path) -> None:
    make_store(tmp_path / "kiosk.sqlite", "site1", 0)
    assert judged(tmp_path, "site1", NOW, OWN, SHARED) == [(NOW, True), (0, False)]
    assert judged(tmp_path, "hub", NOW, SHARED) == [(NOW, True)]


def test_what_nobody_vouches_for_is_not_fresh_and_no_question_fails(tmp_path: Path) -> None:
    assert judged(tmp_path, "site1", NOW, SHARED) == [(0, False)], "there is no store any more"
    make_store(tmp_path / "kiosk.sqlite", "site1", NOW)
    assert judged(tmp_path, "site1", NOW, LOST, SHARED) == [(0, False), (NOW, True)]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "kiosk.sqlite").write_bytes(b"this is no database" * 500)
    assert judged(tmp_path / "bad", "site1", NOW, SHARED) == [(0, False)]

    def fail() -> int:
        raise TimeWentBackError("10 ms before")

    judge = FreshnessJudge(lambda tenant: tmp_path / f"{tenant}.sqlite", "site1", fail)
    assert not judge.judge("kiosk", [SHARED])[0].is_fresh
    assert issubclass(TimeWentBackError, TidegateError)


def test_what_no_replica_brought_is_left_as_it_is(tmp_path: Path) -> None:
    def never(_: str) -> Path:
        raise AssertionError("no store is looked at")

    assert FreshnessJudge(never, "site1", lambda: NOW).judge("kiosk", [PASSAGE]) == (PASSAGE,)
    make_store(tmp_path / "kiosk.sqlite", "site1", 0)
    assert judged(tmp_path, "site1", NOW, PASSAGE, SHARED) == [(0, True), (0, False)]


def test_what_the_writer_learns_counts_from_the_next_question_on(tmp_path: Path) -> None:
    store = make_store(tmp_path / "kiosk.sqlite", "site1", 0)
    judge = FreshnessJudge(lambda tenant: tmp_path / f"{tenant}.sqlite", "site1", lambda: NOW)
    assert not judge.judge("kiosk", [SHARED])[0].is_fresh
    with store.writing() as writer:
        writer.put_record(msgspec.structs.replace(writer.record("documents"), known_at_ms=NOW - 1))
    assert judge.judge("kiosk", [SHARED])[0].is_fresh


def test_a_site_goes_by_the_trusted_time_and_not_by_its_wall_clock(tmp_path: Path) -> None:
    settings = Settings(site="site1", state_dir=str(tmp_path))
    paths = StatePaths(settings)
    paths.replicas.mkdir(parents=True)
    paths.trust.mkdir(parents=True)
    real_ms = int(time.time() * 1000)
    make_store(paths.replica("kiosk"), "site1", real_ms)
    assert open_freshness(settings).judge("kiosk", [SHARED])[0].is_fresh, "by the wall clock, where nothing was told"
    clock = TrustedClock(paths.trust / TIME_FILE)
    clock.tell(real_ms + 3_600_000, read_machine_clock(), is_live=True)  # the wall clock is an hour late
    assert not open_freshness(settings).judge("kiosk", [SHARED])[0].is_fresh
    clock.tell(real_ms + 1, read_machine_clock(), is_live=True)
    assert not open_freshness(settings).judge("kiosk", [SHARED])[0].is_fresh, "trusted time does not go back"
    hub = Settings(site="hub", state_dir=str(tmp_path))
    StatePaths(hub).replicas.mkdir(parents=True)
    make_store(StatePaths(hub).replica("kiosk"), "hub", 0)
    [passage] = open_freshness(hub).judge("kiosk", [SHARED])
    assert passage.is_fresh
    assert abs(passage.known_at_ms - real_ms) < 60_000


def test_the_clocks_of_one_boot_belong_together() -> None:
    first, second = read_machine_clock(), read_machine_clock()
    assert first.boot_id == second.boot_id
    assert len(first.boot_id) == 16
    assert 0 < first.monotonic_ms <= second.monotonic_ms
