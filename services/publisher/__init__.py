"""The publisher's composition root."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from brokers.base import House
from brokers.settings import Settings
from brokers.stage import Handler


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001, ARG001 - the form of all
    """Yield the handler once the versions that go into every receipt are known. Raises `BadPack`."""
    from schemas import Artefact
    from services.packs import load_pack
    from services.places import Places
    from services.publisher.handler import publish

    pack = load_pack(Places(settings).pack)
    versions = (Artefact("software", "tidegate", version("tidegate")), Artefact("pack", pack.name, pack.version))
    yield partial(publish, versions=versions)
