"""The choice of a token: the likeliest, or a draw that follows the softmax and is a function of its place alone."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tidegate.services.llm.model.sampling import NoLegalTokenError, Sampling, choose, gumbel

GOLDEN = [0.766464501071686, -0.670977991707690, -0.845865050286223]
"""Worked out by hand in plain integers for seed 42, position 7, ids 0, 1 and 2047."""
ROWS = st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=60).map(lambda row: np.array(row, np.float32))


def chi_square_tail(statistic: float, freedom: int) -> float:
    """P(chi² > statistic), by the Wilson-Hilferty transformation (1931)."""
    spread = 2 / (9 * freedom)
    z = ((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return 0.5 * math.erfc(z / math.sqrt(2))


def softmax(row: NDArray[Any]) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.exp(row.astype(np.float64) - row.max())
    return np.asarray(weights / weights.sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("vary", ["seed", "position"])
def test_draws_follow_the_softmax(temperature: float, vary: str) -> None:
    row = np.array([1.0, 0.0, 2.0, -1.0, 1.5, 0.5, -3.0, 0.0], np.float32)
    count = 20_000
    drawn = np.zeros(row.size)
    for number in range(count):
        seed, position = (number, 7) if vary == "seed" else (7, number)
        drawn[choose(row, Sampling(seed, temperature), position)] += 1
    expected = softmax(row / temperature) * count
    statistic = float(((drawn - expected) ** 2 / expected).sum())
    assert chi_square_tail(statistic, row.size - 1) > 1e-4, (drawn, expected)


def test_draws_at_neighbouring_places_know_nothing_of_each_other() -> None:
    row = np.zeros(6, np.float32)
    sampling = Sampling(3, 1.0)
    drawn = [choose(row, sampling, position) for position in range(20_001)]
    table = np.zeros((6, 6))
    for earlier, later in pairwise(drawn):
        table[earlier, later] += 1
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    assert chi_square_tail(float(((table - expected) ** 2 / expected).sum()), 25) > 1e-4


def test_the_noise_is_gumbel_s() -> None:
    noise = np.concatenate([gumbel(seed, 11, np.arange(1000)) for seed in range(100)])
    assert noise.mean() == pytest.approx(0.5772, abs=0.02)
    assert noise.var() == pytest.approx(math.pi**2 / 6, rel=0.03)
    assert np.isfinite(noise).all()


def test_the_noise_is_the_same_on_every_machine() -> None:
    first = gumbel(42, 7, np.array([0, 1, 2047]))
    assert first.tolist() == pytest.approx(GOLDEN, abs=1e-12)


@given(ROWS, st.integers(0, 2**64 - 1), st.integers(0, 4000), st.floats(0.1, 5))
def test_an_id_s_noise_does_not_depend_on_the_others(
    row: np.ndarray, seed: int, position: int, temperature: float
) -> None:
    chosen = choose(row, Sampling(seed, temperature), position)
    wider = np.concatenate([row, np.full(17, -np.inf, np.float32)])
    assert choose(wider, Sampling(seed, temperature), position) == chosen
    mask = np.zeros(row.size, np.bool_)
    mask[chosen] = True
    assert choose(row, Sampling(seed, temperature), position, mask) == chosen


@given(ROWS)
def test_without_heat_the_likeliest_is_chosen_and_of_equals_the_first(row: np.ndarray) -> None:
    assert choose(row, Sampling(seed=9), 3) == min(np.flatnonzero(row == row.max()))


@given(ROWS, st.integers(0, 99), st.integers(1, 10))
def test_what_is_drawn_is_among_the_likeliest(row: np.ndarray, seed: int, top_k: int) -> None:
    chosen = choose(row, Sampling(seed, 2.0, top_k), 3)
    assert (row > row[chosen]).sum() < top_k


def test_all_that_tie_with_the_last_of_the_likeliest_may_be_drawn() -> None:
    row = np.array([5, 1, 1, 1, 0], np.float32)
    drawn = {choose(row, Sampling(seed, 20.0, 2), 0) for seed in range(300)}
    assert drawn == {0, 1, 2, 3}


@given(ROWS, st.integers(0, 99), st.sampled_from([0.0, 1.0]), st.data())
def test_only_the_legal_are_chosen(row: np.ndarray, seed: int, temperature: float, data: st.DataObject) -> None:
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=row.size, max_size=row.size)), np.bool_)
    if mask.any():
        assert mask[choose(row, Sampling(seed, temperature, 3), 1, mask)]
    else:
        with pytest.raises(NoLegalTokenError):
            choose(row, Sampling(seed, temperature), 1, mask)


@pytest.mark.parametrize("wrong", [{"temperature": -0.1}, {"temperature": 1e9}, {"top_k": 0}])
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Sampling(**wrong)  # type: ignore[arg-type]
