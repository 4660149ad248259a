"""What the bench of forecasts makes of receipts: a good forecast, a bad one, and the closed form behind both."""

from __future__ import annotations

import msgspec
import pytest

from loadtests.bench.drafts_forecast import FORECAST_ENTRIES, ForecastLap, judge
from loadtests.bench.entries import ENTRIES
from tests.support.plans import CALM, plan
from tidegate.schemas import ForecastBasis, ForecastOutcome, Mode, Published, Receipt, Speculation

BASIS = ForecastBasis(
    class_name="cards", spent_ms=20.0, rtt_ms=50.0, edge_factor=0.5, cloud_factors=(0.1, 0.2), evidence=1
)
SPENT = Speculation(steps=9, tokens=30, drafted=24, accepted=20, draft_bytes=300)


def published(mode: Mode, expected_ms: float, took_ms: float) -> Published:
    made = msgspec.structs.replace(plan(CALM), basis=BASIS)
    receipt = Receipt(
        site="site1",
        route="edge" if mode == "edge_only" else "cloud",
        plan=made,
        lineage=(),
        citations=(),
        decisions=(),
        forecast=ForecastOutcome(mode, expected_ms, took_ms),
    )
    return Published(
        rid="r",
        tenant="kiosk",
        site="site1",
        asked_at_ms=1,
        deadline_at_ms=2,
        outcome="answered",
        text="",
        receipt=receipt,
    )


@pytest.mark.parametrize(
    ("mode", "expected_ms", "took_ms", "closed_form_ms", "good"),
    [
        ("edge_only", 50.0, 99.0, 20 + 30 / 0.5, (True, False, True)),
        ("edge_only", 50.0, 101.0, 20 + 30 / 0.5, (False, False, True)),
        ("cloud_stream", 270.0, 200.0, 70 + 200 / 0.2, (True, True, False)),
        ("race", 270.0, 134.0, 70 + 200 / 0.2, (False, False, False)),
    ],
)
def test_a_forecast_is_judged_whole_and_behind_the_plan_and_beside_its_closed_form(
    mode: Mode, expected_ms: float, took_ms: float, closed_form_ms: float, good: tuple[bool, bool, bool]
) -> None:
    judged = judge(published(mode, expected_ms, took_ms))
    assert judged is not None
    assert judged.closed_form_ms == pytest.approx(closed_form_ms)
    assert (judged.is_good, judged.is_good_behind_the_plan, judged.was_good_unlearned) == good
    assert judged.route == ("edge" if mode == "edge_only" else "cloud")


def test_shares_are_of_what_there_is_and_costs_add_up() -> None:
    judged = [judge(published("edge_only", 50.0, took_ms)) for took_ms in (60.0, 70.0, 80.0, 200.0)]
    lap = ForecastLap(tuple(each for each in judged if each is not None), (SPENT, SPENT))
    figures = lap.figures()
    assert figures["within_twice"] == figures["within_twice, edge"] == (75.0,)
    assert figures["within_twice, cloud"] == ()
    assert (figures["drafted"], figures["wasted"], figures["steps_saved"]) == ((48.0,), (8.0,), (42.0,))
    assert figures["bytes_per_accepted"] == (15.0,)
    assert "bytes_per_accepted" not in ForecastLap((), ()).figures()


def test_what_was_never_planned_was_never_forecast_and_the_bench_has_the_entry() -> None:
    answer = published("race", 1.0, 1.0)
    receipt = msgspec.structs.replace(answer.receipt, plan=None)
    assert judge(msgspec.structs.replace(answer, receipt=receipt)) is None
    assert all(entry in ENTRIES for entry in FORECAST_ENTRIES)
