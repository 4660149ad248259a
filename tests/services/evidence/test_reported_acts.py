"""What operators do and what the gateway refuses waits on the disk for the audit log, with no word of a request."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.command_line import CommandLine
from tests.support.gateway_site import Site, ask, asked, nats_site
from tidegate.schemas import Refused, encode, replace
from tidegate.schemas.audit import AuditEvent
from tidegate.schemas.replica import ArtefactPublished, RepairOutcome
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.refusal_counts import (
    COUNTS,
    LONGEST_WAIT_S,
    MOST_KINDS,
    MOST_RIDS,
    RefusalCounts,
    RefusalKind,
    report_refusals,
    reporting,
)
from tidegate.services.packs.generations import GenerationRecord
from tidegate.services.replication.hub import publication_event
from tidegate.services.replication.parts_in_force import generation_event
from tidegate.services.settings import Settings
from tidegate.sync.shells.checks import repair_event

running = pytest.fixture(nats_site)
KIOSK = RefusalKind("kiosk", "rid_taken", "nats")


def events_of(state: Path, domain: str) -> list[AuditEvent]:
    spool = EventSpool(StatePaths(replace(Settings(state_dir=str(state)), site=domain)).audit_events)
    return [each.event for each in spool.waiting(100) if each.event is not None]


def test_keys_and_sites_are_reported_where_the_repository_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = CommandLine(str(tmp_path / "hub"))
    command.capsys = capsys
    command.run("keys", "init")
    made = events_of(tmp_path / "hub", HUB)
    assert {event.kind for event in made} == {"key_made"}
    assert {event.act.about.split()[0] for event in made} == {
        "root", "targets", "snapshot", "timestamp", "device", "author",
    }  # fmt: skip
    assert {event.act.by.split(":")[0] for event in made} == {"uid"}
    command.run("site", "add", "site1", "--bundle", str(tmp_path / "site1.bundle"))
    key_id = command.json("keys", "rotate", "author")["key"]["key_id"]
    command.run("keys", "revoke", key_id, "--reason", "it was lost")
    command.run("site", "revoke", "site1", "--reason", "stolen")
    done = [(event.kind, event.act.about, event.act.reason) for event in events_of(tmp_path / "hub", HUB)[len(made) :]]
    assert done[0] == ("site_added", "site1", "incarnation 1")
    assert done[1][:2] == ("key_rotated", f"author {key_id}")
    assert done[2:] == [("key_revoked", f"author {key_id}", "it was lost"), ("site_revoked", "site1", "stolen")]
    elsewhere = CommandLine(str(tmp_path / "site1"))
    elsewhere.capsys = capsys
    for _ in range(2):
        elsewhere.run("site", "add", "--from", str(tmp_path / "site1.bundle"))
    [added] = events_of(tmp_path / "site1", "site1")
    assert (added.kind, added.act.about) == ("site_added", "site1")


def test_what_the_sync_worker_does_is_reported_by_digest_and_epoch() -> None:
    generation = GenerationRecord(
        number=4, digest="ab" * 32, epochs={"policy/safe": 3, "prompt/site": 9, "policy/fees": 1}, made_at_ms=1
    )
    event = generation_event("kiosk", generation, {"0a": "{}"})
    assert (event.kind, event.tenant, event.act.epoch, event.act.digest) == ("in_force", "kiosk", 4, "ab" * 32)
    assert (event.act.reason, event.act.policies) == ("fees@1, safe@3", {"0a": "{}"})
    artefact = ArtefactPublished(tenant="kiosk", kind="policy", name="safe", epoch=3, digest="cd" * 32, size=1)
    event = publication_event(artefact)
    assert (event.kind, event.act.about, event.act.epoch, event.act.digest) == (
        "published",
        "policy/safe",
        3,
        "cd" * 32,
    )
    outcome = RepairOutcome(
        tenant="kiosk", collection="faq", at_ms=7, documents={"disk": ("a", "b")}, index={"bm25": ("c",)}
    )
    event = repair_event(outcome)
    assert (event.kind, event.act.about, event.act.reason, event.at_ms) == (
        "repaired",
        "faq",
        "disk 2, index bm25 1",
        7,
    )


@pytest.mark.anyio
async def test_refusals_are_counted_by_tenant_and_code_and_one_of_nobody_names_no_request(running: Site) -> None:
    COUNTS.take(is_last=True)
    for data in (b"noise", encode(asked(text=" ", rid="r1")), encode(replace(asked(rid="r2"), tenant="nobody"))):
        assert isinstance(await ask(running, data), Refused)
    found = {(event.tenant, event.act.about): event.act for event in COUNTS.take(is_last=True)}
    assert found.keys() == {("", "unreadable"), ("kiosk", "empty_text"), ("", "not_your_tenant")}
    assert found["kiosk", "empty_text"].rids == ("r1",)
    assert found["", "not_your_tenant"].rids == ()
    assert {act.by for act in found.values()} == {"nats"}


def test_a_flood_is_one_event_for_each_kind() -> None:
    counts = RefusalCounts()
    for number in range(1_000):
        counts.add(KIOSK, f"r{number}")
        counts.add(RefusalKind(f"t{number}", "busy", "http"))
    events = counts.take()
    assert len(events) <= MOST_KINDS + 1
    [kiosk] = [event for event in events if event.tenant == "kiosk"]
    assert (kiosk.act.count, len(kiosk.act.rids)) == (1_000, MOST_RIDS)
    assert sum(event.act.count for event in events) == 2_000
    assert counts.take() == []


class Clock:
    """Seconds, as a test lets them pass."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@given(steps=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 900)), max_size=60))
def test_nothing_that_was_refused_is_lost_or_counted_twice_however_long_it_waits(steps: list[tuple[int, int]]) -> None:
    clock = Clock()
    counts = RefusalCounts(clock)
    kinds = [replace_code(code) for code in ("busy", "late", "unreadable")]
    reported: Counter[RefusalKind] = Counter()
    added: Counter[RefusalKind] = Counter()
    for number, (kind, passed_s) in enumerate(steps):
        counts.add(kinds[kind])
        added[kinds[kind]] += 1
        clock.now_s += passed_s
        for event in counts.take(is_last=number == len(steps) - 1):
            reported[RefusalKind(event.tenant, event.act.about, event.act.by)] += event.act.count
    assert reported == added


def replace_code(code: str) -> RefusalKind:
    return KIOSK._replace(code=code)


def test_a_flood_that_goes_on_for_a_day_is_a_few_hundred_entries_and_its_first_one_comes_at_once() -> None:
    clock = Clock()
    counts = RefusalCounts(clock)
    entries: list[AuditEvent] = []
    for second in range(86_400):
        clock.now_s = float(second)
        counts.add(KIOSK, count=1_000)
        entries += counts.take()
        if second == 0:
            assert len(entries) == 1
    entries += counts.take(is_last=True)
    assert len(entries) < 310
    assert sum(event.act.count for event in entries) == 86_400_000
    clock.now_s += 2 * LONGEST_WAIT_S
    assert counts.take() == []
    counts.add(KIOSK)
    assert len(counts.take()) == 1, "what was quiet for long is news"


def test_what_nobody_honest_does_is_called_so() -> None:
    counts = RefusalCounts()
    counts.add(RefusalKind("kiosk", "wrong_site", "site:site2", "violated"), "r1")
    [event] = counts.take()
    assert (event.kind, event.act.about, event.act.by, event.act.rids) == (
        "violated",
        "wrong_site",
        "site:site2",
        ("r1",),
    )
    counts.put_back(event)
    assert [each.kind for each in counts.take(is_last=True)] == ["violated"]


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.anyio
async def test_what_the_disk_does_not_take_is_reported_with_what_comes_next(tmp_path: Path) -> None:
    counts, spool = RefusalCounts(), EventSpool(tmp_path / "audit" / "events")
    counts.add(KIOSK)
    await report_refusals(counts, spool)
    assert not spool.is_open, "there is no audit log here"
    spool.open()
    counts.add(KIOSK, "r1")
    with full_disk():
        await report_refusals(counts, spool)
    assert spool.waiting(10) == []
    async with reporting(counts, spool):
        counts.add(KIOSK, "r2")
    [waiting] = spool.waiting(10)
    assert waiting.event is not None
    assert (waiting.event.act.count, waiting.event.act.rids) == (2, ("r2",))
