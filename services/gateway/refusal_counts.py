"""Counts what the gateway refuses, and reports it to the audit log: one event a second for each tenant and code.

Promises that a flood of refusals costs a counter each, and that what was refused is reported before the gateway ends.
Next: refusals.py, which counts; services/fleet/audit_spool.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from tidegate.brokers.process.background import running
from tidegate.schemas.audit import AuditedAct, AuditEvent
from tidegate.services.fleet.audit_spool import EventSpool

REPORT_EVERY_S = 1.0
MOST_RIDS = 8
MOST_KINDS = 256
"""Of so many tenants and codes at once; the codes are a fixed table, and a tenant is one that the site serves."""


class RefusalKind(NamedTuple):
    """What refusals have in common that are reported as one; without a tenant where it is not known, or none is."""

    tenant: str
    code: str
    transport: str


class RefusalCounts:
    """The refusals of one process since they were last taken. For one thread, that of the gateway's loop."""

    def __init__(self) -> None:
        self._counts: dict[RefusalKind, tuple[int, tuple[str, ...]]] = {}

    def add(self, kind: RefusalKind, rid: str = "", count: int = 1) -> None:
        """Count a refusal of this kind."""
        if kind not in self._counts and len(self._counts) >= MOST_KINDS:
            kind = RefusalKind("", kind.code, kind.transport)
        before, rids = self._counts.get(kind, (0, ()))
        if rid and kind.tenant and len(rids) < MOST_RIDS:  # an id is its tenant's: others' auditors do not see it
            rids = (*rids, rid)
        self._counts[kind] = (before + count, rids)

    def take(self) -> list[AuditEvent]:
        """What was refused since the last time."""
        counts, self._counts = self._counts, {}
        now_ms = time.time_ns() // 1_000_000
        return [
            AuditEvent(
                kind="refused",
                tenant=kind.tenant,
                act=AuditedAct(about=kind.code, by=kind.transport, count=count, rids=rids),
                at_ms=now_ms,
            )
            for kind, (count, rids) in counts.items()
        ]

    def put_back(self, event: AuditEvent) -> None:
        """It could not be reported now: it counts with the next ones."""
        self.add(RefusalKind(event.tenant, event.act.about, event.act.by), count=event.act.count)


COUNTS = RefusalCounts()


async def report_refusals(counts: RefusalCounts, spool: EventSpool) -> None:
    """Report what was refused. Where no audit log is kept there is nobody to report it to; what the disk does not take
    is reported with what is refused next."""
    events = counts.take()
    if not await asyncio.to_thread(lambda: spool.is_open):
        return
    for event in events:
        try:
            await asyncio.to_thread(spool.report, event)
        except OSError:
            counts.put_back(event)


@asynccontextmanager
async def reporting(counts: RefusalCounts, spool: EventSpool) -> AsyncIterator[None]:
    """Report every second until left, and then once more."""

    async def keep() -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            await report_refusals(counts, spool)

    async with running(keep()):
        yield
    await report_refusals(counts, spool)
