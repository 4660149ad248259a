"""What a site's planner has learned, as `tidegate status` tells it: drafts and forecasts by model and class.

Read from the file that the router keeps. Next: services/planning/experience.py, which learns it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from tidegate.schemas import TidegateError, Where
from tidegate.services.fleet.endpoints import decode_state
from tidegate.services.planning.draft_ledger import LedgerLine
from tidegate.services.planning.experience import PlannerState
from tidegate.services.planning.learned_times import TimesLine

DraftVerdict = Literal["pays", "does not pay", "not known"]


class DraftStatus(msgspec.Struct, kw_only=True, rename={"class_name": "class"}):
    """The ledger of one class: answers of the hub, drafts shipped (of which to where no model was called), tokens and
    steps; `bytes_per_accepted` is None where no token was accepted. `verdict` decides whether more are shipped.
    """

    tenant: str
    model: str
    writing: str
    class_name: str
    answers: int
    shipped: int
    uncalled: int
    drafted: int
    accepted: int
    wasted: int
    steps_saved: int
    bytes_per_accepted: float | None
    verdict: DraftVerdict


class ForecastStatus(msgspec.Struct, kw_only=True, rename={"class_name": "class"}):
    """The forecasts for one class: how many were held against what happened, how many were within a factor of two."""

    where: Where
    tenant: str
    model: str
    writing: str
    class_name: str
    judged: int
    within_two: int


class PlannerStatus(msgspec.Struct, kw_only=True):
    """All classes of a site, as far as its planner remembers them."""

    drafts: list[DraftStatus] = []
    forecasts: list[ForecastStatus] = []


def read_planner(path: Path) -> PlannerStatus:
    """What the router of a site has kept; nothing where it has kept nothing, or cannot be read: it begins anew then."""
    try:
        state = decode_state(path, PlannerState)
    except (TidegateError, OSError):
        return PlannerStatus()
    drafts = [draft_status(line) for line in state.drafts if line.answers.name]
    return PlannerStatus(drafts=sorted(drafts, key=lambda each: -each.answers), forecasts=forecast_status(state.times))


def draft_status(line: LedgerLine) -> DraftStatus:
    """One account, as it is shown."""
    return DraftStatus(
        tenant=line.answers.tenant,
        model=line.answers.model,
        writing=line.answers.writing,
        class_name=line.answers.name,
        answers=line.count,
        shipped=line.shipped,
        uncalled=line.uncalled,
        drafted=line.drafted,
        accepted=line.accepted,
        wasted=line.wasted,
        steps_saved=line.saved,
        bytes_per_accepted=None if line.bytes_per_accepted is None else round(line.bytes_per_accepted, 1),
        verdict="not known" if line.pays is None else "pays" if line.pays else "does not pay",
    )


def forecast_status(lines: Iterable[TimesLine]) -> list[ForecastStatus]:
    """The forecasts by class, whatever the site had found; most judged first."""
    judged, good = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for line in lines:
        if line.answers.name:
            judged[line.answers[:5]] += line.judged
            good[line.answers[:5]] += line.good
    return [
        ForecastStatus(
            where=where,  # type: ignore[arg-type]
            tenant=tenant,
            model=model,
            writing=writing,
            class_name=name,
            judged=count,
            within_two=good[where, tenant, model, writing, name],
        )
        for (where, tenant, model, writing, name), count in judged.most_common()
    ]
