"""The planner's choice of a mode: as a table, against the simulator, and by rules that hold everywhere."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import pytest

from loadtests.link import simulator
from tests.support.plans import BOTH, CALM, ECONOMICAL, TABLE, TENANT, cloud, plan, question, seen
from tidegate.schemas import Mode
from tidegate.schemas.uplink import CloudState
from tidegate.services.planning.config import PlannerConfig, Signals, class_of
from tidegate.services.planning.modes import conditions_of
from tidegate.services.planning.planner import PlanRequest, make_plan
from tidegate.services.planning.speculation_cost import Conditions

FAR = replace(CALM, rtt_ms=200.0)
NO_DRAFTS = cloud(verifies_drafts=False)


@pytest.mark.parametrize(
    ("signals", "config", "remaining_ms", "can_retract", "mode", "draft_length", "says"),
    [
        (CALM, TABLE, 4000, False, "cloud_with_shipped_draft", 7, "the client cannot take text back"),
        (CALM, TABLE, 4000, True, "race", 7, "the draft is shown after 100 ms, not 392"),
        (seen(0.8), TABLE, 4000, True, "race", 14, "14 tokens a pass at acceptance 0.80"),
        (seen(0.69), TABLE, 4000, True, "cloud_with_shipped_draft", 9, "drafts shipped once"),
        (FAR, TABLE, 4000, True, "race", 7, "not 542"),
        (NO_DRAFTS, TABLE, 4000, False, "cloud_stream", 0, "does not say that it takes drafts"),
        (NO_DRAFTS, TABLE, 4000, True, "race", 0, "no draft is shipped"),
        (replace(CALM, cloud=CloudState()), TABLE, 4000, False, "cloud_stream", 0, "no speculation"),
        (cloud(queue=63), TABLE, 9999, False, "cloud_with_shipped_draft", 3, "3 tokens a pass"),
        (cloud(queue=200), TABLE, 60_000, False, "cloud_stream", 0, "200 requests fill the cloud's passes"),
        (cloud(step_ms=4.0), TABLE, 4000, False, "cloud_with_shipped_draft", 7, "drafts shipped"),
        (cloud(step_ms=0.05), TABLE, 4000, True, "cloud_stream", 0, "no drafter is fast enough"),
        (seen(0.01), TABLE, 4000, False, "cloud_stream", 0, "would not save"),
        (CALM, PlannerConfig(uplink_ms_per_byte=5.0), 4000, False, "cloud_stream", 0, "would not save"),
        (CALM, PlannerConfig(answer_tokens=1), 4000, False, "cloud_stream", 0, "would not save"),
        (replace(CALM, queue_depth=256), TABLE, 4000, True, "cloud_stream", 0, "drafts nothing"),
        (replace(CALM, link_up=False), TABLE, 4000, True, "edge_only", 0, "the link is down"),
        (CALM, TABLE, 400, True, "edge_only", 0, "the cloud would need 450 ms"),
        (replace(CALM, rtt_var_ms=20.0), TABLE, 500, True, "edge_only", 0, "the cloud would need 530 ms"),
        (seen(0.8), ECONOMICAL, 9000, False, "remote_speculation", 12, "12 tokens a round, saving 49 steps"),
        (seen(0.8), ECONOMICAL, 1200, False, "cloud_with_shipped_draft", 12, "drafts shipped"),
        (seen(0.8, replace(CALM, rtt_var_ms=100.0)), ECONOMICAL, 4000, False, "cloud_with_shipped_draft", 12, ""),
        (seen(0.8), PlannerConfig(economy=40.0, worth_ms=9999.0), 9000, False, "cloud_stream", 0, "would not save"),
        (seen(0.8), PlannerConfig(economy=0.5), 9000, False, "cloud_with_shipped_draft", 5, "drafts shipped"),
    ],
)
def test_a_mode_follows_from_link_cloud_class_client_and_time(
    signals: Signals,
    config: PlannerConfig,
    remaining_ms: int,
    can_retract: bool,
    mode: Mode,
    draft_length: int,
    says: str,
) -> None:
    made = plan(signals, config, remaining_ms, can_retract=can_retract)
    assert (made.mode, made.draft_length) == (mode, draft_length)
    assert says in made.reason


def test_the_drafters_are_those_that_are_faster_than_the_cloud_in_the_configured_order() -> None:
    assert plan(CALM).drafters == ("lookup", "lm")
    assert plan(cloud(step_ms=5.0)).drafters == ("lookup",)
    assert plan(CALM, PlannerConfig(drafters={"lm": 3.0, "lookup": 0.1})).drafters == ("lm", "lookup")
    assert plan(NO_DRAFTS).drafters == ()
    assert (
        PlannerConfig(drafters={"lm": 3.0, "lookup": 0.1}).version
        != PlannerConfig(drafters={"lookup": 0.1, "lm": 3.0}).version
    )


def test_what_another_tenant_or_other_drafters_were_seen_to_do_counts_for_nothing() -> None:
    other = {class_of("other", "reader", BOTH): 0.01, class_of(TENANT, "reader", ("lookup",)): 0.01}
    assert plan(replace(CALM, acceptance=other)) == plan(CALM)
    assert plan(seen(0.01)) != plan(CALM)


def test_the_farther_the_cloud_the_less_sure_the_edge_must_be_to_show_its_draft() -> None:
    needed = [plan(replace(CALM, rtt_ms=rtt_ms), can_retract=True).show_from for rtt_ms in (10.0, 50.0, 200.0, 1000.0)]
    assert needed == sorted(needed, reverse=True)
    assert needed[1] == pytest.approx(100 / (100 + 392 - 100), abs=0.001)
    assert plan(CALM, PlannerConfig(retraction_ms=0.0), can_retract=True).show_from == 0.0
    assert plan(CALM).show_from == 1.0


def test_a_plan_says_what_it_weighed_and_what_a_loop_would_need() -> None:
    made = plan(seen(0.8), ECONOMICAL, can_retract=True)
    assert set(made.forecast_ms) == {
        "edge_only", "cloud_stream", "cloud_with_shipped_draft", "race", "remote_speculation",
    }  # fmt: skip
    assert made.forecast_ms["cloud_stream"] == TABLE.edge_answer_ms + 50 + 2 + 40 + 63 * 20
    assert made.break_even_rtt_ms == 40.0
    assert "remote_speculation" not in plan(seen(0.8)).forecast_ms
    assert plan(replace(CALM, link_up=False)).forecast_ms == {"edge_only": TABLE.edge_answer_ms}
    assert make_plan(PlanRequest(question("classify"), 4000), CALM, TABLE).mode == "edge_only"


def test_an_extraction_is_the_edges_until_it_fails_at_it() -> None:
    for signals in (CALM, replace(CALM, queue_depth=10_000)):
        made = make_plan(PlanRequest(question("extract"), 4000), signals, replace(TABLE, mode="cloud_stream"))
        assert (made.where, made.may_escalate, made.mode, made.k) == ("edge", True, "cloud_stream", 0)
    assert not make_plan(PlanRequest(question("extract"), 4000), replace(CALM, link_up=False), TABLE).may_escalate


# --- against the simulator

ACCEPTANCES, RTTS, STEPS, DRAFTS = (0.5, 0.6, 0.7, 0.8, 0.9), (10.0, 50.0, 100.0, 200.0), (8.0, 20.0, 40.0), (2.0, 5.0)
TOKENS = 64
TAPES = {acceptance: simulator.tapes_of(acceptance, TOKENS, 16) for acceptance in ACCEPTANCES}
LENGTHS = (2, 5, 9, 14)
WITHIN = {0.0: 1.02, 2.0: 1.08, 8.0: 1.08}
"""By economy, how much dearer than the best the planned mode may turn out to be."""


@functools.cache
def simulated(acceptance: float, mode: Mode, conditions: Conditions, length: int) -> simulator.SimulatedRun:
    protocol: dict[Mode, simulator.Protocol] = {
        "cloud_stream": lambda tape, at, _: simulator.cloud(tape, at),
        "cloud_with_shipped_draft": simulator.shipped_draft,
        "race": simulator.race,
        "remote_speculation": simulator.stop_and_wait,
    }
    return simulator.mean(protocol[mode], TAPES[acceptance], conditions, length)


def price(simulated: simulator.SimulatedRun, conditions: Conditions, economy: float) -> float:
    """The planner's objective, of what was played."""
    return simulated.shown_ms + simulated.final_ms + economy * simulated.cloud_steps * conditions.step_ms


@pytest.mark.parametrize("acceptance", ACCEPTANCES)
@pytest.mark.parametrize("step_ms", STEPS)
@pytest.mark.parametrize("can_retract", [False, True])
@pytest.mark.parametrize("economy", WITHIN)
def test_no_mode_that_is_open_does_better_in_the_simulator_than_the_planned_one(
    acceptance: float, step_ms: float, can_retract: bool, economy: float
) -> None:
    for rtt_ms, draft_ms in itertools.product(RTTS, DRAFTS):
        config = PlannerConfig(
            economy=economy, drafters={"lm": draft_ms}, answer_tokens=TOKENS, sentence_tokens=1, race_from=0.0
        )
        signals = seen(acceptance, cloud(replace(CALM, rtt_ms=rtt_ms), step_ms=step_ms), ("lm",))
        made = plan(signals, config, 600_000, can_retract=can_retract)
        conditions = conditions_of(acceptance, ("lm",), signals, config)
        stream = simulated(acceptance, "cloud_stream", conditions, 0)
        mine = simulated(acceptance, made.mode, conditions, made.draft_length)
        rivals: list[Mode] = ["cloud_with_shipped_draft", "race"] if can_retract else ["cloud_with_shipped_draft"]
        games = [stream, *(simulated(acceptance, mode, conditions, length) for mode in rivals for length in LENGTHS)]
        if economy:
            games += [simulated(acceptance, "remote_speculation", conditions, length) for length in LENGTHS]
        best = min(price(simulated, conditions, economy) for simulated in games)
        assert price(mine, conditions, economy) <= WITHIN[economy] * best, (rtt_ms, draft_ms, made.reason)
        if not economy:
            assert mine.final_ms <= stream.final_ms + 1.0
            assert made.mode != "remote_speculation"


def test_the_grid_has_every_outcome_in_it() -> None:
    modes = {
        plan(
            seen(acceptance, cloud(replace(CALM, rtt_ms=rtt_ms), step_ms=step_ms), ("lm",)),
            PlannerConfig(economy=economy, drafters={"lm": draft_ms}, race_from=0.75),
            60_000,
            can_retract=True,
        ).mode
        for acceptance, rtt_ms, step_ms, economy in itertools.product((0.01, 0.6, 0.8), RTTS, STEPS, (0.0, 40.0))
        for draft_ms in (5.0, 10.0)
    }
    assert modes == {"cloud_stream", "cloud_with_shipped_draft", "race", "remote_speculation"}
