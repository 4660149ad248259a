"""Request coalescing: one computation for all who ask, shared with nobody else."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.escalation_site import escalated
from tidegate.schemas import Answer, Escalated, Message, RetryLaterError, Verified
from tidegate.services.uplink.single_flight import SingleFlight

pytestmark = pytest.mark.anyio


class Counting:
    """A verifier that counts its calls and can be made to fail."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None

    async def __call__(self, fact: Escalated) -> list[Message]:
        self.calls += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        answer = Answer(text=f"{fact.tenant} {self.calls}")
        return [fact.followed_by(Verified, question=fact.question, plan=fact.plan, answer=answer)]


async def test_a_request_is_computed_once_and_a_failure_is_not_remembered() -> None:
    verify = Counting()
    flight = SingleFlight(verify)
    verify.error = RetryLaterError("not now", 1.0)
    outcomes = await asyncio.gather(*(flight.verdict(escalated("q")) for _ in range(3)), return_exceptions=True)
    assert outcomes == [verify.error] * 3
    verify.error = None
    first = await flight.verdict(escalated("q"))
    assert await flight.verdict(escalated("q")) is first
    assert verify.calls == 2


async def test_nobody_is_given_a_verdict_by_guessing_an_id() -> None:
    flight = SingleFlight(Counting())
    mine = await flight.verdict(escalated("q"))
    for other in (escalated("q", tenant="other"), escalated("q", site="site2"), escalated("another")):
        assert await flight.verdict(other) is not mine


async def test_only_the_last_verdicts_are_remembered() -> None:
    verify = Counting()
    flight = SingleFlight(verify, remembered=2)
    for rid in ("a", "b", "c", "a"):
        await flight.verdict(escalated("q", rid=rid))
    assert verify.calls == 4


async def test_a_lane_that_gives_up_does_not_end_the_work_of_the_other() -> None:
    verify = Counting()
    flight = SingleFlight(verify)
    impatient = asyncio.create_task(flight.verdict(escalated("q")))
    await asyncio.sleep(0)
    impatient.cancel()
    assert len(await flight.verdict(escalated("q"))) == 1
    assert verify.calls == 1
