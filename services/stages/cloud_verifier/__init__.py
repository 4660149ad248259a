"""The cloud verifier, at the hub: the answer to what an edge could not vouch for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler, ScreenedHandler
from tidegate.schemas import Escalated, Message, Partial, RetryLaterError, encode
from tidegate.schemas.subjects import cloud_partial, ping
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.machine_clock import open_freshness
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.readers import TenantReading
from tidegate.services.fleet.refusal_counts import RefusalCounts, reporting
from tidegate.services.fleet.tenant_parts import TenantParts, open_tenant_parts
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.index.thesaurus import Thesaurus
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.together import HELPERS
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.settings import Settings
from tidegate.services.stages.cloud_verifier.abstentions import AbstentionMetrics
from tidegate.services.stages.cloud_verifier.backends import open_backend
from tidegate.services.stages.cloud_verifier.handler import verify
from tidegate.services.stages.cloud_verifier.hub_corpus import HubCorpus
from tidegate.services.stages.cloud_verifier.hub_names import HubNames
from tidegate.services.stages.cloud_verifier.metrics import ClaimMetrics
from tidegate.services.stages.threads import in_thread
from tidegate.services.uplink.claims import Claims
from tidegate.services.uplink.escalation_checks import FindByRules
from tidegate.services.uplink.intake import HubIntake
from tidegate.services.uplink.lanes import EVERY_SITE, HubLanes
from tidegate.services.uplink.single_flight import SingleFlight
from tidegate.services.uplink.site_binding import SiteBinding
from tidegate.services.uplink.source_watch import SourceWatch
from tidegate.services.uplink.stream_check_server import PingServer
from tidegate.sync.trust.site_records import SiteRecords

CLAIM_METRICS = ClaimMetrics()
"""One for the process, as the registry is."""
ABSTENTIONS = AbstentionMetrics()


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001
    """The handler, with the fast lane answering on core subjects beside it; both share every verdict, and so do all
    workers of the hub.

    Raises `CalibrationMissingError` where the hub was not prepared, `EmbeddingModelMissingError` where a target model
    is not there, and `ModelServerUnnamedError` (backends `openai` and `completions`) without a base URL or a model.
    """
    paths = StatePaths(settings)
    units = (await asyncio.to_thread(UnitReader.load, paths.models)).helped_by(HELPERS)
    indexes = TenantIndexes(settings.tenants, paths.index, units.embedder, exact_below=settings.retriever.exact_below)
    for tenant in settings.tenants:
        await asyncio.to_thread(indexes.index, tenant)
    async with AsyncExitStack() as stack:
        load = partial(TenantReading.load, settings, units)
        readings = HubReadings(await stack.enter_async_context(open_tenant_parts(settings, load)))
        corpus = HubCorpus(indexes, open_freshness(settings), readings.words_of)
        backend = await open_backend(settings, corpus, readings.reader_of, partial(publish_partial, bus), stack)
        suggest = in_thread(corpus.suggest)

        async def judge(escalated: Escalated) -> list[Message]:
            sure_from = readings.of(escalated.tenant).settings.drafter.least_confidence
            [verified] = await verify(
                escalated, answer=backend.answer, extract=backend.extract, suggest=suggest, sure_from=sure_from
            )
            found = verified.answer
            is_sure = bool(found.text) and found.confidence >= sure_from(escalated.question)
            ABSTENTIONS.count(escalated, verified, is_sure=is_sure)
            return [verified]

        claims = Claims(bus, judge, CLAIM_METRICS.count)
        flight = SingleFlight(claims.verdict)
        stack.push_async_callback(flight.close)
        await claims.serve()
        intake = await stack.enter_async_context(open_intake(settings, readings))
        await HubLanes(intake, flight, backend.sessions).serve(bus)
        await bus.respond_by_subject(ping(EVERY_SITE), PingServer(bus, backend.state, intake).answer)
        yield ScreenedHandler(intake.read_stored, flight.verdict)


@asynccontextmanager
async def open_intake(settings: Settings, readings: HubReadings) -> AsyncIterator[HubIntake]:
    """What judges all that comes up from sites, by what is in force of each tenant; it reports what it refuses."""
    paths, counts = StatePaths(settings), RefusalCounts()
    own = Detector(settings.prefilter.phone_regions, finds_health=settings.prefilter.health_data)
    records = SiteRecords(paths.site_records)
    binding, watch = SiteBinding(settings.tenants, records), SourceWatch(paths.site_sources, records)

    def rules_of(tenant: str) -> FindByRules:
        return (readings.detector_of(tenant) or own).find

    names = await HubNames.load(settings, readings.current)
    async with reporting(counts, EventSpool(paths.audit_events)):
        yield HubIntake(binding, rules_of, counts, names.of, watch)


class HubReadings:
    """How the hub reads for its tenants now. The generations that a request names are those of its site."""

    def __init__(self, readings: TenantParts[TenantReading]) -> None:
        self._readings = readings

    def of(self, tenant: str) -> TenantReading:
        """Raises `RetryLaterError` while nothing is in force here."""
        reading = self.current(tenant)
        if reading is None:
            raise RetryLaterError(f"the hub has nothing in force for {tenant} yet", 1.0)
        return reading

    def current(self, tenant: str) -> TenantReading | None:
        """None while nothing is in force here."""
        current = self._readings.current(tenant)
        return current.parts if current is not None else None

    def reader_of(self, tenant: str) -> Reader:
        """As `of`, the reader alone."""
        return self.of(tenant).reader

    def detector_of(self, tenant: str) -> Detector | None:
        """What finds personal data of the tenant by rules; None while nothing is in force here."""
        reading = self.current(tenant)
        return reading.detector if reading is not None else None

    def words_of(self, tenant: str) -> Thesaurus | None:
        """As `of`, the words into which questions are put."""
        return self.of(tenant).thesaurus


async def publish_partial(bus: Bus, partial: Partial) -> None:
    await bus.publish_core(cloud_partial(partial.site, partial.tenant, partial.rid), encode(partial))
