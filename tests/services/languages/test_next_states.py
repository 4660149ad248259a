"""The automaton that takes less memory goes to the same states."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.services.languages.next_states import LETTERS, NextStates


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 5), st.sampled_from((0.0, 0.01, 0.5, 1.0)), st.integers(0, 99))
def test_each_entry_of_the_table_is_the_same_state(rows: int, first: int, density: float, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    table = np.tile(drawn.integers(0, 100_000, LETTERS, dtype=np.uint32), (rows, 1))
    others = drawn.random(table.shape) < density
    table[others] = drawn.integers(0, 100_000, int(others.sum()), dtype=np.uint32)
    states = NextStates(table, first % rows)
    assert [states[number] for number in range(table.size)] == table.ravel().tolist()
