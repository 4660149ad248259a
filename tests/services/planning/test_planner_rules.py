"""What the planner keeps to everywhere, whatever the signals, the configuration and the time left."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.plans import BOTH, CALM, ECONOMICAL, TABLE, TENANT, cloud, plan, seen
from tidegate.schemas import Mode
from tidegate.schemas.uplink import CloudState
from tidegate.services.planning.config import PlannerConfig, Signals, class_of
from tidegate.services.planning.speculation_cost import LONGEST

signals_of = st.builds(
    Signals,
    link_up=st.booleans(),
    rtt_ms=st.floats(0, 2000),
    rtt_var_ms=st.floats(0, 300),
    queue_depth=st.integers(0, 400),
    load=st.floats(0, 20),
    cloud=st.builds(
        CloudState,
        step_ms=st.sampled_from([0.0, 3.0, 8.0, 20.0, 40.0]),
        queue=st.integers(0, 300),
        verifies_drafts=st.booleans(),
        keeps_sessions=st.booleans(),
    ),
    acceptance=st.dictionaries(
        st.sampled_from([class_of(TENANT, "reader", names) for names in (BOTH, ("lookup",))]), st.floats(0, 1)
    ),
)
tables = st.builds(
    PlannerConfig,
    economy=st.sampled_from([0.0, 1.0, 5.0, 40.0, 1000.0]),
    uplink_ms_per_byte=st.sampled_from([0.0, 0.1, 1.0]),
    answer_tokens=st.integers(1, 512),
    drafters=st.sampled_from([{}, {"lookup": 0.1, "lm": 5.0}, {"lm": 12.0}]),
    knee_positions=st.integers(1, 600),
)
budgets = st.integers(0, 600_000)
DRAFTING = {"cloud_with_shipped_draft", "race", "remote_speculation"}
everywhere = settings(derandomize=True, max_examples=200)


@given(signals_of, tables, budgets, budgets, st.booleans())
@everywhere
def test_less_time_never_means_more_passages_nor_a_longer_draft(
    signals: Signals, config: PlannerConfig, one: int, other: int, can_retract: bool
) -> None:
    less, more = (plan(signals, config, left, can_retract=can_retract) for left in sorted((one, other)))
    assert less.k <= more.k
    assert less.draft_length <= more.draft_length


@given(signals_of, tables, st.floats(0, 2000), budgets, st.booleans())
@everywhere
def test_a_longer_round_trip_never_turns_the_loop_on(
    signals: Signals, config: PlannerConfig, more_ms: float, remaining_ms: int, can_retract: bool
) -> None:
    near = plan(signals, config, remaining_ms, can_retract=can_retract)
    far = plan(replace(signals, rtt_ms=signals.rtt_ms + more_ms), config, remaining_ms, can_retract=can_retract)
    assert far.mode != "remote_speculation" or near.mode == "remote_speculation"


@given(signals_of, tables, st.integers(0, 300), st.integers(0, 400), budgets, st.booleans())
@everywhere
def test_a_longer_queue_at_either_end_never_means_a_longer_draft(
    signals: Signals, config: PlannerConfig, more: int, waiting: int, remaining_ms: int, can_retract: bool
) -> None:
    calm = plan(signals, config, remaining_ms, can_retract=can_retract)
    state = signals.cloud
    fuller = msgspec.structs.replace(state, queue=state.queue + more)
    busy = replace(signals, cloud=fuller, queue_depth=signals.queue_depth + waiting)
    assert plan(busy, config, remaining_ms, can_retract=can_retract).draft_length <= calm.draft_length


@given(signals_of, tables, budgets, st.booleans())
@everywhere
def test_every_plan_keeps_the_contract(
    signals: Signals, config: PlannerConfig, remaining_ms: int, can_retract: bool
) -> None:
    made = plan(signals, config, remaining_ms, can_retract=can_retract)
    assert can_retract or made.mode != "race"
    assert config.economy > 0 or made.mode != "remote_speculation"
    assert (made.mode == "edge_only") is (not made.may_escalate)
    assert made.mode in made.reason or not made.may_escalate
    assert 0 <= made.draft_length <= LONGEST
    if made.mode not in DRAFTING:
        assert (made.draft_length, made.drafters, made.show_from) == (0, (), 1.0)
    if made.draft_length:
        assert signals.cloud.verifies_drafts
        assert (signals.cloud.queue + 1) * (made.draft_length + 1) <= config.knee_positions
    if made.mode == "remote_speculation":
        assert made.draft_length > 0
        assert signals.cloud.keeps_sessions
        assert made.forecast_ms["remote_speculation"] <= remaining_ms
    elif made.may_escalate:
        assert made.forecast_ms[made.mode] <= made.forecast_ms["cloud_stream"]


@pytest.mark.parametrize("mode", ["cloud_stream", "cloud_with_shipped_draft", "race", "remote_speculation"])
def test_a_configured_mode_is_planned_where_the_cloud_may_be_asked(mode: Mode) -> None:
    conditions = replace(TABLE, mode=mode)
    assert plan(CALM, conditions).mode == mode
    assert plan(CALM, conditions).where == ("cloud" if mode == "cloud_stream" else "edge")
    assert plan(replace(CALM, link_up=False), conditions).mode == "edge_only"


def test_no_loop_is_planned_where_nobody_could_run_it() -> None:
    assert plan(seen(0.8), ECONOMICAL, 9000).mode == "remote_speculation"
    conditions = replace(TABLE, mode="remote_speculation")
    for config in (ECONOMICAL, conditions):
        assert plan(seen(0.8, cloud(keeps_sessions=False)), config, 9000).mode == "cloud_with_shipped_draft"
        assert plan(cloud(verifies_drafts=False), config, 9000).mode == "cloud_stream"


def test_a_configured_loop_is_drafted_for_even_where_it_saves_nothing() -> None:
    conditions = PlannerConfig(mode="remote_speculation", worth_ms=9999.0)
    made = plan(CALM, conditions)
    assert (made.mode, made.drafters) == ("remote_speculation", BOTH)
    assert made.draft_length == plan(CALM).draft_length > 0
