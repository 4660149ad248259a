"""Clocks: a lattice of vector clocks, the order of dotted versions, and times that never go back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas.clocks import Dot, HybridTime, VectorClock
from tidegate.sync.rules.clock import (
    NOTHING,
    ClockOrder,
    DotNotNewError,
    advance,
    clock_from,
    clock_of,
    compare,
    compare_versions,
    covers,
    is_ahead,
    merge,
    next_time,
)

ACTORS = ("hub@1", "site1@1", "site1@2", "site2@1")
counters = st.dictionaries(st.sampled_from(ACTORS), st.integers(0, 4))
clocks = counters.map(clock_from)
dots = st.builds(Dot, st.sampled_from(ACTORS), st.integers(1, 4))
times = st.builds(HybridTime, st.integers(0, 50), st.integers(0, 5))

A1, A2, B1 = clock_from({"a@1": 1}), clock_from({"a@1": 2}), clock_from({"b@1": 1})


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [
        (NOTHING, NOTHING, "equal"),
        (NOTHING, A1, "before"),
        (A1, NOTHING, "after"),
        (A1, A2, "before"),
        (A2, A1, "after"),
        (A1, A1, "equal"),
        (A1, B1, "concurrent"),
        (merge((A1, B1)), A2, "concurrent"),
        (merge((A2, B1)), A2, "after"),
    ],
)
def test_two_clocks_have_one_order(first: VectorClock, second: VectorClock, order: ClockOrder) -> None:
    assert compare(first, second) == order


@given(clocks, clocks, clocks)
def test_clocks_are_partially_ordered(a: VectorClock, b: VectorClock, c: VectorClock) -> None:
    mirrored = {"before": "after", "after": "before", "equal": "equal", "concurrent": "concurrent"}
    assert compare(a, a) == "equal"
    assert compare(b, a) == mirrored[compare(a, b)]
    assert (compare(a, b) == "equal") == (a == b)
    if compare(a, b) in ("before", "equal") and compare(b, c) in ("before", "equal"):
        assert compare(a, c) in ("before", "equal")


@given(clocks, clocks, clocks)
def test_merge_is_the_least_upper_bound(a: VectorClock, b: VectorClock, c: VectorClock) -> None:
    both = merge((a, b))
    assert merge((b, a)) == both
    assert merge((a, a)) == a
    assert merge((merge((a, b)), c)) == merge((a, merge((b, c)))) == merge((a, b, c))
    assert compare(a, both) in ("before", "equal")
    assert compare(b, both) in ("before", "equal")
    if all(compare(each, c) in ("before", "equal") for each in (a, b)):
        assert compare(both, c) in ("before", "equal")


@given(clocks, dots)
def test_to_advance_covers_the_new_event_and_no_other_s(clock: VectorClock, dot: Dot) -> None:
    if covers(clock, dot):
        with pytest.raises(DotNotNewError, match=f"{dot} is not new after"):
            advance(clock, dot)
        return
    after = advance(clock, dot)
    assert compare(clock, after) == "before"
    assert covers(after, dot)
    assert not covers(after, Dot(dot.actor, dot.counter + 1))
    assert after == merge((clock, clock_of([dot])))


@given(counters)
def test_equal_clocks_have_equal_bytes(counted: dict[str, int]) -> None:
    backwards = dict(reversed(counted.items()))
    first, second = (msgspec.msgpack.encode(clock_from(each)) for each in (counted, backwards))
    assert first == second
    assert msgspec.msgpack.decode(first, type=VectorClock) == clock_from(counted)


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        ([[["b@1", 1], ["a@1", 1]]], "sorted"),
        ([[["a@1", 1], ["a@1", 2]]], "sorted"),
        ([[["a@1", 0]]], ">= 1"),
        ([[["a", 1]]], "matching regex"),
        ([[["a@0", 1]]], "matching regex"),
    ],
)
def test_a_clock_in_another_form_is_unreadable(wire: object, reason: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=reason):
        msgspec.json.decode(msgspec.json.encode(wire), type=VectorClock)


def test_versions_that_one_author_wrote_side_by_side_are_concurrent() -> None:
    seen = clock_from({"hub@1": 3})
    first, second = (Dot("site1@1", 1), seen), (Dot("site1@1", 2), seen)
    assert compare_versions(first, second) == "concurrent"
    third = (Dot("site2@1", 1), clock_of([first[0], second[0]]))
    assert compare_versions(first, third) == compare_versions(second, third) == "before"
    assert compare_versions(third, first) == "after"
    assert compare_versions(first, first) == "equal"


@given(times, st.integers(0, 60))
def test_a_hybrid_time_never_goes_back_and_is_never_behind_its_authors_clock(last: HybridTime, now_ms: int) -> None:
    local = next_time(last, now_ms)
    assert local > last
    assert local.ms == max(last.ms, now_ms)


def test_a_time_is_ahead_only_beyond_the_bound() -> None:
    assert not is_ahead(HybridTime(1500), 1000, 500)
    assert is_ahead(HybridTime(1501), 1000, 500)
