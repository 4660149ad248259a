"""What a router learns outlives it, and is there to be seen: the file, the metrics, and the stage that uses both."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from tests.support.broker_harness import until
from tests.support.escalation_site import prepared
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import CloudState, Plan, Published, Question, Receipt, Routed, Screened, Speculation, encode
from tidegate.schemas.plan import ForecastBasis
from tidegate.schemas.receipt import ForecastOutcome
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.planning.answer_class import AnswerClass
from tidegate.services.planning.draft_ledger import LEAST_SEEN
from tidegate.services.planning.experience import Experience, PlannerState
from tidegate.services.settings import Settings
from tidegate.services.stages.router import METRICS
from tidegate.services.stages.router import open as open_router
from tidegate.services.stages.router.planner_metrics import PlannerMetrics
from tidegate.services.stages.router.planner_state import kept_in, load_state, save_state

pytestmark = pytest.mark.anyio

MODEL = "smollm2@1"
BASIS = ForecastBasis(class_name="cards", model=MODEL, spent_ms=20.0, rtt_ms=30.0)
IDLE = Speculation(steps=40, tokens=40, drafted=20, draft_bytes=300, model=MODEL)
CARDS = AnswerClass("cloud", "kiosk", MODEL, "grounded", "cards")
PLAN = Plan(
    where="edge",
    may_escalate=True,
    k=8,
    model="reader",
    shares_ms={},
    config_version="t",
    reason="r",
    mode="cloud_with_shipped_draft",
    drafters=("lookup",),
    draft_length=7,
    forecast_ms={"cloud_with_shipped_draft": 1030.0},
    basis=BASIS,
    writing="grounded",
)


def published(rid: str, took_ms: float = 2050.0) -> Published:
    outcome = ForecastOutcome("cloud_with_shipped_draft", 1050.0, took_ms)
    receipt = Receipt(
        site="site1",
        route="cloud",
        plan=PLAN,
        lineage=(),
        citations=(),
        decisions=(),
        speculation=IDLE,
        forecast=outcome,
    )
    return Published(
        rid=rid,
        tenant="kiosk",
        site="site1",
        asked_at_ms=1,
        deadline_at_ms=2,
        outcome="answered",
        text="so",
        receipt=receipt,
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return msgspec.structs.replace(prepared(), state_dir=str(tmp_path))


def question(rid: str) -> Screened:
    asked = Question(text="How?", language="en", intent="cards", intent_confidence=0.9)
    return Screened(
        rid=rid, tenant="kiosk", site="site1", asked_at_ms=0, deadline_at_ms=1 << 50, question=asked, can_retract=False
    )


async def hub(_: bytes) -> bytes:
    return encode(CloudState(step_ms=20.0, verifies_drafts=True, model=MODEL, writes=("quote", "grounded", "free")))


async def test_what_a_router_learns_from_answers_changes_its_next_plans_and_outlives_it(settings: Settings) -> None:
    bus = MemoryBus("site1")
    await bus.respond("cloud.site1.ping", hub)
    quick = msgspec.structs.replace(settings, router=msgspec.structs.replace(settings.router, ping_every_s=0.05))
    path = StatePaths(settings).planner
    async with open_router(quick, bus) as handler:
        [first] = await handler(question("r0"))
        assert isinstance(first, Routed)
        assert first.plan.basis is not None
        assert (first.plan.mode, first.plan.basis.cloud_seen) == ("cloud_with_shipped_draft", 0)
        for number in range(LEAST_SEEN):
            await bus.publish(published(f"a{number}"), id=str(number), headers={})

        async def has_learned() -> bool:
            [made] = await handler(question("r0"))
            assert isinstance(made, Routed)
            return made.plan.basis is not None and made.plan.basis.cloud_seen == LEAST_SEEN

        await until(has_learned)
        [second] = await handler(question("r0"))
    async with open_router(quick, bus) as handler:
        [third] = await handler(question("r0"))
    assert isinstance(second, Routed)
    assert isinstance(third, Routed)
    assert second.plan.mode == "cloud_stream", "a draft that saves nothing is shipped no more"
    assert "by the ledger" in second.plan.reason
    assert second.plan.forecast_ms["cloud_stream"] == pytest.approx(2 * first.plan.forecast_ms["cloud_stream"], rel=0.2)
    assert (third.plan.mode, third.plan.forecast_ms["edge_only"]) == (
        second.plan.mode,
        second.plan.forecast_ms["edge_only"],
    )
    assert third.plan.basis is not None
    assert third.plan.basis.cloud_factors == second.plan.basis.cloud_factors  # type: ignore[union-attr]
    kept = load_state(path)
    assert kept is not None
    [line] = [each for each in kept.drafts if each.answers.name]
    assert (line.answers, line.shipped, line.pays) == (CARDS, LEAST_SEEN, False)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff\xfe", b"[1, 2]", b'{"format": 1, "times": [7]}', b'{"format": 99}']
)
async def test_a_file_that_cannot_be_read_costs_what_was_learned_and_nothing_else(
    settings: Settings, damage: bytes
) -> None:
    path = StatePaths(settings).planner
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(damage)
    async with open_router(settings, MemoryBus("site1")) as handler:
        [made] = await handler(question("r1"))
    assert isinstance(made, Routed)


async def test_a_state_is_kept_while_things_change_and_at_the_end_and_not_when_nothing_does(tmp_path: Path) -> None:
    path = tmp_path / "planner.json"
    changes: list[PlannerState] = []
    async with kept_in(path, lambda: changes.pop() if changes else None, every_s=0.01):
        await asyncio.sleep(0.05)
        assert not path.exists()
        changes.append(PlannerState(format=7))
        async with asyncio.timeout(10):
            while not path.exists():  # noqa: ASYNC110 - a file does not call back
                await asyncio.sleep(0.01)
        changes.append(PlannerState(format=8))
    assert load_state(path) == PlannerState(format=8)
    assert os.listdir(tmp_path) == ["planner.json"]


def test_where_there_is_no_room_the_router_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    save_state(tmp_path / "file" / "planner.json", PlannerState())
    assert load_state(tmp_path / "file" / "planner.json") is None


def test_the_ledger_and_the_forecasts_are_metrics_by_model_and_class() -> None:
    registry = CollectorRegistry()
    metrics = PlannerMetrics(registry)
    experience = Experience("site1", ("kiosk",))
    for number, took_ms in enumerate((2050.0, 3000.0, 1100.0)):
        experience.observe(published(f"a{number}", took_ms))
    of_class = {"tenant": "kiosk", "model": MODEL, "writing": "grounded", "class": "cards"}
    with metrics.showing(experience):
        expected = {
            "answers_total": 3,
            "drafts_shipped_total": 3,
            "drafts_uncalled_total": 0,
            "steps_saved_total": 0,
            "draft_bytes_total": 900,
        }
        for name, value in expected.items():
            assert registry.get_sample_value(f"tidegate_planner_{name}", of_class) == value, name
        for result, value in (("accepted", 0), ("wasted", 60)):
            labels = {**of_class, "result": result}
            assert registry.get_sample_value("tidegate_planner_draft_tokens_total", labels) == value
        for within, value in (("yes", 2), ("no", 1)):
            labels = {"where": "cloud", **of_class, "within": within}
            assert registry.get_sample_value("tidegate_planner_forecasts_total", labels) == value
        labels = {"where": "cloud", **of_class, "evidence": "0"}
        factor = registry.get_sample_value("tidegate_planner_forecast_factor", labels)
        assert factor == pytest.approx(experience.times.correction(CARDS).factor)
        assert generate_latest(registry).count(b"# TYPE tidegate_planner_answers_total") == 1
    assert registry.get_sample_value("tidegate_planner_answers_total", of_class) is None
    assert METRICS is not metrics
