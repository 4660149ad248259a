"""What a worker of a hub does for tests, by both lanes, with an answer that costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.hub_intakes import hub_intake
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.worker import run
from tidegate.schemas import Answer, CloudState, Escalated, Message, Verified
from tidegate.schemas.subjects import ping
from tidegate.services.pipeline import WORKERS
from tidegate.services.uplink.claims import Claims
from tidegate.services.uplink.lanes import HubLanes
from tidegate.services.uplink.single_flight import SingleFlight
from tidegate.services.uplink.stream_check_server import PingServer


async def answer_at_hub(escalated: Escalated) -> list[Message]:
    """The verdict, which names its request."""
    answer = Answer(text=f"to {escalated.rid}", confidence=0.9)
    return [escalated.followed_by(Verified, question=escalated.question, plan=escalated.plan, answer=answer)]


@asynccontextmanager
async def working_hub(bus: JetStreamBus) -> AsyncIterator[None]:
    """Answers what sites escalate, until left."""
    claims, intake, stop = Claims(bus, answer_at_hub), hub_intake(), asyncio.Event()
    flight = SingleFlight(claims.verdict)
    await claims.serve()
    await HubLanes(intake, flight, None).serve(bus)
    await bus.respond_by_subject(ping("*"), PingServer(bus, CloudState, intake).answer)
    stage = asyncio.create_task(run(WORKERS["cloud-verifier"], flight.verdict, bus, stop))
    try:
        yield
    finally:
        stop.set()
        await stage
        await flight.close()
