"""What a link carries: both formats, to the millisecond; synthetic links, which say that they are."""

from __future__ import annotations

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.simulation.link_traces import (
    RANGES,
    SYNTHETIC,
    LinkTraceError,
    SyntheticLink,
    read_trace,
    synthetic_trace,
)

CSV = "time_ms,kbit_s,rtt_ms\n0,800,50\n1000,0,50\n2000,80,200\n"


@pytest.mark.parametrize(
    ("trace", "at_ms", "size", "crossed_ms"),
    [
        ("1", 0.0, 1500, 1.0),  # mm-link's own example: one packet each millisecond is 12 Mbit/s
        ("1", 0.0, 15_000, 10.0),
        ("1", 7.3, 1, 8.0),
        ("5\n5\n5\n10", 0.0, 4500, 5.0),
        ("5\n5\n5\n10", 0.0, 4501, 10.0),
        ("5\n5\n5\n10", 6.0, 6000, 15.0),  # the one at 10, and three of the next round
        ("5\n10\n", 1001.0, 1500, 1005.0),
        (CSV, 0.0, 1000, 10.0),  # 8 000 bits at 800 kbit/s
        (CSV, 900.0, 20_000, 3000.0),  # 80 000 bits until the outage, the other 80 000 need 1 s at a tenth
        (CSV, 2990.0, 1100, 3010.0),  # the last row holds for a second, then the first one again
    ],
)
def test_bytes_cross_when_the_trace_lets_them(trace: str, at_ms: float, size: int, crossed_ms: float) -> None:
    assert read_trace(trace, "t", 40.0).crossed_ms(at_ms, size) == pytest.approx(crossed_ms)


def test_the_round_trip_is_that_of_the_moment_or_the_one_that_was_given() -> None:
    csv, mahimahi = read_trace(CSV, "t", 40.0), read_trace("1\n2\n", "t", 40.0)
    assert [csv.rtt_at(at_ms) for at_ms in (0.0, 2500.0, 3000.0)] == [50.0, 200.0, 50.0]
    assert mahimahi.rtt_at(7.0) == 40.0


@given(
    st.sampled_from(["1", "3\n3\n17\n40\n", CSV]),
    st.floats(0, 1e5),
    st.floats(0, 1e5),
    st.integers(1, 100_000),
    st.integers(1, 100_000),
)
def test_nothing_crosses_before_it_was_sent_and_later_or_more_is_never_sooner(
    text: str, at_ms: float, later_ms: float, size: int, more: int
) -> None:
    trace = read_trace(text, "t", 0.0)
    crossed_ms = trace.crossed_ms(at_ms, size)
    assert crossed_ms >= at_ms
    assert trace.crossed_ms(at_ms + later_ms, size) >= crossed_ms - 1e-3
    assert trace.crossed_ms(at_ms, size + more) >= crossed_ms - 1e-3


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "is empty"),
        ("1\n0.5\n", "line 2: '0.5'"),
        ("5\n4\n", "line 2: '4'"),
        ("0\n", "ends at 0 ms"),
        ("time_ms,kbit_s,rtt_ms\n0,fast,9\n", "row 1: '0,fast,9'"),
        ("0,1\n", "row 1"),
        ("0,1,1\n0,2,1\n", "times rise"),
        ("0,-1,1\n", "nothing is below 0"),
        ("0,nan,1\n", "nothing is below 0"),
        ("0,0,1\n", "never carries"),
    ],
)
def test_what_is_no_trace_is_an_error_that_names_the_line(text: str, seen: str) -> None:
    with pytest.raises(LinkTraceError, match=seen):
        read_trace(text, "t", 0.0)


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_a_synthetic_link_says_so_is_the_same_each_time_and_has_the_average_that_it_names(kind: SyntheticLink) -> None:
    trace = synthetic_trace(kind, "up", 7)
    assert trace == synthetic_trace(kind, "up", 7) != synthetic_trace(kind, "up", 8)
    assert trace.label == f"synthetic {kind}"
    means = [fmean(state.kbit_s for state in synthetic_trace(kind, "up", seed).states) for seed in range(20)]
    assert fmean(means) == pytest.approx(RANGES[kind].up, rel=0.15)
    assert any(not state.kbit_s for state in synthetic_trace(kind, "up", 1, 600).states), "it never drops"
