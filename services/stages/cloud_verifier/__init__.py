"""The cloud verifier, at the hub: the answer to what an edge could not vouch for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from tidegate.brokers.base import House
from tidegate.brokers.settings import Settings
from tidegate.brokers.stage import Handler
from tidegate.schemas import Answer, Artefact, Escalated, Partial, Passage, encode
from tidegate.schemas.cloud import CloudState
from tidegate.schemas.subjects import fast_lane, loop, ping, said
from tidegate.services.answering.answerer import NONE_BELOW, Speaker
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index.tenant_indexes import Shelf
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.read import survey_by
from tidegate.services.knowledge.reader.reader import Reader, Survey
from tidegate.services.llm.targets.base import VerifyingTarget
from tidegate.services.stages.cloud_verifier.chat_backend import Chat
from tidegate.services.stages.cloud_verifier.handler import Backend, verify
from tidegate.services.stages.cloud_verifier.metrics import Meter
from tidegate.services.stages.cloud_verifier.targets import opened, state_of
from tidegate.services.uplink.single_flight import Desk
from tidegate.services.uplink.verification_server import Loops, no_loop

__all__ = ["open"]

EVERY_SITE = "*"
K = 8
METER = Meter()
"""One for the process, as the registry is."""


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001
    """The handler, with the fast lane answering on core subjects beside it; both share every verdict.

    Raises `NotCalibrated` where the hub was not prepared, `ModelMissing` where a target model is not there, and
    `ValueError` (backends `openai` and `completions`) without a base URL or a model.
    """
    paths = StatePaths(settings)
    embedder = await asyncio.to_thread(Embedder.load, paths.models)
    shelf = Shelf(settings.tenants, paths.index, embedder, exact_below=settings.retriever.exact_below)
    for tenant in settings.tenants:
        await asyncio.to_thread(shelf.index, tenant)
    hub = Hub(shelf, embedder)
    state: Callable[[], CloudState] = CloudState
    loops: Loops | None = None
    async with AsyncExitStack() as stack:
        backend: Backend
        if settings.cloud_verifier.backend == "openai":
            chat = Chat(settings.cloud_verifier, hub.find)
            stack.push_async_callback(chat.close)
            backend = chat.answer
        else:
            reader = Reader(embedder, Calibration.load(paths.calibration))
            backend = partial(hub.read, reader)
            if settings.cloud_verifier.backend != "extractive":
                target = await stack.enter_async_context(opened(settings))
                speaker = Speaker(target, partial(hub.survey, reader), partial(tell, house), METER.count)
                backend = speaker.answer
                state = partial(state_of, target)
                if isinstance(target, VerifyingTarget):
                    loops = Loops(speaker, target)
                    stack.callback(loops.close)
        desk = Desk(partial(verify, answer=backend))
        stack.push_async_callback(desk.close)
        await house.respond(fast_lane(EVERY_SITE), desk.reply)
        await house.respond(loop(EVERY_SITE), loops.begin if loops is not None else no_loop)
        if loops is not None:
            await house.respond(loop(EVERY_SITE, loops.worker), loops.go_on)
        await house.respond(ping(EVERY_SITE), partial(pong, state))
        yield desk.verdict


class Hub:
    """The hub's own corpus, as the backends see it."""

    def __init__(self, shelf: Shelf, embedder: Embedder) -> None:
        self._shelf = shelf
        self._embedder = embedder

    async def find(self, escalated: Escalated, k: int = K) -> tuple[tuple[Passage, ...], tuple[Artefact, ...]]:
        """The k best passages for the question, and the index that they come from; none for an unknown tenant."""
        return await asyncio.to_thread(self._find, escalated, k)

    async def survey(self, reader: Reader, escalated: Escalated) -> tuple[Survey | None, tuple[Artefact, ...]]:
        """What the reader makes of the best passages, and what had a part in it."""
        return await asyncio.to_thread(self._survey, reader, escalated)

    async def read(self, reader: Reader, escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        """The reader's own answer; an empty one where it has none."""
        survey, parts = await self.survey(reader, escalated)
        if survey is None or survey.answer.confidence < NONE_BELOW:
            return Answer(text=""), tuple(part for part in parts if part.kind != "document")
        return survey.answer, parts

    def _find(self, escalated: Escalated, k: int) -> tuple[tuple[Passage, ...], tuple[Artefact, ...]]:
        index = self._shelf.index(escalated.tenant)
        if index is None:
            return (), ()
        question = escalated.question
        focus = index.focus(question.text, question.language)
        passages = index.search(focus, self._embedder.embed(focus), k, question.language)
        return tuple(passages), (Artefact("index", f"hub/{escalated.tenant}", index.version),)

    def _survey(self, reader: Reader, escalated: Escalated) -> tuple[Survey | None, tuple[Artefact, ...]]:
        passages, parts = self._find(escalated, K)
        survey, used = survey_by(reader, self._shelf, escalated.tenant, escalated.question, passages)
        return survey, (*parts, *used)


async def tell(house: House, partial: Partial) -> None:
    """Say it to the site that asked, over the leaf."""
    await house.tell(said(partial.site, partial.tenant, partial.rid), encode(partial))


async def pong(state: Callable[[], CloudState], _: bytes) -> bytes:
    """The answer to a site's ping: how busy the hub is."""
    return encode(state())
