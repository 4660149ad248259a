"""The planner: a plan for a question, as a pure function of question, signals, configuration and time left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from tidegate.schemas import Degradation, DegradationLevel, Plan, Question, StageTiming, Where, Workload, replace
from tidegate.services.planning.config import PlannerConfig, Signals, Weights, class_of
from tidegate.services.planning.degradation import degradation_for, worst_overrun
from tidegate.services.planning.modes import ModeRequest, choose_mode, drafters_of

STAGE = "router"
MINIMUM_MS = 1.0
"""What any plan needs at least; where less is left, the time is up."""


def make_plan(
    question: Question,
    remaining_ms: int,
    signals: Signals,
    config: PlannerConfig,
    *,
    tenant: str = "",
    can_retract: bool = False,
) -> Plan:
    """The plan for a question with `remaining_ms` left.

    Its mode is `edge_only` where the cloud may not be asked, and only there; else it is what happens once it is.
    """
    may_escalate, link = escalation(question.workload, remaining_ms, signals, config)
    reads = question.workload == "assist"  # an extraction goes to the cloud only once the edge has failed at it
    is_overloaded = signals.queue_depth >= config.overload_factor * config.queue_depth_high
    where: Where = "cloud" if may_escalate and reads and (is_overloaded or config.mode == "cloud_stream") else "edge"
    k, depth = depth_of(question.workload, remaining_ms, pressure(signals, config), config)
    model = config.models[question.workload]
    plan = Plan(
        where=where,
        may_escalate=may_escalate,
        k=k,
        model=model,
        shares_ms=shares_of(remaining_ms, weights_of(question.workload, may_escalate, config)),
        config_version=config.version,
        reason=f"{question.workload} with {remaining_ms} ms left at the {where}: {link}; {depth}",
    )
    if not may_escalate:
        return plan
    if not reads:
        return replace(plan, mode="cloud_stream")
    drafters = drafters_of(signals, config)
    request = ModeRequest(class_of(tenant, model, drafters), drafters, remaining_ms, can_retract, where)
    choice = choose_mode(request, signals, config)
    return replace(plan, **asdict(choice) | {"reason": f"{plan.reason}; {choice.mode}, {choice.reason}"})


def plan_degradations(
    question: Question,
    remaining_ms: float,
    signals: Signals,
    config: PlannerConfig,
    timings: Sequence[StageTiming] = (),
    waited_ms: float = 0.0,
) -> tuple[Degradation, ...]:
    """What the plan gives up for the deadline or the link, from the highest level down, and because of which overrun.

    `remaining_ms` may be negative. Load is no degradation: it costs depth even where there is time.
    """
    if question.workload != "assist":
        return ()
    overrun = worst_overrun({}, timings, waited_ms)
    depth = degradation_for(
        STAGE, {"full": config.short_budget_ms, "fewer_passages": MINIMUM_MS}, remaining_ms, remaining_ms, overrun
    )
    if depth is not None and depth.level == "abstain":
        return (depth,)
    if signals.link_up:
        costs_ms: dict[DegradationLevel, float] = {"full": cloud_needs_ms(signals, config), "edge_only": MINIMUM_MS}
        reach = degradation_for(STAGE, costs_ms, remaining_ms, remaining_ms, overrun)
    else:
        floor_ms = float(config.edge_floor_ms + config.cloud_floor_ms)
        reach = Degradation(STAGE, "edge_only", remaining_ms, floor_ms, "the link is down")
    return tuple(degradation for degradation in (depth, reach) if degradation is not None)


def pressure(signals: Signals, config: PlannerConfig) -> str:
    """What the site is short of, in words; empty when it has room."""
    if signals.queue_depth >= config.queue_depth_high:
        return f"{signals.queue_depth} messages wait"
    if signals.load >= config.load_high:
        return f"the load is {signals.load:.1f} per core"
    return ""


def cloud_needs_ms(signals: Signals, config: PlannerConfig) -> float:
    """What must be left for the cloud to be asked: the edge's part, the cloud's, and a slow round trip."""
    return config.edge_floor_ms + config.cloud_floor_ms + signals.careful_rtt_ms


def escalation(workload: Workload, remaining_ms: int, signals: Signals, config: PlannerConfig) -> tuple[bool, str]:
    """Whether the cloud may be asked, and why."""
    if workload == "classify":
        return False, "classify is the edge's own work"
    if not signals.link_up:
        return False, "the link is down"
    needed_ms = cloud_needs_ms(signals, config)
    if remaining_ms < needed_ms:
        return False, f"the cloud would need {needed_ms:.0f} ms"
    return True, f"the cloud may be asked, {signals.rtt_ms:.0f} ms away"


def depth_of(workload: Workload, remaining_ms: int, pressed: str, config: PlannerConfig) -> tuple[int, str]:
    """How many passages to retrieve, and why; less time never gives more."""
    if workload != "assist":
        return 0, "no passages are needed"
    shallow = min(config.k, config.k_under_load)
    if remaining_ms <= 0:
        k = min(shallow, config.k_too_late)
        return k, f"{k} passage(s), for the deadline has passed"
    if remaining_ms < config.short_budget_ms:
        return shallow, f"{shallow} passages, for time is short"
    if pressed:
        return shallow, f"{shallow} passages, for {pressed}"
    return config.k, f"{config.k} passages"


def weights_of(workload: Workload, may_escalate: bool, config: PlannerConfig) -> Weights:
    if may_escalate:
        return config.weights["escalating"]
    return config.weights["edge" if workload == "assist" else "direct"]


def shares_of(remaining_ms: int, weights: Weights) -> dict[str, float]:
    """The time left, shared out by weight in whole milliseconds; the heaviest takes what rounding left over."""
    total = sum(weights.values())
    shares = {stage: float(remaining_ms * weight // total) for stage, weight in weights.items()}
    heaviest = max(weights, key=lambda stage: weights[stage])
    shares[heaviest] += remaining_ms - sum(shares.values())
    return shares
