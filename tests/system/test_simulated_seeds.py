"""Two thousand seeds of the simulation, as `tidegate sim --seeds 2000` runs them; fewer are among the quick tests."""

from __future__ import annotations

import json

from click.testing import CliRunner

from tests.support.paths import MODELS
from tidegate.services.cli.sim import sim

SEEDS = 2000


def test_no_seed_of_two_thousand_breaks_a_promise() -> None:
    arguments = ["--seeds", str(SEEDS), "--json"]
    run = CliRunner(env={"TIDEGATE_MODELS_DIR": str(MODELS)}).invoke(sim, arguments, standalone_mode=False)
    outcomes = json.loads(run.stdout)
    assert run.return_value == 0, [each["violations"] for each in outcomes if each["violations"]]
    assert [each["seed"] for each in outcomes] == list(range(SEEDS))
    assert sum(each["kills"] for each in outcomes) > SEEDS / 4, "hardly anything was killed"
