"""The drafter: the edge's own answer, or the decision to ask the cloud."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from brokers.base import House
from brokers.settings import Settings
from brokers.stage import Handler
from schemas import (
    Answer,
    Artefact,
    Concession,
    Draft,
    Drafted,
    Escalated,
    Message,
    Partial,
    Question,
    Retrieved,
    Rung,
    encode,
    subjects,
)
from services.deadline import Pace
from services.dlp import Detector
from services.drafter.handler import draft, rungs_of
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
    paces = Paces()

    async def handler(retrieved: Retrieved) -> list[Message]:
        began_s = time.perf_counter()
        [made] = await draft(
            retrieved,
            read=read,
            extract=extract,
            tell=tell,
            escalate_below=settings.drafter.escalate_below,
            short_of=paces.short_of,
            beyond=frozenset(calibration.beyond),
        )
        paces.took(retrieved, made, (time.perf_counter() - began_s) * 1000)
        return [made]

    yield handler


class Paces:
    """How fast the drafter is at each kind of its work."""

    def __init__(self) -> None:
        rungs: dict[Rung, float] = {"full": 0.0, "smaller_k": 0.0, "no_race": 0.0, "edge_only": 0.0}
        self._reading = Pace("drafter", rungs, time.time)
        self._extracting = Pace("drafter", {"full": 0.0}, time.time)

    def short_of(self, retrieved: Retrieved, rungs: frozenset[Rung]) -> Concession | None:
        """What has to be given up, of these rungs."""
        return self._of(retrieved).short_of(retrieved, rungs)

    def took(self, retrieved: Retrieved, made: Drafted | Escalated, worked_ms: float) -> None:
        """Learn from what was made; work that an earlier stage had called off says nothing."""
        pace, rungs = self._of(retrieved), rungs_of(retrieved)
        if rungs and pace.rung(retrieved, rungs) != "abstain":
            pace.took(pace.rung(made, rungs), worked_ms)

    def _of(self, retrieved: Retrieved) -> Pace:
        return self._extracting if retrieved.question.workload == "extract" else self._reading
