"""Vectors as they are stored and as they are compared."""

from __future__ import annotations

import numpy as np

from tidegate.services.knowledge.index.vectors import DIMENSIONS, widen_halves


def test_every_finite_half_is_widened_to_the_single_that_numpy_makes_of_it() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)]
    padded = np.resize(finite, (-(-len(finite) // DIMENSIONS), DIMENSIONS))
    wide = widen_halves(padded.tobytes())
    assert wide.dtype == np.float32
    np.testing.assert_array_equal(wide.view(np.uint32), padded.astype(np.float32).view(np.uint32))
    assert widen_halves(b"").shape == (0, DIMENSIONS)
