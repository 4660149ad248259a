"""The publisher's composition root."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from tidegate.brokers.base import House
from tidegate.brokers.settings import Settings
from tidegate.brokers.stage import Handler


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001 - the house's word for it
    """Yield the handler once the versions that go into every receipt are known. Raises `BadPack`.

    Beside it, what the policy lets pass of answers in the making goes into the log of what is shown.
    """
    from tidegate.schemas import Artefact
    from tidegate.schemas.subjects import PARTIAL_APPROVED
    from tidegate.services.fleet.paths import Places
    from tidegate.services.packs.load import load_pack
    from tidegate.services.stages.publisher.handler import publish
    from tidegate.services.streaming.log_writer import Showing

    pack = load_pack(Places(settings).pack)
    versions = (Artefact("software", "tidegate", version("tidegate")), Artefact("pack", pack.name, pack.version))
    showing = Showing(house)
    await house.listen(PARTIAL_APPROVED, showing.hear)
    yield partial(publish, versions=versions, standing=showing.standing, close=showing.close)
