"""A hub in memory that judges what comes up as the product does, and counts what it takes; no model answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.hub_intakes import NOWHERE, hub_intake
from tests.support.intake_attacks import SUBJECT
from tidegate.brokers.base import Bus
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.stage import ScreenedHandler
from tidegate.brokers.worker import settle
from tidegate.schemas import Answer, CloudState, Escalated, Message, Verified
from tidegate.schemas.subjects import HUB, ping
from tidegate.services.fleet.refusal_counts import RefusalCounts
from tidegate.services.pipeline import WORKERS
from tidegate.services.uplink.lanes import HubLanes
from tidegate.services.uplink.single_flight import SingleFlight
from tidegate.services.uplink.stream_check_server import PingServer

STAGE = WORKERS["cloud-verifier"]


@dataclass
class TakingHub:
    """`calls` are the escalations that were taken, `counts` the refusals; `handler` is that of the stream's worker."""

    bus: MemoryBus
    handler: ScreenedHandler
    counts: RefusalCounts
    calls: list[Escalated] = field(default_factory=list)

    async def take(self, data: bytes, subject: str = SUBJECT, headers: Mapping[str, str] | None = None) -> None:
        """Have a worker settle what the stream brings."""
        self.bus._store(subject, data, {"Nats-Msg-Id": f"{subject} {len(self.bus.stored('DEAD'))}", **(headers or {})})
        async with self.bus.subscribe(STAGE) as inbox:
            delivery = await inbox.next(wait_s=5.0)
            assert delivery is not None
            await settle(STAGE, self.handler, delivery, self.bus)


async def taking_hub(directory: Path = NOWHERE, tenants: tuple[str, ...] = ("kiosk",)) -> TakingHub:
    """A hub that serves these tenants; `directory` has the records of its sites, where it knows any."""
    bus, calls, counts = MemoryBus(HUB, [STAGE]), list[Escalated](), RefusalCounts()
    handler = await serve_lanes(bus, directory, calls, counts, tenants)
    return TakingHub(bus, handler, counts, calls)


async def serve_lanes(
    bus: Bus, directory: Path, calls: list[Escalated], counts: RefusalCounts, tenants: tuple[str, ...] = ("kiosk",)
) -> ScreenedHandler:
    """Answer on the bus as a hub; the handler is for its worker."""

    async def verify(escalated: Escalated) -> list[Message]:
        calls.append(escalated)
        answer = Answer(text="taken")
        return [escalated.followed_by(Verified, question=escalated.question, plan=escalated.plan, answer=answer)]

    intake, flight = hub_intake(directory, counts=counts, tenants=tenants), SingleFlight(verify)
    await HubLanes(intake, flight, None).serve(bus)
    await bus.respond_by_subject(ping("*"), PingServer(bus, CloudState, intake).answer)
    return ScreenedHandler(intake.read_stored, flight.verdict)
