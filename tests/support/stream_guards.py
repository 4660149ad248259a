"""A linked fleet whose streams are compared as the workers do it: the hub answers, the site asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from prometheus_client import REGISTRY

from tests.support.escalation_site import fact
from tests.support.hub_intakes import hub_intake
from tests.support.nats_fleet import Linked, client_of, nats_of
from tidegate.brokers.jetstream import api as jetstream_api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.topology.streams import UP_CONSUMER, down_consumer
from tidegate.schemas import Answer, CloudState, Escalated, Verified
from tidegate.schemas.subjects import ESCALATIONS, HUB, VERDICTS, ping
from tidegate.services.uplink.stream_check import StreamGuard
from tidegate.services.uplink.stream_check_server import PingServer

SITE = "site1"


@dataclass
class Guarded:
    """The site's guard, and a bus at either side."""

    guard: StreamGuard
    hub: JetStreamBus
    site: JetStreamBus

    async def escalate(self, *numbers: int) -> None:
        for n in numbers:
            escalated = fact(Escalated, f"Question {n}?", rid=f"r{n}", reason="low_confidence")
            await self.site.publish(escalated, id=f"e{n}", headers={"Tidegate-Cause": f"PIPE:{n}"})

    async def give_verdicts(self, *numbers: int) -> None:
        for n in numbers:
            answer = Answer(text=f"Answer {n}.")
            verified = fact(Verified, f"Question {n}?", rid=f"r{n}", answer=answer)
            await self.hub.publish(verified, id=f"v{n}", headers={})

    async def at_hub(self) -> list[str]:
        """The ids of the requests whose escalations the hub has, in the order of its stream."""
        return await rids_in(self.hub, ESCALATIONS, ">")

    async def at_site(self) -> list[str]:
        """The ids of the requests whose verdicts the site has: in its mirror, then in its pipeline."""
        return await rids_in(self.site, VERDICTS, ">") + await rids_in(self.site, "PIPE", "pipe.*.verified.*")

    async def compare(self) -> None:
        """Everything that is acknowledged by now."""
        while await self.guard.check():
            pass


@contextlib.asynccontextmanager
async def comparing(ends: Guarded) -> AsyncIterator[None]:
    """Compare as a worker does, only more often."""
    comparison = asyncio.create_task(ends.guard.keep_checking(every_s=0.2))
    try:
        yield
    finally:
        await end_tasks(comparison)


async def rids_in(bus: JetStreamBus, stream: str, subject: str) -> list[str]:
    return [stored.subject.rsplit(".", 1)[1] for stored in await messages(bus.link.client, stream, subject)]


@contextlib.asynccontextmanager
async def guarded(fleet: Linked) -> AsyncIterator[Guarded]:
    """Buses that outlive their servers, the hub's with what its worker answers under the pings."""
    servers = fleet.fleet
    async with (
        JetStreamBus.open(servers.hub.nats, HUB) as hub,
        JetStreamBus.open(servers.sites[SITE].nats, SITE) as site,
        JetStreamBus.open(nats_of(servers, HUB, "cloud-verifier"), HUB) as verifier,
        JetStreamBus.open(nats_of(servers, SITE, "router"), SITE) as router,
    ):
        await verifier.respond_by_subject(ping("*"), PingServer(verifier, CloudState, hub_intake()).answer)
        yield Guarded(StreamGuard(router, SITE), hub, site)


async def acknowledge_to_the_site(fleet: Linked, sequence: int) -> None:
    """Make the site take its escalations up to the sequence for stored by the hub, as a lost race does."""
    async with client_of(fleet.fleet.sites[SITE]) as client:
        await jetstream_api.rewind(client, ESCALATIONS, UP_CONSUMER, sequence + 1)


async def acknowledge_to_the_hub(fleet: Linked, sequence: int) -> None:
    """Make the hub take its verdicts up to the sequence for stored by the site, as a lost race does."""
    async with client_of(fleet.fleet.hub) as client:
        await jetstream_api.rewind(client, VERDICTS, down_consumer(SITE), sequence + 1)


def restored(stream: str) -> float:
    """How many messages of the stream were restored in this process."""
    return REGISTRY.get_sample_value("tidegate_restored_messages_total", {"stream": stream}) or 0.0
