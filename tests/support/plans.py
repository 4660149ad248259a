"""Signals, configurations and plans for the tests of the planner."""

from __future__ import annotations

from dataclasses import replace

from tidegate.schemas import Plan, Question, Workload
from tidegate.schemas.uplink import CloudState
from tidegate.services.planning.config import PlannerConfig, Signals, class_of
from tidegate.services.planning.planner import PlanRequest, make_plan

TENANT = "kiosk"
CLOUD = CloudState(step_ms=20.0, queue=0, verifies_drafts=True, keeps_sessions=True)
CALM = Signals(link_up=True, rtt_ms=50.0, queue_depth=0, load=0.2, cloud=CLOUD)
TABLE = PlannerConfig()
ECONOMICAL = PlannerConfig(economy=40.0)
BOTH = ("lookup", "lm")


def question(workload: Workload = "assist") -> Question:
    return Question(text="How?", language="en", intent="cards", intent_confidence=0.9, workload=workload)


def plan(signals: Signals, config: PlannerConfig = TABLE, remaining_ms: int = 4000, **more: object) -> Plan:
    """The plan for a question of the tenant; `more` goes to the request."""
    request = PlanRequest(question(), remaining_ms, tenant=TENANT)
    return make_plan(replace(request, **more), signals, config)  # type: ignore[arg-type]


def seen(acceptance: float, signals: Signals = CALM, drafters: tuple[str, ...] = BOTH) -> Signals:
    return replace(signals, acceptance={class_of(TENANT, "reader", drafters): acceptance})


def cloud(signals: Signals = CALM, **fields: object) -> Signals:
    parts = {"step_ms": 20.0, "queue": 0, "verifies_drafts": True, "keeps_sessions": True, **fields}
    return replace(signals, cloud=CloudState(**parts))  # type: ignore[arg-type]
