"""What a site that is out of date gives up: from how old its artefacts are to degradations, which a receipt shows.

Pure; next: sync/rules/staleness.py, the ages; services/fleet/tenant_parts.py, who asks."""

from __future__ import annotations

from collections.abc import Iterable

from tidegate.schemas import Degradation, DegradationLevel
from tidegate.schemas.artefact import Rung
from tidegate.sync.rules.staleness import RUNGS, Standing

STAGE = "standing"
LEVELS_OF_RUNGS: dict[Rung, DegradationLevel] = {
    "full": "full",
    "local-only": "edge_only",
    "evidence-only": "evidence_only",
    "closed": "abstain",
}
NOTHING_IN_FORCE = Standing(rung="closed", because=("nothing is in force",))
_MOST_NAMED = 3


def degradations_of(standing: Standing) -> tuple[Degradation, ...]:
    """One for the rung where that is not the full one, one that labels what is stale; none where all is current."""
    doubt = "; the machine was off, so it may be older" if standing.is_doubtful else ""
    found = []
    if standing.rung != "full":
        reason = f"{standing.rung}: too old, or unknown: {_list(standing.because)}{doubt}"
        found.append(Degradation(STAGE, LEVELS_OF_RUNGS[standing.rung], 0.0, 0.0, reason))
    if standing.stale:
        reason = f"not known to be current any more: {_list(standing.stale)}{doubt}"
        found.append(Degradation(STAGE, "full", 0.0, 0.0, reason))
    return tuple(found)


def rung_of(degradations: Iterable[Degradation]) -> Rung:
    """The rung that a request was admitted at, by its degradations."""
    levels = {made.level for made in degradations if made.stage == STAGE}
    return max((rung for rung, level in LEVELS_OF_RUNGS.items() if level in levels), key=RUNGS.index, default="full")


def _list(names: tuple[str, ...]) -> str:
    """The first few; targets without what all of them begin with."""
    short = [name.removeprefix("artefacts/") for name in names]
    more = f" and {len(short) - _MOST_NAMED} more" if len(short) > _MOST_NAMED else ""
    return ", ".join(short[:_MOST_NAMED]) + more
