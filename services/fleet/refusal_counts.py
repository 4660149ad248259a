"""Counts what a process refuses, and reports it to the audit log: one event for all of a kind, at growing intervals.

Promises that a flood of refusals costs a counter each and no more than a few entries an hour for each kind and caller,
and that what was refused is reported before the process ends. Next: audit_spool.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple, get_args

from tidegate.brokers.process.background import running
from tidegate.schemas.audit import AuditedAct, AuditEvent
from tidegate.services.fleet.audit_spool import EventSpool

REPORT_EVERY_S = 1.0
LONGEST_WAIT_S = 300.0
"""What goes on is reported after one second, then after two, four and so on, at last so often."""
MOST_RIDS = 8
MOST_KINDS = 256
"""Of so many tenants, codes and callers at once; what is beyond counts as one kind for each code."""
MANY = "many"


RefusalAct = Literal["refused", "violated", "site_fenced"]
ACTS: tuple[RefusalAct, ...] = get_args(RefusalAct)


class RefusalKind(NamedTuple):
    """What refusals have in common that are reported as one; without a tenant where it is not known, or none is. `by`
    is the door, and the caller where one is known; `act`: `violated` is what no honest caller does."""

    tenant: str
    code: str
    by: str
    act: RefusalAct = "refused"


class _Interval(NamedTuple):
    """When a kind was reported last, and how long what follows waits."""

    reported_at_s: float
    wait_s: float


class RefusalCounts:
    """The refusals of one process since they were last taken. For one thread, that of the process's loop. `clock` gives
    seconds, and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[RefusalKind, tuple[int, tuple[str, ...]]] = {}
        self._intervals: dict[RefusalKind, _Interval] = {}

    def add(self, kind: RefusalKind, rid: str = "", count: int = 1) -> None:
        """Count a refusal of this kind."""
        if kind not in self._counts and len(self._counts) >= MOST_KINDS:
            kind = RefusalKind("", kind.code, MANY, kind.act)
        before, rids = self._counts.get(kind, (0, ()))
        if rid and kind.tenant and len(rids) < MOST_RIDS:  # an id is its tenant's: others' auditors do not see it
            rids = (*rids, rid)
        self._counts[kind] = (before + count, rids)

    def take(self, *, is_last: bool = False) -> list[AuditEvent]:
        """What was refused and is to be reported now; with `is_last` all of it."""
        now_s = self._clock()
        self._forget_quiet(now_s)
        due = [kind for kind in self._counts if is_last or self._is_due(kind, now_s)]
        return [self._take_one(kind, now_s) for kind in due]

    def put_back(self, event: AuditEvent) -> None:
        """It could not be reported now: it counts with the next ones."""
        act = next(each for each in ACTS if each == event.kind)
        self.add(RefusalKind(event.tenant, event.act.about, event.act.by, act), count=event.act.count)

    def forget(self) -> None:
        """Nobody is to hear of what was refused by now."""
        self._counts.clear()
        self._intervals.clear()

    def _take_one(self, kind: RefusalKind, now_s: float) -> AuditEvent:
        count, rids = self._counts.pop(kind)
        before = self._intervals.get(kind)
        wait_s = min(LONGEST_WAIT_S, 2 * before.wait_s) if before else REPORT_EVERY_S
        self._intervals[kind] = _Interval(now_s, wait_s)
        return AuditEvent(
            kind=kind.act,
            tenant=kind.tenant,
            act=AuditedAct(about=kind.code, by=kind.by, count=count, rids=rids),
            at_ms=time.time_ns() // 1_000_000,
        )

    def _is_due(self, kind: RefusalKind, now_s: float) -> bool:
        last = self._intervals.get(kind)
        return last is None or now_s - last.reported_at_s >= last.wait_s

    def _forget_quiet(self, now_s: float) -> None:
        """What has not come again for twice its interval is reported at once when it does."""
        self._intervals = {
            kind: last
            for kind, last in self._intervals.items()
            if kind in self._counts or now_s - last.reported_at_s < 2 * last.wait_s
        }


COUNTS = RefusalCounts()
"""Those of this process."""


async def report_refusals(counts: RefusalCounts, spool: EventSpool, *, is_last: bool = False) -> None:
    """Report what was refused and is due. Where no audit log is kept there is nobody to report it to; what the disk
    does not take is reported with what is refused next."""
    if not await asyncio.to_thread(lambda: spool.is_open):
        counts.forget()
        return
    for event in counts.take(is_last=is_last):
        try:
            await asyncio.to_thread(spool.report, event)
        except OSError:
            counts.put_back(event)


@asynccontextmanager
async def reporting(counts: RefusalCounts, spool: EventSpool) -> AsyncIterator[None]:
    """Report until left, and then once more."""

    async def keep() -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            await report_refusals(counts, spool)

    async with running(keep()):
        yield
    await report_refusals(counts, spool, is_last=True)
