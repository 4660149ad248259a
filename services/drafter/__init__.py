"""The drafter: the edge's own answer, or the decision to ask the cloud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from brokers.base import House
from brokers.settings import Settings
from brokers.stage import Handler
from schemas import Answer, Artefact, Question, Retrieved
from services.drafter.handler import draft
from services.embedding import Embedder
from services.places import Places
from services.reading import Calibration, Reader, extracted, read_by
from services.search import Shelf

__all__ = ["open"]


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001, ARG001
    """The handler, its model warm and the indices open. Raises `NotCalibrated` when the site was not prepared."""
    places = Places(settings)
    embedder = await asyncio.to_thread(Embedder.load, places.models)
    calibration = Calibration.load(places.calibration)
    reader = Reader(embedder, calibration)
    shelf = Shelf(settings.tenants, places.index, embedder, exact_below=settings.retriever.exact_below)

    async def read(retrieved: Retrieved) -> tuple[Answer, tuple[Artefact, ...]]:
        return await asyncio.to_thread(read_by, reader, shelf, retrieved.tenant, retrieved.question, retrieved.passages)

    async def extract(question: Question) -> Answer:
        return await asyncio.to_thread(extracted, question.text, question.schema)

    for tenant in settings.tenants:
        await asyncio.to_thread(shelf.index, tenant)
    yield partial(
        draft,
        read=read,
        extract=extract,
        escalate_below=settings.drafter.escalate_below,
        beyond=frozenset(calibration.beyond),
    )
