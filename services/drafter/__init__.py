"""The drafter: the edge's own answer, or the decision to ask the cloud."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from brokers.base import House
from brokers.settings import Settings
from brokers.stage import Handler
from schemas import Answer, Artefact, Draft, Partial, Question, Retrieved, encode, subjects
from services.dlp import Detector
from services.drafter.handler import draft
from services.embedding import Embedder
from services.generation import CausalLM, TokenText, Writer, filled
from services.places import Places
from services.reading import Calibration, Reader, survey_by
from services.search import Shelf
from services.writing import draft_of

__all__ = ["open"]


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001
    """The handler, its model warm and the indices open. Raises `NotCalibrated` when the site was not prepared."""
    places = Places(settings)
    embedder = await asyncio.to_thread(Embedder.load, places.models)
    calibration = Calibration.load(places.calibration)
    reader = Reader(embedder, calibration)
    writer = Writer(await asyncio.to_thread(CausalLM, places.models / "lm" / "draft"))
    tokens: TokenText = writer.tokenizer
    detector = Detector(settings.prefilter.phone_regions)
    shelf = Shelf(settings.tenants, places.index, embedder, exact_below=settings.retriever.exact_below)

    def look(retrieved: Retrieved) -> tuple[Answer, tuple[Artefact, ...], Draft | None]:
        survey, parts = survey_by(reader, shelf, retrieved.tenant, retrieved.question, retrieved.passages)
        if survey is None:
            return Answer(text=""), parts, None
        may_leave = not detector.find(survey.answer.text)
        return survey.answer, parts, draft_of(tokens, survey) if may_leave else None

    async def read(retrieved: Retrieved) -> tuple[Answer, tuple[Artefact, ...], Draft | None]:
        return await asyncio.to_thread(look, retrieved)

    async def tell(partial: Partial) -> None:
        await house.tell(subjects.partial(False, partial.tenant, partial.rid), encode(partial))

    async def extract(question: Question) -> Answer:
        return await asyncio.to_thread(filled, writer, question.text, question.schema)

    for tenant in settings.tenants:
        await asyncio.to_thread(shelf.index, tenant)
    yield partial(
        draft,
        read=read,
        extract=extract,
        tell=tell,
        escalate_below=settings.drafter.escalate_below,
        beyond=frozenset(calibration.beyond),
    )
