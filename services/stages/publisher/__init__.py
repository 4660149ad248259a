"""The publisher's composition root: the handler, and the writer of the log of what is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.schemas import Approved, Artefact, ForecastOutcome, Message, Published, Replied, Withheld
from tidegate.schemas.subjects import PARTIAL_APPROVED
from tidegate.services.fleet.tenant_parts import open_tenant_parts
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.load import identify_pack
from tidegate.services.planning.experience import outcome_of
from tidegate.services.settings import Settings
from tidegate.services.stages.publisher.handler import PublisherPorts, publish
from tidegate.services.stages.publisher.metrics import FreshnessMetrics
from tidegate.services.streaming.log_writer import AnswerLogWriter

METRICS = FreshnessMetrics()


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001 - a root is `open`
    """Yield the handler once the versions that go into every receipt are known. Raises `PackError`.

    Beside it, what the policy lets pass of answers in the making goes into the log of what is shown.
    """
    software = Artefact("software", "tidegate", version("tidegate"))
    writer = AnswerLogWriter(bus)
    await bus.listen(PARTIAL_APPROVED, writer.on_partial)
    ports = PublisherPorts(writer.committed_part, writer.close, forecast_outcome)
    async with open_tenant_parts(settings, name_pack) as packs:

        async def handler(settled: Approved | Withheld | Replied) -> list[Message]:
            pack = await packs.at(settled.tenant, settled.generation)
            published = await publish(settled, ports, (software, pack) if pack else (software,))
            for each in published:
                if isinstance(each, Published):
                    METRICS.count(each)
            return published

        yield handler


def name_pack(pack: PackInForce) -> Artefact:
    """A pack in force as a receipt names it: its folder by name and version, or a generation by its number and digest.

    Raises `PackError`.
    """
    if pack.number:
        return Artefact("pack", pack.tenant, pack.digest[:12], pack.number)
    return Artefact("pack", *identify_pack(pack.directory))


def forecast_outcome(settled: Approved | Withheld) -> ForecastOutcome | None:
    """When an answer was expected by its plan, and when it was judged."""
    return outcome_of(settled.plan, settled.route, settled.timings, settled.degradations)
