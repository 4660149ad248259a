"""Compares replicas and indexes, repairs them where it is asked, and keeps what was found last.

Promises an outcome for each comparison, one that could not be made included. Next: sync/repair.py; status.py."""

from __future__ import annotations

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import replace
from tidegate.schemas.replica import RepairOutcome
from tidegate.sync.rules.drift import RepairReport
from tidegate.sync.shells import metrics
from tidegate.sync.shells.domain import IndexLegs, ReplicaDomain
from tidegate.sync.shells.faults import describe

SOURCE = "compare"


class Checks:
    """The comparisons of one domain; `legs` has those of its indexes."""

    def __init__(self, domain: ReplicaDomain, legs: IndexLegs | None) -> None:
        self._domain = domain
        self._legs = legs
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
        return outcome


def _by_cause(report: RepairReport) -> dict[str, tuple[str, ...]]:
    return {str(cause): ids for cause, ids in report.documents.items()}
