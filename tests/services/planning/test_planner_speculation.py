"""The closed forms of drafting over a link: against each other, against published values, against the simulator."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.link import simulator
from tidegate.services.planning.speculation_cost import (
    LONGEST,
    Conditions,
    acceptance_of,
    best_draft_length,
    break_even_rtt_ms,
    cheapest_draft_length,
    cloud_stream,
    draft_length,
    expected_tokens,
    knee_cap,
    lambert_w_minus_1,
    pipelined_break_even_ms,
    race,
    round_ms,
    shipped_draft,
    stop_and_wait,
    stop_and_wait_break_even_ms,
)

acceptances = st.floats(0.02, 0.98)


def at(acceptance: float, rtt_ms: float, step_ms: float, draft_token_ms: float, **more: float) -> Conditions:
    return Conditions(acceptance, rtt_ms, step_ms, draft_token_ms, **more)  # type: ignore[arg-type]


def quickest_length(c: Conditions) -> int:
    """The draft length at which a stop-and-wait loop over the link is fastest."""
    round_ms = c.there_and_back_ms + c.call_ms + c.step_ms
    return draft_length(c.acceptance, round_ms, c.draft_token_ms + c.step_ms * c.position_share)


@given(st.floats(-1 / math.e, -1e-300, exclude_min=True))
@settings(derandomize=True, max_examples=500)
def test_lamberts_w_is_the_lower_inverse_of_w_e_to_the_w(x: float) -> None:
    w = lambert_w_minus_1(x)
    assert w <= -1
    # near the branch point -1/e the inverse loses half the digits, however it is computed
    assert w * math.exp(w) == pytest.approx(x, rel=1e-9)


@pytest.mark.parametrize(
    ("x", "w"),
    [(-1 / math.e, -1.0), (-0.25, -2.153292364), (-0.1, -3.577152064), (-0.01, -6.472775124), (-1e-10, -26.29523881)],
)
def test_lamberts_w_has_its_published_values(x: float, w: float) -> None:
    assert lambert_w_minus_1(x) == pytest.approx(w, rel=1e-6)


@pytest.mark.parametrize("x", [-0.4, 0.0, 0.5])
def test_lamberts_w_is_not_real_elsewhere(x: float) -> None:
    with pytest.raises(ValueError, match="is real for"):
        lambert_w_minus_1(x)


def by_grid(acceptance: float, round_: float, token: float, longest: int) -> int:
    return max(range(1, longest + 1), key=lambda g: expected_tokens(acceptance, g) / (round_ + g * token))


@given(acceptances, st.floats(0.1, 2000), st.floats(0.01, 50), st.integers(1, LONGEST))
@settings(derandomize=True, max_examples=200)
def test_the_closed_form_finds_what_trying_every_length_finds(
    acceptance: float, round_: float, token: float, longest: int
) -> None:
    found, tried = draft_length(acceptance, round_, token, longest), by_grid(acceptance, round_, token, longest)

    def rate(g: int) -> float:
        return expected_tokens(acceptance, g) / (round_ + g * token)

    assert rate(found) == pytest.approx(rate(tried), rel=1e-9)


@pytest.mark.parametrize(
    ("acceptance", "step_ms", "draft_ms", "rtt_ms", "lengths"),
    [  # performance report, table of gamma*: grid, closed form
        (0.6, 20, 5, 10, (2, 2.4)),
        (0.6, 20, 10, 200, (4, 4.2)),
        (0.8, 20, 5, 10, (5, 4.7)),
        (0.8, 20, 5, 200, (11, 10.5)),
        (0.8, 40, 5, 100, (9, 8.8)),
        (0.9, 20, 5, 200, (18, 18.1)),
        (0.9, 40, 5, 50, (13, 12.6)),
        (0.9, 20, 10, 100, (11, 10.7)),
    ],
)
def test_the_length_that_suits_a_loop_is_the_published_one(
    acceptance: float, step_ms: float, draft_ms: float, rtt_ms: float, lengths: tuple[int, float]
) -> None:
    conditions = at(acceptance, rtt_ms, step_ms, draft_ms)
    round_, token = rtt_ms + 2 + 3 + step_ms, draft_ms + 0.01 * step_ms
    assert quickest_length(conditions) == lengths[0]
    assert best_draft_length(acceptance, round_, token) == pytest.approx(lengths[1], abs=0.06)


@pytest.mark.parametrize("acceptance", [0.6, 0.8, 0.9])
@pytest.mark.parametrize("rtt_ms", [10, 50, 200])
def test_no_length_is_much_faster_in_the_simulator_than_the_one_that_is_computed(
    acceptance: float, rtt_ms: float
) -> None:
    conditions = at(acceptance, rtt_ms, 20, 5, tokens=3000)
    tapes = simulator.tapes_of(acceptance, 3000, 3)
    computed = quickest_length(conditions)
    times = {
        g: simulator.mean(simulator.stop_and_wait, tapes, conditions, g).final_ms
        for g in sorted({max(1, computed + away) for away in range(-6, 7)})
    }
    assert times[computed] <= 1.015 * min(times.values())
    assert times[max(1, computed - 6)] > 1.02 * times[computed]
    each_ms = times[computed] / 3000
    assert each_ms == pytest.approx(round_ms(conditions, computed) / expected_tokens(acceptance, computed), rel=0.05)


def crossing_ms(conditions: Conditions, length: int, protocol: simulator.Protocol) -> float:
    """The round trip at which the protocol takes as long as the stream, by bisection on the same tapes."""
    tapes = TAPES[conditions.acceptance]
    low, high = 0.0, 300.0
    for _ in range(9):
        middle = (low + high) / 2
        here = at(conditions.acceptance, middle, conditions.step_ms, conditions.draft_token_ms)
        stream_ms = simulator.cloud(tapes[0], here).final_ms
        is_faster = simulator.mean(protocol, tapes, here, length).final_ms < stream_ms
        low, high = (middle, high) if is_faster else (low, middle)
    return (low + high) / 2


TAPES = {acceptance: simulator.tapes_of(acceptance, 128, 200) for acceptance in (0.8, 0.9)}


def as_drawn(conditions: Conditions) -> Conditions:
    """With the share that really stands on the tapes: at 0.9 a hundredth more is 15 ms more of round trip."""
    tapes = TAPES[conditions.acceptance]
    return replace(conditions, acceptance=statistics.fmean(share for tape in tapes for share in tape[:128]))


@pytest.mark.parametrize(
    ("acceptance", "step_ms", "draft_ms", "published_ms"),
    [(0.8, 20, 5, 40), (0.9, 20, 5, 115), (0.8, 40, 5, 110), (0.8, 20, 2, 55), (0.9, 8, 2, 43)],
)
def test_the_break_even_round_trip_is_the_published_one_and_the_simulators(
    acceptance: float, step_ms: float, draft_ms: float, published_ms: float
) -> None:
    conditions = at(acceptance, 0, step_ms, draft_ms)
    per_message = max(1, min(4, int(step_ms / draft_ms / 2)))
    assert pipelined_break_even_ms(conditions) == pytest.approx(published_ms, abs=0.6)
    assert break_even_rtt_ms(conditions) == pytest.approx(published_ms, abs=0.6)
    seen = crossing_ms(conditions, per_message, simulator.pipelined)
    assert seen == pytest.approx(pipelined_break_even_ms(as_drawn(conditions)), abs=8)


@pytest.mark.parametrize(
    ("acceptance", "step_ms", "draft_ms", "published_ms"),
    [(0.8, 20, 5, 23), (0.8, 40, 5, 85), (0.9, 20, 5, 62), (0.7, 40, 5, 46), (0.95, 40, 10, 284)],
)
def test_stop_and_wait_breaks_even_where_it_was_published_to(
    acceptance: float, step_ms: float, draft_ms: float, published_ms: float
) -> None:
    assert stop_and_wait_break_even_ms(at(acceptance, 0, step_ms, draft_ms)) == pytest.approx(published_ms, abs=0.6)


@pytest.mark.parametrize(("acceptance", "step_ms", "draft_ms"), [(0.8, 20, 5), (0.8, 40, 5), (0.9, 20, 5)])
def test_stop_and_wait_breaks_even_in_the_simulator_within_a_tenth(
    acceptance: float, step_ms: float, draft_ms: float
) -> None:
    conditions = at(acceptance, 0, step_ms, draft_ms)
    computed = stop_and_wait_break_even_ms(as_drawn(conditions))
    length = quickest_length(at(acceptance, computed, step_ms, draft_ms))
    assert crossing_ms(conditions, length, simulator.stop_and_wait) == pytest.approx(computed, rel=0.1, abs=2)


def test_where_the_cloud_is_as_fast_as_the_drafter_no_link_is_short_enough() -> None:
    assert break_even_rtt_ms(at(0.8, 0, 8, 10)) == 0.0
    assert break_even_rtt_ms(at(0.5, 0, 20, 5)) == 0.0


@pytest.mark.parametrize("acceptance", [0.6, 0.8, 0.9])
@pytest.mark.parametrize(("rtt_ms", "step_ms", "draft_ms"), [(10, 20, 5), (100, 20, 2), (200, 40, 10)])
@pytest.mark.parametrize("first_tokens", [1, 16])
def test_forecasts_are_what_the_simulator_plays(
    acceptance: float, rtt_ms: float, step_ms: float, draft_ms: float, first_tokens: int
) -> None:
    conditions = at(acceptance, rtt_ms, step_ms, draft_ms, first_tokens=first_tokens, queue_ms=30.0)
    tapes = simulator.tapes_of(acceptance, conditions.tokens, 150)
    for forecast, simulated in (
        (cloud_stream(conditions), simulator.mean(simulator.colocated, tapes, conditions, 0)),
        (shipped_draft(conditions, 8), simulator.mean(simulator.shipped_draft, tapes, conditions, 8)),
        (race(conditions, 8), simulator.mean(simulator.race, tapes, conditions, 8)),
        (stop_and_wait(conditions, 8), simulator.mean(simulator.stop_and_wait, tapes, conditions, 8)),
    ):
        assert forecast.final_ms == pytest.approx(simulated.final_ms, rel=0.05)
        assert forecast.cloud_steps == pytest.approx(simulated.cloud_steps, rel=0.05)
        assert forecast.up_bytes == pytest.approx(simulated.up_bytes, rel=0.05)


def test_the_first_piece_is_forecast_as_it_is_played() -> None:
    conditions = at(0.8, 100, 20, 1, first_tokens=16)
    tapes = simulator.tapes_of(0.8, conditions.tokens, 150)
    assert cloud_stream(conditions).shown_ms == simulator.cloud(tapes[0], conditions).shown_ms == 442
    assert race(conditions, 8).shown_ms == simulator.mean(simulator.race, tapes, conditions, 8).shown_ms == 36
    simulated = simulator.mean(simulator.shipped_draft, tapes, conditions, 8)
    assert shipped_draft(conditions, 8).shown_ms == pytest.approx(simulated.shown_ms, rel=0.1)


@given(acceptances, st.integers(1, 32), st.sampled_from([8.0, 20.0, 40.0]), st.floats(0, 10))
@settings(derandomize=True)
def test_a_shipped_draft_costs_no_round_trip_and_a_loop_one_for_every_round(
    acceptance: float, length: int, step_ms: float, draft_ms: float
) -> None:
    near, far = (at(acceptance, rtt_ms, step_ms, draft_ms) for rtt_ms in (10, 210))
    assert shipped_draft(far, length).final_ms - shipped_draft(near, length).final_ms == pytest.approx(200)
    rounds = stop_and_wait(near, length).cloud_steps
    assert stop_and_wait(far, length).final_ms - stop_and_wait(near, length).final_ms == pytest.approx(200 * rounds)


def test_the_roofline_leaves_no_room_for_drafts_in_a_full_batch() -> None:
    assert [knee_cap(295, batch) for batch in (1, 4, 64, 147, 148, 1000)] == [LONGEST, LONGEST, 3, 1, 0, 0]
    caps = [knee_cap(256, batch) for batch in range(1, 300)]
    assert all(before >= after for before, after in itertools.pairwise(caps))
    assert cheapest_draft_length(at(0.8, 50, 20, 5), 3) == 3
    assert cheapest_draft_length(at(0.8, 50, 20, 5), 0) == 0


@given(acceptances, st.floats(1, 100), st.floats(0, 500), st.floats(0, 500))
@settings(derandomize=True)
def test_what_is_cheapest_for_the_cloud_depends_on_no_link(
    acceptance: float, step_ms: float, one_ms: float, other_ms: float
) -> None:
    assert cheapest_draft_length(at(acceptance, one_ms, step_ms, 1)) == cheapest_draft_length(
        at(acceptance, other_ms, step_ms, 9)
    )


@pytest.mark.parametrize("acceptance", [0.3, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("length", [1, 4, 13])
def test_the_acceptance_is_read_from_what_stood_in_the_simulator(acceptance: float, length: int) -> None:
    conditions = at(acceptance, 50, 20, 0.1, tokens=4000)
    [tape] = simulator.tapes_of(acceptance, 4000, 1)
    simulated = simulator.shipped_draft(tape, conditions, length)
    assert acceptance_of(int(simulated.drafted), int(simulated.accepted), length) == pytest.approx(acceptance, abs=0.03)


def test_nothing_is_read_from_nothing() -> None:
    assert acceptance_of(8, 8, 8) == pytest.approx(1.0)
    assert acceptance_of(8, 0, 8) == pytest.approx(0.0)
    for drafted, accepted in ((0, 0), (4, 5), (4, -1)):
        with pytest.raises(ValueError, match="tell nothing"):
            acceptance_of(drafted, accepted, 4)


def test_a_bursty_tape_stands_in_runs() -> None:
    tape = simulator.bursty_tape(20_000, random.Random(3))
    assert sum(tape) / len(tape) == pytest.approx(0.82, abs=0.02)
    follows = sum(1 for before, after in itertools.pairwise(tape) if before and after)
    assert follows / sum(tape) > 0.86
