"""A copy of a site that escalates is noticed by the hub without attesting: named, fenced, and in the audit log."""

from __future__ import annotations

import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attacks.test_hub_intake import check_refused
from tests.support.audited_refusals import entries_of
from tests.support.intake_attacks import GOOD
from tests.support.lease_lab import Lab
from tests.support.taking_hub import TakingHub, taking_hub
from tidegate.schemas import Escalated, Verified, decode, encode, replace
from tidegate.schemas.audit import AuditedAct
from tidegate.schemas.source_mark import SourceMark
from tidegate.schemas.subjects import DEAD
from tidegate.schemas.verification_subjects import fast_lane
from tidegate.services.uplink.source_marks import FILE, FOR_ESCALATIONS, SourceMarks
from tidegate.services.uplink.source_watch import MOST_NUMBERS, SeenSources, SourceWatch
from tidegate.sync.trust.site_records import SiteRecords

pytestmark = pytest.mark.anyio
ASKED = replace(GOOD, site="site1")


async def escalate(process: SourceMarks, count: int, name: str) -> list[Escalated]:
    return [await process.stamp(replace(ASKED, rid=f"{name}{n}")) for n in range(count)]


async def ask(hub: TakingHub, escalated: Escalated) -> bytes:
    """On the fast lane."""
    return await hub.bus.request(fast_lane("site1", "kiosk"), encode(escalated), timeout_s=5.0)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.mark.parametrize("lane", ["fast", "stream"])
async def test_a_running_copy_of_a_site_is_fenced_by_what_both_escalate(lab: Lab, tmp_path: Path, lane: str) -> None:
    hub = await taking_hub(tmp_path / "sites")
    own = SourceMarks(tmp_path / "own", 1)
    for escalated in await escalate(own, 3, "before"):
        assert isinstance(decode(await ask(hub, escalated), Verified), Verified)
    shutil.copytree(tmp_path / "own", tmp_path / "copy")
    clones = await escalate(SourceMarks(tmp_path / "copy", 1), 1, "clone")
    assert isinstance(decode(await ask(hub, clones[0]), Verified), Verified), "alone it could be a second process"
    owns = await escalate(own, FOR_ESCALATIONS, "own")
    for escalated in owns[:-3]:
        assert isinstance(decode(await ask(hub, escalated), Verified), Verified)
    telling = owns[-1]
    if lane == "fast":
        check_refused(await ask(hub, telling), "cloned_site")
    else:
        await hub.take(encode(telling), f"escalations.site1.kiosk.{telling.rid}")
        assert "cloned_site" in hub.bus.stored(DEAD)[-1].headers["Dead-Reason"]
    assert clones[0].source is not None
    assert telling.source is not None
    fenced = lab.records.load("site1").fenced
    for part in (clones[0].source.boot_id, telling.source.boot_id, f"number {telling.source.number}"):
        assert part in fenced
    for process, name in ((own, "later"), (SourceMarks(tmp_path / "copy", 1), "again")):
        [later] = await escalate(process, 1, name)
        check_refused(await ask(hub, later), "cloned_site")
    acts = [(entry.kind, entry.body) for entry in entries_of(hub.counts)]
    assert [(kind, act.about, act.by, act.count) for kind, act in acts if isinstance(act, AuditedAct)] == [
        ("site_fenced", "cloned_site", "site:site1", 1),
        ("violated", "cloned_site", "site:site1", 3),
    ]


async def test_what_a_site_was_before_it_was_provisioned_anew_is_refused_and_fences_nobody(
    lab: Lab, tmp_path: Path
) -> None:
    hub = await taking_hub(tmp_path / "sites")
    [before] = await escalate(SourceMarks(tmp_path / "before", 1), 1, "before")
    lab.records.provision("site1", 2, lab.keys.generate("device", "site1", 1).key_id)
    [own] = await escalate(SourceMarks(tmp_path / "own", 2), 1, "own")
    assert isinstance(decode(await ask(hub, own), Verified), Verified)
    check_refused(await ask(hub, before), "cloned_site")
    assert not lab.records.load("site1").fenced


async def test_a_site_that_is_older_or_unknown_is_heard_without_a_mark_of_its_own(tmp_path: Path) -> None:
    lab, hub = Lab(tmp_path), await taking_hub(tmp_path / "sites")
    assert isinstance(decode(await ask(hub, ASKED), Verified), Verified)
    assert not lab.records.load("site1").fenced
    nowhere = SourceWatch(tmp_path / "seen", SiteRecords(tmp_path / "none"))
    for boot_id in ("ab" * 8, "cd" * 8):
        assert not nowhere.check("site1", SourceMark(incarnation=1, number=1, boot_id=boot_id))


async def test_no_number_is_given_twice_and_without_room_the_last_one_goes_on(tmp_path: Path) -> None:
    one, other = SourceMarks(tmp_path, 1), SourceMarks(tmp_path, 1)
    numbers = [(await each.stamp(ASKED)).source for each in (one, other, one)]
    assert [mark.number for mark in numbers if mark] == [1, 2, 1]
    (tmp_path / FILE).unlink()
    (tmp_path / f".{FILE}.lock").unlink()
    tmp_path.joinpath(f".{FILE}.lock").mkdir()
    last = [(await one.stamp(ASKED)).source for _ in range(FOR_ESCALATIONS)][-1]
    assert last == numbers[0]
    with pytest.raises(OSError, match="directory"):
        await SourceMarks(tmp_path, 1).stamp(ASKED)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.randoms(use_true_random=False), st.booleans())
async def test_no_honest_site_is_fenced_whatever_restarts_comes_late_or_twice(
    starts: list[int], chance: random.Random, is_restarted: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab, path = Lab(Path(folder)), Path(folder)
        sent: list[SourceMark | None] = []
        for number in starts:
            process = SourceMarks(path / "own", 1)
            sent += [(await process.stamp(ASKED)).source for _ in range(number * FOR_ESCALATIONS // 2 + 1)]
        chance.shuffle(sent)
        watch = SourceWatch(path / "seen", lab.records)
        for mark in [*sent, *sent[:5]]:
            assert mark is not None
            watch = SourceWatch(path / "seen", lab.records) if is_restarted else watch
            assert watch.is_known("site1", mark) or not watch.check("site1", mark)
        assert not lab.records.load("site1").fenced


def test_what_is_kept_of_a_site_is_bounded_and_the_newest() -> None:
    seen = SeenSources(incarnation=1, by_number=dict.fromkeys(range(1, MOST_NUMBERS), "ab" * 8))
    for number in range(MOST_NUMBERS, MOST_NUMBERS + 3):
        seen = seen.seeing(SourceMark(incarnation=1, number=number, boot_id="ab" * 8))
    assert (len(seen.by_number), min(seen.by_number)) == (MOST_NUMBERS, 3)
    late = SourceMark(incarnation=1, number=1, boot_id="cd" * 8)
    assert seen.has(late)
    assert not seen.clone_of(late)
