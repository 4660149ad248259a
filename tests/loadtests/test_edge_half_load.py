"""What the bench of half a load counts: every reply once, what got none as such, and no text twice."""

from __future__ import annotations

import asyncio
import time

import pytest

from loadtests.bench.edge_half_load import REPLY, UNANSWERED, HalfLoad
from loadtests.bench.edge_latency import EdgeWorker
from loadtests.bench.measure import MeasurementError
from tests.loadtests.test_edge_latency import ANSWERED
from tidegate.schemas import Refused, replace
from tidegate.services.evaluation.open_loop import LoadReply
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio

REFUSED, ABSTAINED = Refused(code="busy", reason="busy"), replace(ANSWERED, outcome="abstained")


class Asked:
    """A site that replies in turn with an answer, an abstention, a refusal and nothing at all."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    async def ask(self, number: int) -> LoadReply:
        self.numbers.append(number)
        await asyncio.sleep(0.01)
        if number % 4 == 3:
            raise ConnectionResetError
        return LoadReply((ANSWERED, ABSTAINED, REFUSED)[number % 4])

    def load(self) -> HalfLoad:
        return HalfLoad(EdgeWorker(Settings(), 0, self.ask))


async def test_capacity_is_every_reply_of_all_who_ask_at_once() -> None:
    site = Asked()
    duration_s = 0.2
    began_s = time.perf_counter()
    rate = await site.load().saturate(duration_s)
    took_s = time.perf_counter() - began_s
    assert sorted(site.numbers) == list(range(len(site.numbers)))
    replied = sum(number % 4 < 2 for number in site.numbers)
    assert rate * duration_s <= replied <= rate * took_s


async def test_times_are_of_replies_and_the_rest_is_a_share() -> None:
    site = Asked()
    samples = await site.load().offer(400, 0.3, 1)
    count = len(site.numbers)
    assert count > 20
    assert len(samples[REPLY]) == sum(number % 4 < 2 for number in site.numbers)
    assert samples[UNANSWERED] == [pytest.approx(1 - len(samples[REPLY]) / count)]
    assert min(samples[REPLY]) > 5.0, "milliseconds; a request may be sent a little before it is due"


async def test_a_site_that_says_nothing_has_no_capacity() -> None:
    async def refuse(_: int) -> LoadReply:
        await asyncio.sleep(0.001)
        return LoadReply(REFUSED)

    with pytest.raises(MeasurementError, match="nothing is replied to"):
        await HalfLoad(EdgeWorker(Settings(), 0, refuse)).saturate(0.02)
