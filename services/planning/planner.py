"""The planner: a plan for a question, as a pure function of question, signals, configuration and time left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tidegate.schemas import (
    Degradation,
    DegradationLevel,
    ForecastBasis,
    Plan,
    Question,
    StageTiming,
    Where,
    Workload,
    Writing,
    replace,
)
from tidegate.services.planning.answer_class import BANDS, band_of, class_at, name_class
from tidegate.services.planning.config import PlannerConfig, Signals, Weights, class_of
from tidegate.services.planning.degradation import degradation_for, worst_overrun
from tidegate.services.planning.draft_ledger import explores
from tidegate.services.planning.learned_times import corrected_ms, correction_of
from tidegate.services.planning.modes import ModeRequest, choose_mode, drafters_of

STAGE = "router"
MINIMUM_MS = 1.0
"""What any plan needs at least; where less is left, the time is up."""


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is made for: a question with `remaining_ms` left, whose, and how its answer may be written."""

    question: Question
    remaining_ms: int
    tenant: str = ""
    rid: str = ""
    can_retract: bool = False
    writing: Writing = "quote"
    spent_ms: float = 0.0
    """What had passed since the question was asked."""
    kept_here: str = ""
    """Why the cloud may not be asked, however good the link; empty where it may."""


def make_plan(request: PlanRequest, signals: Signals, config: PlannerConfig) -> Plan:
    """The plan for a question.

    One with instructions goes to the cloud where that writes: a site's own answer would follow none. Its mode is
    `edge_only` where the cloud may not be asked, and only there; else it is what happens once it is.
    """
    question, remaining_ms = request.question, request.remaining_ms
    may_escalate, link = escalation(question.workload, remaining_ms, signals, config)
    if request.kept_here:
        may_escalate, link = False, request.kept_here
    reads = question.workload == "assist"  # an extraction goes to the cloud only once the edge has failed at it
    is_overloaded = signals.queue_depth >= config.overload_factor * config.queue_depth_high
    is_instructed = bool(question.instructions) and signals.cloud.writes_own_words
    is_clouds = is_overloaded or is_instructed or config.mode == "cloud_stream"
    where: Where = "cloud" if may_escalate and reads and is_clouds else "edge"
    k, depth = depth_of(question.workload, remaining_ms, pressure(signals, config), config)
    model = config.models[question.workload]
    instructed = "; a model is to write under its instructions" if is_instructed else ""
    plan = Plan(
        where=where,
        may_escalate=may_escalate,
        k=k,
        model=model,
        shares_ms=shares_of(remaining_ms, weights_of(question.workload, may_escalate, config)),
        config_version=config.version,
        reason=f"{question.workload} with {remaining_ms} ms left at the {where}: {link}{instructed}; {depth}",
        writing=request.writing,
    )
    basis = basis_of(request, plan, signals)
    own_ms = {} if where == "cloud" else {"edge_only": corrected_ms(config.edge_answer_ms, 0.0, basis.edge_factor)}
    plan = replace(plan, basis=basis, forecast_ms=own_ms)
    return with_mode(plan, basis, request, signals, config) if may_escalate else plan


def with_mode(plan: Plan, basis: ForecastBasis, request: PlanRequest, signals: Signals, config: PlannerConfig) -> Plan:
    """The plan of a question that may go to the cloud, with what happens once it does."""
    reads = request.question.workload == "assist"
    drafters = drafters_of(signals, config) if reads else ()
    asked = ModeRequest(
        class_=class_of(request.tenant, plan.model, drafters),
        drafters=drafters,
        remaining_ms=request.remaining_ms,
        can_retract=request.can_retract and reads,
        where=plan.where,
        answers=class_at("cloud", request.tenant, plan, basis),
        factor=basis.cloud_factor,
        explores=explores(request.rid),
    )
    choice = choose_mode(asked, signals, config)
    forecast_ms = {**plan.forecast_ms, **choice.forecast_ms}
    if not reads:
        return replace(plan, mode="cloud_stream", forecast_ms=forecast_ms)
    reason = f"{plan.reason}; {choice.mode}, {choice.reason}"
    return replace(plan, **asdict(choice) | {"forecast_ms": forecast_ms, "reason": reason})


def basis_of(request: PlanRequest, plan: Plan, signals: Signals) -> ForecastBasis:
    """What the forecasts of a plan are made of, as far as it is known what becomes of it."""
    basis = ForecastBasis(
        class_name=name_class(request.question),
        model=signals.cloud.model,
        spent_ms=round(request.spent_ms, 1),
        rtt_ms=round(signals.rtt_ms, 1),
    )
    edge = correction_of(class_at("edge", request.tenant, plan, basis), signals.corrections)
    asked = class_at("cloud", request.tenant, plan, basis)
    cloud = [correction_of(asked._replace(evidence=band), signals.corrections) for band in (0, *BANDS)]
    return replace(
        basis,
        edge_factor=round(edge.at(request.spent_ms), 4),
        edge_seen=edge.seen,
        cloud_factors=tuple(round(each.at(request.spent_ms), 4) for each in cloud),
        cloud_seen=sum(each.seen for each in cloud),
    )


def with_evidence(plan: Plan, confidence: float) -> Plan:
    """The plan of a question that goes to the cloud, its forecasts for that by how sure the site was of its own answer.

    The same plan and confidence give the same; a plan that recorded no basis stays as it is.
    """
    basis = plan.basis
    if basis is None:
        return plan
    found = replace(basis, evidence=band_of(confidence))
    ratio = found.cloud_factor / basis.cloud_factor
    forecast_ms = {
        mode: ms if mode == "edge_only" else corrected_ms(ms, basis.rtt_ms, ratio)
        for mode, ms in plan.forecast_ms.items()
    }
    return replace(plan, basis=found, forecast_ms=forecast_ms)


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
