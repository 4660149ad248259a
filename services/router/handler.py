"""Router: from a screened question and what is known of the link and the load, a plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

from schemas import Artefact, Message, Plan, Question, Routed, Screened, Where, Workload

Weights = Mapping[str, int]


@dataclass(frozen=True)
class Signals:
    """A snapshot of what the plan depends on. `load` is the machine's load average per core."""

    link_up: bool
    rtt_ms: float
    queue_depth: int
    load: float


@dataclass(frozen=True)
class Table:
    """The numbers that the rules read; two routers with the same table make the same plans."""

    k: int = 8
    k_under_load: int = 4
    k_too_late: int = 1
    queue_depth_high: int = 64
    drowning: int = 4
    """Times `queue_depth_high` at which the edge cannot clear its queue in time, and the cloud answers instead."""
    load_high: float = 8.0
    short_budget_ms: int = 1000
    edge_floor_ms: int = 150
    cloud_floor_ms: int = 250
    models: Mapping[str, str] = field(
        default_factory=lambda: {"classify": "intent-head", "extract": "extractor", "assist": "reader"}
    )
    weights: Mapping[str, Weights] = field(
        default_factory=lambda: {
            "direct": {"retriever": 5, "drafter": 75, "policy": 10, "publisher": 10},
            "edge": {"retriever": 30, "drafter": 55, "policy": 8, "publisher": 7},
            "escalating": {"retriever": 10, "drafter": 20, "cloud-verifier": 60, "policy": 5, "publisher": 5},
        }
    )

    @cached_property
    def version(self) -> str:
        """The first 12 hex digits of the sha256 of the table's canonical JSON."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


async def route(screened: Screened, *, signals: Signals, table: Table, clock: Callable[[], float]) -> list[Message]:
    """One `Routed`, always: a question that is too late still gets the cheapest plan, for it must get an answer.

    `clock` gives Unix seconds. The plan is a pure function of the question, the signals, the table and the time left.
    """
    remaining_ms = max(0, screened.deadline_at_ms - int(clock() * 1000))
    version = table.version
    plan = planned(screened.question, remaining_ms, signals, table, version)
    part = Artefact("table", "router", version)
    return [screened.followed_by(Routed, part, question=screened.question, plan=plan)]


def planned(question: Question, remaining_ms: int, signals: Signals, table: Table, version: str) -> Plan:
    """The plan for a question with `remaining_ms` left."""
    pressed = pressure(signals, table)
    may_escalate, because = escalation(question.workload, remaining_ms, signals, table)
    drowning = signals.queue_depth >= table.drowning * table.queue_depth_high
    where: Where = "cloud" if may_escalate and drowning else "edge"
    k, depth = depth_of(question.workload, remaining_ms, pressed, table)
    name = "escalating" if may_escalate else ("edge" if question.workload == "assist" else "direct")
    return Plan(
        where=where,
        may_escalate=may_escalate,
        k=k,
        model=table.models[question.workload],
        shares_ms=shares_of(remaining_ms, table.weights[name]),
        table=version,
        reason=f"{question.workload} with {remaining_ms} ms left at the {where}: {because}; {depth}",
    )


def pressure(signals: Signals, table: Table) -> str:
    """What the site is short of, in words; empty when it has room."""
    if signals.queue_depth >= table.queue_depth_high:
        return f"{signals.queue_depth} messages wait"
    if signals.load >= table.load_high:
        return f"the load is {signals.load:.1f} per core"
    return ""


def escalation(workload: Workload, remaining_ms: int, signals: Signals, table: Table) -> tuple[bool, str]:
    """Whether the cloud may be asked, and why."""
    if workload != "assist":
        return False, f"{workload} is the edge's own work"
    if not signals.link_up:
        return False, "the link is down"
    needed_ms = table.edge_floor_ms + table.cloud_floor_ms + signals.rtt_ms
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


def shares_of(remaining_ms: int, weights: Weights) -> dict[str, float]:
    """The time left, shared out by weight in whole milliseconds; the heaviest takes what rounding left over."""
    total = sum(weights.values())
    shares = {stage: float(remaining_ms * weight // total) for stage, weight in weights.items()}
    heaviest = max(weights, key=lambda stage: weights[stage])
    shares[heaviest] += remaining_ms - sum(shares.values())
    return shares
