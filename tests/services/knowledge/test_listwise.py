from __future__ import annotations

import numpy as np
import pytest

from tidegate.services.knowledge.reader.listwise import Choice, fit_choices, loss_of_choices

WANTED = np.array([2.0, -1.0, 0.0])


def choices(count: int, seed: int, *, noise: float = 1.0) -> list[Choice]:
    """Units of which the one is right whose columns say so, as far as noise lets them; their offset says nothing."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        columns = draw.normal(size=(int(draw.integers(3, 9)), 3))
        scores = columns @ WANTED + noise * draw.gumbel(size=len(columns))
        found.append(Choice(columns, np.zeros(len(columns)), scores == scores.max()))
    return found


def test_the_weights_that_made_the_choices_are_found_again_and_a_penalty_holds_them_back() -> None:
    made = choices(600, 1)
    found = fit_choices(made, 1e-3)
    assert found == pytest.approx(WANTED, abs=0.25)
    held = fit_choices(made, 1e6)
    assert np.abs(held).max() < 0.01


def test_no_other_weights_have_a_lower_loss() -> None:
    made = choices(80, 2)
    penalty = 3.0
    found = fit_choices(made, penalty)

    def whole(weights: np.ndarray) -> float:
        return loss_of_choices(made, weights) + penalty / 2 * float(weights @ weights)

    draw = np.random.default_rng(3)
    assert all(whole(found) < whole(found + 0.01 * draw.normal(size=3)) for _ in range(20))
    assert whole(found) < whole(np.zeros(3))


def test_several_right_units_share_the_chance_and_none_of_them_can_be_right() -> None:
    columns, offset = np.zeros((3, 1)), np.log([1.0, 2.0, 5.0])
    two = Choice(columns, offset, np.array([True, True, False]))
    assert loss_of_choices([two], np.zeros(1)) == pytest.approx(-np.log(3 / 8))
    none = Choice(columns, offset, np.array([False, False, False])).or_none()
    assert loss_of_choices([none], np.zeros(1)) == pytest.approx(-np.log(1 / 9))
    assert loss_of_choices([two, none], np.zeros(1)) == pytest.approx(-np.log(3 / 8) - np.log(1 / 9))


def test_scores_of_any_size_are_told_apart() -> None:
    far = Choice(np.zeros((2, 1)), np.array([1000.0, -1000.0]), np.array([False, True]))
    assert loss_of_choices([far], np.zeros(1)) == pytest.approx(2000.0)
