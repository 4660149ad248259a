"""The drafter: the edge's own answer, or the decision to ask the cloud."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

from tidegate.brokers.base import House, Wire
from tidegate.brokers.settings import Settings
from tidegate.brokers.stage import Handler
from tidegate.schemas import (
    Answer,
    Artefact,
    Draft,
    Escalated,
    Message,
    Partial,
    Refused,
    Retrieved,
    Stood,
    Verified,
    decode,
    encode,
    subjects,
)
from tidegate.services.answering import draft_of, draft_saying
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index.tenant_indexes import Shelf
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.read import survey_by
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.llm.json_extraction import filled
from tidegate.services.llm.site_model import Writer
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.privacy.dlp import Detector
from tidegate.services.stages.drafter.answer_cache import Memory
from tidegate.services.stages.drafter.answer_cache_writer import Learner
from tidegate.services.stages.drafter.handler import Extract, Loop, LoopLost, Read, draft
from tidegate.services.stages.drafter.latency import Paces, Stopwatch
from tidegate.services.stages.drafter.site_models import Writers
from tidegate.services.uplink.verification_client import Guess, Looping

__all__ = ["open"]

LOOPS_AT_ONCE = 8
"""So that questions that wait for the link leave room for those that do not."""


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001
    """The handler, its model warm and the indices open. Raises `NotCalibrated` when the site was not prepared."""
    paths = StatePaths(settings)
    embedder = await asyncio.to_thread(Embedder.load, paths.models)
    calibration = Calibration.load(paths.calibration)
    reader = Reader(embedder, calibration)
    writers = await asyncio.to_thread(Writers, paths.models, settings.drafter.adapters)
    tokens = writers.of("").tokenizer
    detector = Detector(settings.prefilter.phone_regions)
    shelf = Shelf(settings.tenants, paths.index, embedder, exact_below=settings.retriever.exact_below)

    async def tell(partial: Partial) -> None:
        await house.tell(subjects.partial(False, partial.tenant, partial.rid), encode(partial))

    learner = await learning(settings, house, detector, tokens)
    for tenant in settings.tenants:
        await asyncio.to_thread(shelf.index, tenant)
    paces = Paces()
    loop = looping(house, settings.site, writers.of)

    decide = partial(
        draft,
        read=reading(reader, shelf, detector, tokens),
        extract=extracting(writers),
        tell=tell,
        recall=learner.recall,
        escalate_below=settings.drafter.escalate_below,
        short_of=paces.short_of,
        beyond=frozenset(calibration.beyond),
    )

    async def handler(retrieved: Retrieved) -> list[Message]:
        watch = Stopwatch()
        [made] = await decide(retrieved, loop=watch.without(loop))
        paces.took(retrieved, made, watch.ms)
        return [made]

    yield handler


def extracting(writers: Writers) -> Extract:
    """Fills schemas with the tenant's own model."""

    async def extract(retrieved: Retrieved) -> Answer:
        question = retrieved.question
        return await asyncio.to_thread(filled, writers.of(retrieved.tenant), question.text, question.schema)

    return extract


def reading(reader: Reader, shelf: Shelf, detector: Detector, tokens: TokenText) -> Read:
    """The edge's own answer, and with it the draft, where nothing in that is personal data."""

    def look(retrieved: Retrieved) -> tuple[Answer, tuple[Artefact, ...], Draft | None]:
        survey, parts = survey_by(reader, shelf, retrieved.tenant, retrieved.question, retrieved.passages)
        if survey is None:
            return Answer(text=""), parts, None
        may_leave = not detector.find(survey.answer.text)
        return survey.answer, parts, draft_of(tokens, survey) if may_leave else None

    async def read(retrieved: Retrieved) -> tuple[Answer, tuple[Artefact, ...], Draft | None]:
        return await asyncio.to_thread(look, retrieved)

    return read


def looping(
    house: Wire,
    site: str,
    writer_of: Callable[[str], Writer],
    *,
    at_once: int = LOOPS_AT_ONCE,
    clock: Callable[[], float] = time.time,
) -> Loop:
    """Loops with the hub, for which the tenant's own model drafts; at most `at_once`, what is beyond is not begun."""
    slots = asyncio.Semaphore(at_once)

    async def ask(worker: str, request: Message, timeout_s: float) -> Message:
        said = await house.request(subjects.loop(site, worker), encode(request), timeout_s=timeout_s)
        reply: Message = decode(said, Stood, Verified, Refused)
        return reply

    async def loop(escalated: Escalated) -> Verified:
        writer = writer_of(escalated.tenant)

        def drafting(prompt: Sequence[int], quotes: bool) -> Guess:
            drafter = writer.drafting(escalated.plan.drafters, prompt, quotes=quotes)

            async def guess(ids: Sequence[int], k: int) -> list[int]:
                return await asyncio.to_thread(drafter.propose, ids, k)

            return guess

        if slots.locked():
            raise LoopLost(f"{at_once} loops are running already")
        async with slots:
            digest = writer.tokenizer.digest
            return await Looping(escalated, digest, ask=ask, drafting=drafting, clock=clock).verdict()

    return loop


async def learning(settings: Settings, house: House, detector: Detector, tokens: TokenText) -> Learner:
    """The memory of what the cloud answers, filled from now on; it stays empty where the settings give it no room."""
    most, age_s = settings.drafter.past_answers, settings.drafter.past_answers_s
    learner = Learner(
        house, Memory(settings.tenants, most, age_s, time.monotonic), detector, partial(draft_saying, tokens)
    )
    if most:
        await house.listen(subjects.LIVE_ANSWERS, learner.hear)
    return learner
