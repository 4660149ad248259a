"""Compares replicas and indexes, repairs them where it is asked, and keeps what was found last.

Promises an outcome for each comparison, one that could not be made included. Next: sync/repair.py; status.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tidegate.schemas.audit import AuditedAct, AuditEvent
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import replace
from tidegate.schemas.replica import RepairOutcome
from tidegate.sync.rules.drift import RepairReport
from tidegate.sync.shells import metrics
from tidegate.sync.shells.domain import IndexLegs, ReplicaDomain
from tidegate.sync.shells.faults import describe

SOURCE = "compare"


class Checks:
    """The comparisons of one domain; `legs` has those of its indexes, `report` keeps for auditors what they mend."""

    def __init__(
        self, domain: ReplicaDomain, legs: IndexLegs | None, report: Callable[[AuditEvent], None] = lambda _: None
    ) -> None:
        self._domain = domain
        self._legs = legs
        self._report = report
        self.last: dict[tuple[str, str], RepairOutcome] = {}
        """The last outcome of each tenant and collection in which something differed, or could not be compared."""

    async def run(self, tenant: str, collection: str, *, is_repair: bool, is_read_back: bool = True) -> RepairOutcome:
        """Compare one collection, and repair what differs where it is asked; `fault` says what failed."""
        about = f"{tenant}/{collection}"
        outcome = RepairOutcome(tenant=tenant, collection=collection, at_ms=self._domain.now_ms())
        try:
            report = await self._domain.check(tenant, collection, is_repair=is_repair, is_read_back=is_read_back)
            outcome = replace(outcome, documents=_by_cause(report), bytes_on_wire=report.bytes_on_wire)
            if self._legs is not None:
                index = dict(await self._legs.compare(tenant, collection, is_repair))
                outcome = replace(outcome, index={leg: ids for leg, ids in index.items() if ids})
        except (TidegateError, OSError) as error:
            self._domain.faults.note(about, error, SOURCE)
            outcome = replace(outcome, fault=describe(error))
        else:
            self._domain.faults.clear(about, SOURCE)
        if outcome.documents or outcome.index or outcome.fault:
            self.last[tenant, collection] = outcome
        if is_repair:
            metrics.count_repairs(outcome)
            if outcome.documents or outcome.index:
                await asyncio.to_thread(self._report, repair_event(outcome))
        return outcome


def repair_event(outcome: RepairOutcome) -> AuditEvent:
    """What the audit log has of a repair: how many documents, and how many of the index, by cause."""
    causes = {**outcome.documents, **{f"index {leg}": ids for leg, ids in outcome.index.items()}}
    counted = ", ".join(f"{cause} {len(ids)}" for cause, ids in sorted(causes.items()))
    act = AuditedAct(about=outcome.collection, reason=counted[:500])
    return AuditEvent(kind="repaired", tenant=outcome.tenant, act=act, at_ms=outcome.at_ms)


def _by_cause(report: RepairReport) -> dict[str, tuple[str, ...]]:
    return {str(cause): ids for cause, ids in report.documents.items()}
