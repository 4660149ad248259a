"""The planner: a plan for a question, as a pure function of the question, the signals, the table and the time left."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.schemas import Concession, Plan, Question, Spent, Where, Workload
from tidegate.services.planning.degradation import latest, rung_of
from tidegate.services.planning.modes import Choice, chosen, drafters_of
from tidegate.services.planning.table import Signals, Table, Weights, class_of

STAGE = "router"
NEVER_MS = 1.0
"""What any plan needs at least: where less is left, the time is up."""


def planned(
    question: Question,
    remaining_ms: int,
    signals: Signals,
    table: Table,
    version: str,
    *,
    tenant: str = "",
    can_retract: bool = False,
) -> Plan:
    """The plan for a question with `remaining_ms` left.

    Its mode is `edge_only` where the cloud may not be asked, and only there; else it says what is to happen once it is.
    """
    pressed = pressure(signals, table)
    may_escalate, link = escalation(question.workload, remaining_ms, signals, table)
    drowning = signals.queue_depth >= table.drowning * table.queue_depth_high
    where: Where = "cloud" if may_escalate and (drowning or table.mode == "cloud_stream") else "edge"
    k, depth = depth_of(question.workload, remaining_ms, pressed, table)
    model = table.models[question.workload]
    mode = Choice("edge_only", "")
    if may_escalate:
        drafters = drafters_of(signals, table)
        mode = chosen(class_of(tenant, model, drafters), drafters, remaining_ms, can_retract, where, signals, table)
    said = [f"{question.workload} with {remaining_ms} ms left at the {where}: {link}", depth]
    return Plan(
        where=where,
        may_escalate=may_escalate,
        k=k,
        model=model,
        shares_ms=shares_of(remaining_ms, weights_of(question.workload, may_escalate, table)),
        table=version,
        reason="; ".join([*said, f"{mode.mode}, {mode.because}"] if mode.because else said),
        mode=mode.mode,
        drafters=mode.drafters,
        draft_length=mode.draft_length,
        show_from=mode.show_from,
        break_even_rtt_ms=mode.break_even_rtt_ms,
        forecast_ms=dict(mode.forecast_ms),
    )


def conceded(
    question: Question,
    remaining_ms: float,
    signals: Signals,
    table: Table,
    ledger: Sequence[Spent] = (),
    waited_ms: float = 0.0,
) -> tuple[Concession, ...]:
    """What the plan gives up for the deadline or the link, in the ladder's order, and at whose expense.

    `remaining_ms` may be negative. Load is no concession: it costs depth even where there is time.
    """
    if question.workload != "assist":
        return ()
    late = latest({}, ledger, waited_ms)
    depth = rung_of(STAGE, {"full": table.short_budget_ms, "smaller_k": NEVER_MS}, remaining_ms, remaining_ms, late)
    if depth is not None and depth.rung == "abstain":
        return (depth,)
    if not signals.link_up:
        floor_ms = float(table.edge_floor_ms + table.cloud_floor_ms)
        reach: Concession | None = Concession(STAGE, "edge_only", remaining_ms, floor_ms, "the link is down")
    else:
        reach = rung_of(
            STAGE, {"full": cloud_needs_ms(signals, table), "edge_only": NEVER_MS}, remaining_ms, remaining_ms, late
        )
    return tuple(concession for concession in (depth, reach) if concession is not None)


def pressure(signals: Signals, table: Table) -> str:
    """What the site is short of, in words; empty when it has room."""
    if signals.queue_depth >= table.queue_depth_high:
        return f"{signals.queue_depth} messages wait"
    if signals.load >= table.load_high:
        return f"the load is {signals.load:.1f} per core"
    return ""


def cloud_needs_ms(signals: Signals, table: Table) -> float:
    """What must be left for the cloud to be asked: the edge's part, the cloud's, and a slow round trip."""
    return table.edge_floor_ms + table.cloud_floor_ms + signals.careful_rtt_ms


def escalation(workload: Workload, remaining_ms: int, signals: Signals, table: Table) -> tuple[bool, str]:
    """Whether the cloud may be asked, and why."""
    if workload != "assist":
        return False, f"{workload} is the edge's own work"
    if not signals.link_up:
        return False, "the link is down"
    needed_ms = cloud_needs_ms(signals, table)
    if remaining_ms < needed_ms:
        return False, f"the cloud would need {needed_ms:.0f} ms"
    return True, f"the cloud may be asked, {signals.rtt_ms:.0f} ms away"


def depth_of(workload: Workload, remaining_ms: int, pressed: str, table: Table) -> tuple[int, str]:
    """How many passages to retrieve, and why; less time never gives more."""
    if workload != "assist":
        return 0, "no passages are needed"
    shallow = min(table.k, table.k_under_load)
    if remaining_ms <= 0:
        k = min(shallow, table.k_too_late)
        return k, f"{k} passage(s), for the deadline has passed"
    if remaining_ms < table.short_budget_ms:
        return shallow, f"{shallow} passages, for time is short"
    if pressed:
        return shallow, f"{shallow} passages, for {pressed}"
    return table.k, f"{table.k} passages"


def weights_of(workload: Workload, may_escalate: bool, table: Table) -> Weights:
    """How the time is shared out among the stages that are still to come."""
    if may_escalate:
        return table.weights["escalating"]
    return table.weights["edge" if workload == "assist" else "direct"]


def shares_of(remaining_ms: int, weights: Weights) -> dict[str, float]:
    """The time left, shared out by weight in whole milliseconds; the heaviest takes what rounding left over."""
    total = sum(weights.values())
    shares = {stage: float(remaining_ms * weight // total) for stage, weight in weights.items()}
    heaviest = max(weights, key=lambda stage: weights[stage])
    shares[heaviest] += remaining_ms - sum(shares.values())
    return shares
