"""Who worked how long: the time that another stage spent inside a handler is that stage's, and is counted once."""

from __future__ import annotations

import pytest

from tests.support.escalation_site import escalated
from tidegate.brokers.worker import with_timing
from tidegate.schemas import Answer, StageTiming, Verified, replace

BEFORE = (StageTiming("drafter", 1.0, 20.0),)


@pytest.mark.parametrize(
    ("inner", "own_ms"),
    [
        ((), 100.0),
        ((StageTiming("cloud-verifier", 0.0, 70.0),), 30.0),
        ((StageTiming("cloud-verifier", 10.0, 70.0),), 20.0),
        ((StageTiming("cloud-verifier", 0.0, 170.0),), 0.0),  # another machine's clock runs faster
    ],
)
def test_what_a_handler_adds_is_taken_off_its_own_time(inner: tuple[StageTiming, ...], own_ms: float) -> None:
    cause = escalated("q", timings=BEFORE)
    verified = cause.followed_by(Verified, question=cause.question, plan=cause.plan, answer=Answer(text="x"))
    output = replace(verified, timings=(*BEFORE, *inner))
    made = with_timing(output, cause, StageTiming("fast-lane", 2.0, 100.0))
    assert made.timings == (*BEFORE, *inner, StageTiming("fast-lane", 2.0, own_ms))  # type: ignore[attr-defined]


def test_an_output_that_lost_its_timings_gets_those_of_its_cause() -> None:
    cause = escalated("q", timings=BEFORE)
    made = with_timing(escalated("q"), cause, StageTiming("fast-lane", 0.0, 1.0))
    assert made.timings == (*BEFORE, StageTiming("fast-lane", 0.0, 1.0))  # type: ignore[attr-defined]
