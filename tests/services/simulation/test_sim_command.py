"""`tidegate sim`: a seed from the command line is the run of the tests, and a broken promise is an exit code."""

from __future__ import annotations

import msgspec
import pytest
from click.testing import CliRunner

from tests.support.planted_bugs import acknowledged_before_stored
from tidegate.services.cli.sim import describe_runs, sim
from tidegate.services.simulation.engine import SimulationOutcome, Simulator


def test_a_seed_that_breaks_a_promise_says_which_and_is_the_same_run(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged_before_stored(monkeypatch)
    expected = simulator.run_seed(4)
    assert expected.violations
    shown = CliRunner().invoke(sim, ["--seed", "4", "--json"], standalone_mode=False)
    assert shown.return_value == 1
    assert msgspec.json.decode(shown.stdout, type=SimulationOutcome) == expected
    text = describe_runs([expected], 1.0)
    assert "seed 4: 5 stored before acknowledged: prefilter acknowledged ASKS:1 before anything" in text
    assert "seeds 4 to 4: 1 broke a promise" in text
