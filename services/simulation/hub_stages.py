"""The hub of a simulation: the cloud verifier's handler, its intake and its lanes, with the backend that has no model.

Next: site_stages.py; services/stages/cloud_verifier."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler, ScreenedHandler
from tidegate.schemas import Escalated, Verified
from tidegate.schemas.subjects import ping
from tidegate.schemas.uplink import CloudState
from tidegate.services.fleet.machine_clock import open_freshness
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.refusal_counts import RefusalCounts
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.simulation.process import SimulatedLife
from tidegate.services.simulation.site_stages import working
from tidegate.services.simulation.world import SimulatedWorld, remember
from tidegate.services.stages.cloud_verifier import HubReadings
from tidegate.services.stages.cloud_verifier.handler import verify
from tidegate.services.stages.cloud_verifier.hub_corpus import HubCorpus
from tidegate.services.uplink.claims import Claims
from tidegate.services.uplink.intake import HubIntake
from tidegate.services.uplink.lanes import EVERY_SITE, HubLanes
from tidegate.services.uplink.single_flight import SingleFlight
from tidegate.services.uplink.site_binding import SiteBinding
from tidegate.services.uplink.stream_check_server import PingServer
from tidegate.sync.trust.site_records import SiteRecords


class HubStages:
    """Opens the hub's stage for one process after another."""

    def __init__(self, world: SimulatedWorld) -> None:
        hub = world.hub
        settings = hub.settings
        self._readings = HubReadings(hub.readings)
        corpus = HubCorpus(hub.indexes, open_freshness(settings), self._readings.words_of)
        self._answer = remember(
            lambda escalated: corpus.read(self._readings.reader_of, escalated),
            lambda escalated: (escalated.tenant, escalated.question),
        )
        self._suggest = remember(corpus.suggest, lambda escalated: (escalated.tenant, escalated.question))
        self._binding = SiteBinding(settings.tenants, SiteRecords(StatePaths(settings).site_records))
        self._own = Detector(settings.prefilter.phone_regions)

    @asynccontextmanager
    async def cloud_verifier(self, bus: Bus, life: SimulatedLife) -> AsyncIterator[Handler]:
        """See `stages/cloud_verifier`."""
        answer, suggest = working(life, self._answer), working(life, self._suggest)

        async def decide(escalated: Escalated) -> list[Verified]:
            sure_from = self._readings.of(escalated.tenant).settings.drafter.least_confidence
            return await verify(escalated, answer=answer, suggest=suggest, sure_from=sure_from)

        async with AsyncExitStack() as stack:
            claims = Claims(bus, decide)
            flight = SingleFlight(claims.verdict)
            stack.push_async_callback(flight.close)
            await claims.serve()
            intake = HubIntake(
                self._binding,
                lambda tenant: (self._readings.detector_of(tenant) or self._own).find,
                RefusalCounts(),
            )
            await HubLanes(intake, flight, None).serve(bus)
            await bus.respond_by_subject(ping(EVERY_SITE), PingServer(bus, CloudState, intake).answer)
            yield ScreenedHandler(intake.read_stored, flight.verdict)
