"""The model of a site's load, held against what is known of queues, and against a queue of our own."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from tidegate.schemas import Published, Receipt, StageTiming, replace
from tidegate.services.cli.sim import sim
from tidegate.services.cli.sim_capacity import CapacityAnswer
from tidegate.services.simulation.capacity import (
    CapacityQuestion,
    answer_question,
    find_capacity,
    measure_error,
)
from tidegate.services.simulation.link_traces import LinkTrace, read_trace, steady_link
from tidegate.services.simulation.profile import (
    CapacityProfile,
    ProfileError,
    RequestSample,
    RequestStep,
    fit_profile,
    poisson_arrivals,
    read_answers,
    read_profile,
)

EXPONENTIAL_MS = tuple(-10.0 * math.log(1 - (number + 0.5) / 400) for number in range(400))
"""Times of work with a mean of 10 ms, as the quantiles of the exponential distribution."""
FREE = steady_link(0.0)


def profile_of(*samples: RequestSample) -> CapacityProfile:
    return CapacityProfile(samples=samples, hops_ms={}, rtt_ms=0.0, cores=1)


ONE_STAGE = profile_of(
    *(RequestSample("answered", "edge", (RequestStep("prefilter", worked),)) for worked in EXPONENTIAL_MS)
)


def question(profile: CapacityProfile, rate: float, count: int = 6000, **more: Any) -> CapacityQuestion:
    arrivals = tuple(poisson_arrivals(rate, count, random.Random(3)))
    fields = {"budget_ms": 4000.0, "up": FREE, "down": FREE, "cores": 1, "hub_cores": 1, **more}
    return CapacityQuestion(profile=profile, arrivals_ms=arrivals, **fields)


@pytest.mark.parametrize("rate", [30.0, 70.0])
def test_one_core_waits_as_the_formula_of_one_server_says(rate: float) -> None:
    """M/M/1: the time in the system is exponential with the rate of service less that of arrivals (Kleinrock 1975)."""
    report = answer_question(question(ONE_STAGE, rate, 12_000))
    free = (100.0 - rate) / 1000
    assert report.latency.p50_ms == pytest.approx(math.log(2) / free, rel=0.12)
    assert report.latency.p95_ms == pytest.approx(math.log(20) / free, rel=0.12)
    assert report.utilisation["cores"] == pytest.approx(rate / 100, rel=0.05)
    assert report.at_edge == report.in_time == 1.0


def test_two_cores_carry_twice_what_one_does() -> None:
    one, two = (answer_question(question(ONE_STAGE, 90.0, cores=cores)) for cores in (1, 2))
    assert two.utilisation["cores"] == pytest.approx(one.utilisation["cores"] / 2, rel=0.05)
    assert two.latency.p95_ms < one.latency.p95_ms / 2


def test_the_capacity_is_the_rate_at_which_the_formula_reaches_the_budget() -> None:
    """p95 of M/M/1 is ln 20 / (100 - rate): 60 ms where 50 requests come a second."""
    found = find_capacity(question(ONE_STAGE, 1.0, 4000, budget_ms=math.log(20) / 0.05))
    assert found == pytest.approx(50.0, rel=0.12)


def test_a_rate_that_the_cores_cannot_carry_for_ever_is_no_capacity_however_short_the_run() -> None:
    assert find_capacity(question(ONE_STAGE, 1.0, 50, budget_ms=1e9)) <= 100.0


CLOUD = RequestSample(
    "answered",
    "cloud",
    (
        RequestStep("prefilter", 2.0),
        RequestStep("cloud-verifier", 10.0),
        RequestStep("fast-lane", 777.0),  # the link of the live run: it has another one here
        RequestStep("publisher", 1.0),
    ),
)


def over(trace: LinkTrace, rate: float = 1.0) -> CapacityQuestion:
    weights = {"up_bytes": 1500.0, "down_bytes": 3000.0}
    return question(replace(profile_of(CLOUD), **weights), rate, 300, up=trace, down=trace, budget_ms=1000.0)


def test_what_goes_to_the_cloud_takes_the_link_s_time_and_the_hub_s() -> None:
    slow = read_trace("0,120,80\n", "slow", 0.0)  # a byte in 1/15 ms
    report = answer_question(over(slow))
    assert report.latency.p50_ms == pytest.approx(2 + 100 + 40 + 10 + 200 + 40 + 1, abs=2)
    assert (report.up_bytes, report.down_bytes, report.by_cloud) == (300 * 1500, 300 * 3000, 1.0)
    assert report.link == "slow"


def test_what_the_link_brings_too_late_is_no_answer_of_the_cloud() -> None:
    report = answer_question(over(read_trace("0,120,80\n2000,0,80\n8000,120,80\n", "cut", 0.0)))
    assert 0.3 < report.cloud_lost < 0.9
    assert report.by_cloud == pytest.approx(1 - report.cloud_lost)
    assert report.latency.p99_ms < 1010


def answered(number: int, at_ms: float, *timings: tuple[str, float, float]) -> Published:
    receipt = Receipt(site="s", route="edge", plan=None, lineage=(), citations=(), decisions=())
    return Published(
        rid=f"r{number}",
        tenant="t",
        site="s",
        asked_at_ms=int(at_ms),
        deadline_at_ms=int(at_ms) + 4000,
        timings=tuple(StageTiming(*each) for each in timings),
        outcome="answered",
        text="",
        receipt=receipt,
    )


def live_run(rate: float, count: int) -> list[Published]:
    """What one core would have answered that serves in turn (Lindley's recursion), as its receipts would say."""
    rng, free_ms, found = random.Random(5), 0.0, []
    for number, at_ms in enumerate(poisson_arrivals(rate, count, rng)):
        worked_ms = rng.expovariate(1 / 10)
        begun_ms = max(free_ms, at_ms)
        free_ms = begun_ms + worked_ms
        found.append(answered(number, at_ms, ("prefilter", begun_ms - at_ms, worked_ms)))
    return found


def test_a_profile_of_receipts_tells_how_far_the_model_is_from_the_run_that_they_are_of() -> None:
    profile = fit_profile(live_run(60.0, 4000), cores=1)
    assert (len(profile.samples), profile.hops_ms) == (2000, {"prefilter": 0.0})
    error = measure_error(read_profile(msgspec.json.encode(profile)), 4000.0)
    assert error is not None
    assert error.measured.p95_ms > 2 * error.measured.p50_ms > 20, "the run had no queue"
    assert max(abs(error.p50), abs(error.p95), abs(error.p99)) < 0.25
    crowded = measure_error(replace(profile, cores=8), 4000.0)
    assert crowded is not None
    assert crowded.p50 < -0.3, "a model that takes the machine for another one is far off"


def test_what_is_no_profile_and_what_are_too_few_answers_is_an_error() -> None:
    with pytest.raises(ProfileError, match="19 answers"):
        fit_profile(live_run(1.0, 19), cores=1)
    for data in (b"{}", b"nothing", msgspec.json.encode(profile_of())):
        with pytest.raises(ProfileError):
            read_profile(data)
    with pytest.raises(ProfileError, match="line 2"):
        read_answers([msgspec.json.encode(live_run(1.0, 1)[0]), b"{}"])


def test_the_command_fits_a_profile_and_answers_by_it(tmp_path: Path) -> None:
    receipts, made, trace = tmp_path / "receipts.jsonl", tmp_path / "profile.json", tmp_path / "trace"
    receipts.write_bytes(b"\n".join(map(msgspec.json.encode, live_run(50.0, 400))))
    trace.write_text("1\n")
    run = CliRunner().invoke
    fitted = run(sim, ["--fit", str(receipts), "--into", str(made), "--cores", "1"], standalone_mode=False)
    assert "400 answers" in fitted.stdout
    given = ["--profile", str(made), "--rate", "20", "--requests", "300", "--budget-ms", "200", "--json"]
    for link, label in (("lte", "synthetic lte"), (str(trace), str(trace))):
        shown = run(sim, [*given, "--trace", link], standalone_mode=False)
        answer = msgspec.json.decode(shown.stdout, type=CapacityAnswer)
        assert (answer.report.requests, answer.report.link, shown.return_value) == (300, label, 0)
        assert 20 < answer.capacity < 115
        assert answer.model_error is not None
