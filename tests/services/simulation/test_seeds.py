"""The whole pipeline keeps its promises under whatever the seeds let go wrong; bugs that are planted do not pass.

One file: the worker that runs it opens one world. `--seeds N` runs more; `tidegate sim --seed S` runs one again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import planted_bugs
from tests.support.planted_bugs import Plant
from tidegate.schemas import replace
from tidegate.services.simulation.engine import SimulationOutcome, Simulator
from tidegate.services.simulation.invariants import INVARIANTS
from tidegate.services.simulation.schedule import KILLED, FaultWindow, Kill, Schedule, SimulatedAsk, draw_schedule

PLANTED_WITHIN = 60
"""Within so many seeds each planted bug is found."""


def test_no_seed_breaks_a_promise(simulator: Simulator, request: pytest.FixtureRequest) -> None:
    count = request.config.getoption("--seeds")
    print(f"seeds 0 to {count - 1}")
    outcomes = [simulator.run_seed(seed) for seed in range(count)]
    broken = {each.seed: each.violations for each in outcomes if each.violations}
    assert not broken, f"`tidegate sim --seed {min(broken)}` shows the first"
    assert sum(each.kills for each in outcomes) > count / 4, "hardly anything was killed"
    assert {kind for each in outcomes for kind in each.outcomes} == {"answered", "abstained", "withheld"}


BUGS: tuple[tuple[Plant, int], ...] = (
    (planted_bugs.unconfirmed_passed_over, 1),
    (planted_bugs.answers_without_expected_sequence, 2),
    (planted_bugs.personal_data_kept, 3),
    (planted_bugs.id_of_the_attempt, 4),
    (planted_bugs.duplicates_stored, 4),
    (planted_bugs.acknowledged_before_stored, 5),
    (planted_bugs.settled_twice, 6),
    (planted_bugs.policy_skipped, 7),
    (planted_bugs.shown_before_judged, 7),
    (planted_bugs.lineage_of_nobody, 7),
    (planted_bugs.refused_without_words, 8),
    (planted_bugs.late_without_reason, 8),
    (planted_bugs.given_up_at_once, 9),
    (planted_bugs.screened_slowly, 10),
    (planted_bugs.duplicates_stored, 11),
    (planted_bugs.partials_not_judged, 12),
)
"""Bugs of each kind, with the number of a promise that each breaks."""


@pytest.mark.parametrize(("plant", "number"), BUGS, ids=[f"{number}: {plant.__name__}" for plant, number in BUGS])
def test_a_planted_bug_is_found_and_its_seed_finds_it_again(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, plant: Plant, number: int
) -> None:
    plant(monkeypatch)
    found = next(seeds_that_break(simulator, number), None)
    assert found is not None, "no seed has found it"
    assert simulator.run_seed(found.seed) == found, "the seed does not give the same run again"


def seeds_that_break(simulator: Simulator, number: int) -> Iterator[SimulationOutcome]:
    """The outcomes in which the promise of this number is broken."""
    for seed in range(PLANTED_WITHIN):
        outcome = simulator.run_seed(seed)
        if number in {violation.number for violation in outcome.violations}:
            yield outcome


def test_a_seed_is_the_same_run_whatever_ran_before(simulator: Simulator) -> None:
    before = [simulator.run_seed(seed).digest for seed in range(12)]
    assert [simulator.run_seed(seed).digest for seed in reversed(range(12))] == before[::-1]
    assert len(set(before)) == len(before)


def of_all_kinds(**more: object) -> Schedule:
    """One question for each way through the pipeline, one after the other."""
    asks = tuple(SimulatedAsk(f"r{number}", 0.1 * number, number, 4000, True) for number in range(6))
    return replace(Schedule(seed=1, asks=asks), **more)


@pytest.mark.parametrize("stage", KILLED)
def test_a_stage_may_be_killed_at_every_await(simulator: Simulator, stage: str) -> None:
    """From the first to the last: beyond that nothing is killed. Every fourth one, for the time that it takes."""
    for at_await in range(1, 400, 4):
        outcome = simulator.run(of_all_kinds(kills=(Kill(stage, at_await, 0.5),)))
        assert not outcome.violations, f"killed at await {at_await}"
        if not outcome.kills:
            break
    assert 12 < at_await < 393


def test_without_faults_each_question_takes_its_own_way(simulator: Simulator) -> None:
    outcome = simulator.run(of_all_kinds())
    assert (outcome.violations, outcome.outcomes) == ((), {"answered": 5, "withheld": 1})


def test_without_the_hub_the_site_answers_what_it_knows_and_abstains_from_the_rest(simulator: Simulator) -> None:
    outcome = simulator.run(of_all_kinds(hub_gone=(FaultWindow(0.0, 15.0),)))
    assert (outcome.violations, outcome.outcomes) == ((), {"answered": 3, "abstained": 2, "withheld": 1})


def test_what_is_refused_for_a_full_disk_is_no_request(simulator: Simulator) -> None:
    outcome = simulator.run(of_all_kinds(full_disk=(FaultWindow(0.0, 5.0),)))
    assert (outcome.violations, outcome.outcomes) == ((), {}), "nothing was taken, so nothing is owed"


def test_every_promise_is_broken_by_a_planted_bug() -> None:
    assert {number for _, number in BUGS} == set(range(1, len(INVARIANTS) + 1))


def test_seeds_are_schedules_of_all_kinds_of_fault() -> None:
    drawn = [draw_schedule(seed, 6) for seed in range(200)]
    assert draw_schedule(7, 6) == draw_schedule(7, 6)
    assert 4 < sum(each.is_calm for each in drawn) < 40
    for kind in ("kills", "drains", "link_cuts", "hub_gone", "slow_disk", "full_disk", "together", "races", "peers"):
        assert 10 < sum(bool(getattr(each, kind)) for each in drawn) < 190, kind
    for share in ("delayed", "duplicated", "unacknowledged", "unconfirmed"):
        assert 30 < sum(getattr(each, share) > 0 for each in drawn) < 170, share
