"""The retriever's composition root: finds the passages of the tenant's own index that may answer a question."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.schemas import Artefact, Message, Passage, Routed
from tidegate.services.fleet.machine_clock import open_freshness
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.tenant_parts import open_tenant_parts
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.index.thesaurus import Thesaurus
from tidegate.services.knowledge.replica.freshness import FreshnessJudge
from tidegate.services.packs.active import PackInForce
from tidegate.services.planning.degradation import LatencyModel
from tidegate.services.settings import Settings
from tidegate.services.stages.retriever.handler import RetrieverPorts, retrieve
from tidegate.services.stages.threads import in_thread


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001, ARG001
    """The handler, its model warm and the indices of all tenants open.

    What another process adds to an index, or deletes, counts from the next question on; so do a thesaurus that comes
    into force, and how long ago the hub was last heard of.
    """
    paths = StatePaths(settings)
    embedder = await asyncio.to_thread(Embedder.load, paths.models)
    freshness = open_freshness(settings)
    indexes = TenantIndexes(settings.tenants, paths.index, embedder, exact_below=settings.retriever.exact_below)

    for tenant in settings.tenants:
        await asyncio.to_thread(find, indexes, freshness, tenant, "warm", "en", 1)
    latency = LatencyModel("retriever", {"full": 0.0, "fewer_passages": 0.0}, time.time)
    async with open_tenant_parts(settings, read_words) as words:

        async def handler(routed: Routed) -> list[Message]:
            began_s = time.perf_counter()
            known = await words.at(routed.tenant, routed.generation)
            own = indexes.rewritten_by(known.thesaurus if known else None)
            ports = RetrieverPorts(in_thread(partial(find, own, freshness)), latency.required_degradation)
            [retrieved] = await retrieve(routed, ports)
            if routed.plan.k > 0:
                latency.observe(latency.level_of(retrieved), (time.perf_counter() - began_s) * 1000)
            return [retrieved]

        yield handler


def find(
    indexes: TenantIndexes, freshness: FreshnessJudge, tenant: str, text: str, language: str, k: int
) -> tuple[tuple[Passage, ...], Artefact | None]:
    """The k best passages of the tenant's index, and that; nothing for a tenant that has none."""
    index = indexes.index(tenant)
    if index is None:
        return (), None
    passages = freshness.judge(tenant, index.find(text, k, language))
    return tuple(passages), Artefact("index", tenant, index.version)


class KnownWords(NamedTuple):
    """Into which words questions are put; None: those that the index was opened with."""

    thesaurus: Thesaurus | None


def read_words(pack: PackInForce) -> KnownWords:
    """Those of a pack in force."""
    return KnownWords(pack.thesaurus)
