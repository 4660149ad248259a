"""The cloud verifier, at the hub: the answer to what an edge could not vouch for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.schemas import Partial, encode
from tidegate.schemas.subjects import cloud_partial, fast_lane, ping, verification_session
from tidegate.services.fleet.machine_clock import open_freshness
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.settings import Settings
from tidegate.services.stages.cloud_verifier.backends import open_backend
from tidegate.services.stages.cloud_verifier.handler import verify
from tidegate.services.stages.cloud_verifier.hub_corpus import HubCorpus
from tidegate.services.stages.threads import in_thread
from tidegate.services.uplink.single_flight import SingleFlight
from tidegate.services.uplink.stream_check_server import PingServer
from tidegate.services.uplink.verification_server import refuse_session

EVERY_SITE = "*"


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001
    """The handler, with the fast lane answering on core subjects beside it; both share every verdict.

    Raises `CalibrationMissingError` where the hub was not prepared, `EmbeddingModelMissingError` where a target model
    is not there, and `ModelServerUnnamedError` (backends `openai` and `completions`) without a base URL or a model.
    """
    paths = StatePaths(settings)
    units = await asyncio.to_thread(UnitReader.load, paths.models)
    indexes = TenantIndexes(settings.tenants, paths.index, units.embedder, exact_below=settings.retriever.exact_below)
    for tenant in settings.tenants:
        await asyncio.to_thread(indexes.index, tenant)
    corpus = HubCorpus(indexes, open_freshness(settings))
    async with AsyncExitStack() as stack:
        backend = await open_backend(settings, corpus, units, partial(publish_partial, bus), stack)
        sessions = backend.sessions
        suggest = in_thread(corpus.suggest)
        sure_from = settings.drafter.least_confidence
        judge = partial(verify, answer=backend.answer, extract=backend.extract, suggest=suggest, sure_from=sure_from)
        flight = SingleFlight(judge)
        stack.push_async_callback(flight.close)
        await bus.respond(fast_lane(EVERY_SITE), flight.reply)
        await bus.respond(verification_session(EVERY_SITE), sessions.begin if sessions is not None else refuse_session)
        if sessions is not None:
            await bus.respond(verification_session(EVERY_SITE, sessions.worker), sessions.go_on)
        await bus.respond_by_subject(ping(EVERY_SITE), PingServer(bus, backend.state).answer)
        yield flight.verdict


async def publish_partial(bus: Bus, partial: Partial) -> None:
    await bus.publish_core(cloud_partial(partial.site, partial.tenant, partial.rid), encode(partial))
