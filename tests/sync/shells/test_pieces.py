"""The small parts of the shells: loops that go on, faults that stand, errors that travel, marks, the hub's time."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.support.sync_fleet import until
from tidegate.brokers.base import TopologyMissingError
from tidegate.schemas import LogPosition, RetryLaterError, TidegateError
from tidegate.schemas.replica import ReplicaFault
from tidegate.sync.rules.ownership import NotOwnedError
from tidegate.sync.rules.plan import HoleError
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.hub_time import HubTime
from tidegate.sync.shells.log_marks import MOST_MARKS, LogMarks
from tidegate.sync.shells.loops import PASSING_FAILURES, Loop, running
from tidegate.sync.shells.wire_faults import PeerFaultError, error_of, fault_of

pytestmark = pytest.mark.anyio


class Work:
    """Fails with these errors, one after the other, and then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.done = list(errors), 0

    async def __call__(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.done += 1


async def test_a_loop_goes_on_after_any_error_and_its_fault_stands_until_it_works() -> None:
    faults, work = Faults(), Work(NotOwnedError("not yours"), ZeroDivisionError("a document's text"))
    seen: list[str] = []
    loop = Loop("named", work, 60.0, faults)
    async with running([loop]):
        while not work.done:
            seen += faults.all()
            loop.wake()
            await asyncio.sleep(0)
    assert "named: not yours" in seen
    assert any("ZeroDivisionError" in fault and "text" not in fault for fault in seen)
    assert faults.all() == ()


async def test_what_passes_by_itself_is_no_fault_unless_it_lasts() -> None:
    faults = Faults()
    lasting = Work(*[TopologyMissingError("made anew") for _ in range(PASSING_FAILURES + 1)])
    loop = Loop("mirror", lasting, 60.0, faults, slowest_s=0.001)
    async with running([loop]):
        await until(lambda: not lasting.errors)
        await until(lambda: lasting.done == 1)
    assert faults.all() == ()
    short = Work(*[RetryLaterError("soon", 0.0) for _ in range(3)])
    seen: list[str] = []
    async with running([Loop("mirror", short, 60.0, faults, slowest_s=0.001)]):
        while not short.done:
            seen += faults.all()
            await asyncio.sleep(0)
    assert seen == []


async def test_a_loop_that_is_woken_while_it_works_works_once_more() -> None:
    work = Work()
    loop = Loop("x", work, 60.0, Faults())
    async with running([loop]):
        await until(lambda: work.done == 1)
        loop.wake()
        await until(lambda: work.done == 2)


def test_faults_are_kept_by_what_they_are_about_and_where_they_come_from() -> None:
    faults = Faults()
    faults.note("kiosk/notices", NotOwnedError("one"), "follow")
    faults.note("kiosk/notices", OSError(28, "No space left"), "compare")
    assert faults.about("kiosk/notices") == "OSError: [Errno 28] No space left; one"
    faults.clear("kiosk/notices", "follow")
    assert "one" not in faults.about("kiosk/notices")
    assert faults.about("kiosk/other") == ""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NotOwnedError("a reason", "a hint"), NotOwnedError),
        (RetryLaterError("later", 5.0), RetryLaterError),
        (HoleError("notices", 1, 2, 3), PeerFaultError),  # it is made of more than a reason
        (ValueError("quotes a document"), PeerFaultError),
        (OSError("disk"), PeerFaultError),
    ],
)
def test_an_error_is_raised_on_the_other_side_as_what_it_was(error: Exception, kind: type[TidegateError]) -> None:
    raised = error_of(fault_of(error))
    assert type(raised) is kind
    assert "quotes a document" not in raised.reason
    if isinstance(error, TidegateError):
        assert (raised.reason, raised.hint) == (error.reason, error.hint)
    assert type(error_of(ReplicaFault(code="of_a_later_version", reason="x", hint="y"))) is PeerFaultError


def test_marks_name_a_sequence_at_or_before_what_is_looked_for_however_many_are_noted() -> None:
    marks, dice = LogMarks(), random.Random(7)
    entries = [(LogPosition(epoch, index), 10_000 * epoch + 3 * index) for epoch in (1, 2) for index in range(1, 900)]
    for entry in dice.sample(entries, len(entries)):
        marks.note(*entry)
    assert len(marks._marks) <= MOST_MARKS
    for position, sequence in entries:
        before, low, high = marks.around(position)
        assert before <= position
        assert low <= sequence
        assert not high or high > sequence
    assert marks.around(LogPosition(2, 899))[1] == 10_000 * 2 + 3 * 899


def test_the_hub_s_time_goes_on_by_a_clock_that_does_not_jump() -> None:
    wall, ticks = [5_000], [0.0]
    time = HubTime(lambda: wall[0], lambda: ticks[0])
    assert time.now_ms() == 5_000
    time.hear(1_000_000)
    ticks[0], wall[0] = 2.5, 0
    assert time.now_ms() == 1_002_500
