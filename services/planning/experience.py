"""What a site's router has learned from the answers that came of its plans: times, and what drafts cost and saved.

Pure: everything is learned from the published answer alone, which records what was forecast and from what; so the same
answers in the same order teach the same again. Next: learned_times.py, draft_ledger.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from tidegate.schemas import Degradation, ForecastOutcome, Mode, Plan, Published, StageTiming, Where
from tidegate.services.planning.answer_class import class_at
from tidegate.services.planning.draft_ledger import DraftLedger, LedgerLine
from tidegate.services.planning.learned_times import LearnedTimes, ObservedTime, TimesLine

FORMAT = 1
BEFORE_THE_PLAN = frozenset({"prefilter", "router"})
PLAIN_CLOUD = frozenset({"no_race", "no_remote_speculation"})
"""Where one of these was given up, the cloud was asked plainly, whatever had been planned."""


class PlannerState(msgspec.Struct, kw_only=True):
    """What is kept between two runs; of a `format` that is not ours nothing is read."""

    format: int = FORMAT
    times: list[TimesLine] = []
    drafts: list[LedgerLine] = []


class Experience:
    """Learns from one answer after the other."""

    def __init__(self, site: str, tenants: Collection[str], state: PlannerState | None = None) -> None:
        """`site` and `tenants` are whose answers count; `state` is what was known before."""
        known = state if state is not None and state.format == FORMAT else PlannerState()
        self._site = site
        self._tenants = frozenset(tenants)
        self.times = LearnedTimes(line for line in known.times if line.answers.tenant in self._tenants)
        self.ledger = DraftLedger(line for line in known.drafts if line.answers.tenant in self._tenants)

    def observe(self, published: Published) -> bool:
        """Learn from an answer; False where it tells nothing: it is not ours, or no plan led to it."""
        plan, outcome = published.receipt.plan, published.receipt.forecast
        is_ours = published.site == self._site and published.tenant in self._tenants
        if not is_ours or plan is None or plan.basis is None:
            return False
        where = published.receipt.route
        if outcome is not None and not is_lost(published.receipt.degradations):
            basis = plan.basis
            seen = ObservedTime(outcome.expected_ms, outcome.took_ms, basis.spent_ms, 0.0, basis.edge_factor)
            if where == "cloud":
                seen = seen._replace(link_ms=basis.rtt_ms, factor=basis.cloud_factor)
            self.times.observe(class_at(where, published.tenant, plan, plan.basis), seen)
        spent = published.receipt.speculation
        if where == "cloud" and spent is not None:
            answers = class_at("cloud", published.tenant, plan, plan.basis)
            if spent.model:
                answers = answers._replace(model=spent.model)
            self.ledger.observe(answers, spent)
        return True

    @property
    def state(self) -> PlannerState:
        """What there is to keep."""
        return PlannerState(times=list(self.times.lines), drafts=list(self.ledger.lines))


def outcome_of(
    plan: Plan | None, route: Where, timings: Sequence[StageTiming], degradations: Sequence[Degradation]
) -> ForecastOutcome | None:
    """What a plan forecast for what then happened, and how long it took; None where it forecast nothing.

    `timings` are those of the fact that is to be published; what came before the plan is known from the plan.
    """
    if plan is None or plan.basis is None:
        return None
    mode = mode_taken(plan, route, degradations)
    expected_ms = plan.forecast_ms.get(mode)
    if expected_ms is None:
        return None
    took_ms = sum(line.waited_ms + line.worked_ms for line in timings if line.stage not in BEFORE_THE_PLAN)
    spent_ms = plan.basis.spent_ms
    return ForecastOutcome(mode, round(spent_ms + expected_ms, 1), round(spent_ms + took_ms, 1))


def mode_taken(plan: Plan, route: Where, degradations: Sequence[Degradation]) -> Mode:
    """Which of the plan's modes an answer came of; for a lost cloud the one that had been chosen."""
    if route == "edge" and not is_lost(degradations):
        return "edge_only"
    if any(made.level in PLAIN_CLOUD for made in degradations):
        return "cloud_stream"
    return plan.mode


def is_lost(degradations: Sequence[Degradation]) -> bool:
    """Whether the cloud was asked and could not be reached: then its time is not known."""
    return any(made.stage == "fast-lane" for made in degradations)
