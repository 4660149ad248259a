"""The publisher's composition root."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.services.settings import Settings


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001 - the house's word for it
    """Yield the handler once the versions that go into every receipt are known. Raises `BadPack`.

    Beside it, what the policy lets pass of answers in the making goes into the log of what is shown.
    """
    from tidegate.schemas import Artefact
    from tidegate.schemas.subjects import PARTIAL_APPROVED
    from tidegate.services.fleet.paths import StatePaths
    from tidegate.services.packs.load import load_pack
    from tidegate.services.stages.publisher.handler import publish
    from tidegate.services.streaming.log_writer import AnswerLogWriter

    pack = load_pack(StatePaths(settings).pack)
    versions = (Artefact("software", "tidegate", version("tidegate")), Artefact("pack", pack.name, pack.version))
    showing = AnswerLogWriter(bus)
    await bus.listen(PARTIAL_APPROVED, showing.on_partial)
    yield partial(publish, versions=versions, standing=showing.committed_part, close=showing.close)
