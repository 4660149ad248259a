"""The minimiser finds the least value of functions whose least value is known."""

from __future__ import annotations

import numpy as np

from tidegate.infra.models.training.lbfgs import Vector, minimise


def valley(point: Vector) -> tuple[float, Vector]:
    """Rosenbrock's function: 0 at (1, 1), at the end of a bent and narrow valley."""
    x, y = point
    value = (1 - x) ** 2 + 100 * (y - x * x) ** 2
    return float(value), np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])


def test_a_bent_valley_is_followed_to_its_end() -> None:
    assert np.allclose(minimise(valley, np.array([-1.2, 1.0]), 200), [1, 1], atol=1e-2)


def test_it_stops_after_the_steps_that_it_is_given() -> None:
    few, many = (valley(minimise(valley, np.array([-1.2, 1.0]), steps))[0] for steps in (3, 200))
    assert many < few < valley(np.array([-1.2, 1.0]))[0]
