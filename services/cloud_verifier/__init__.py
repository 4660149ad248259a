"""The cloud verifier, at the hub: the answer to what an edge could not vouch for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from brokers.base import House
from brokers.settings import Settings
from brokers.stage import Handler
from schemas import Answer, Artefact, Escalated, Passage
from schemas.subjects import fast_lane, ping
from services.cloud_verifier.chat import Chat
from services.cloud_verifier.desk import Desk
from services.cloud_verifier.handler import Backend, verify
from services.embedding import Embedder
from services.places import Places
from services.reading import Calibration, Reader, read_by
from services.search import Shelf

__all__ = ["open"]

EVERY_SITE = "*"
K = 8
NONE_BELOW = 0.25
"""Confidence under which the hub says that it has no answer, rather than a wrong one."""


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001
    """The handler, with the fast lane answering on core subjects beside it; both share every verdict.

    Raises `NotCalibrated` (backend `embedded`) when the hub was not prepared, and `ValueError` (backend `openai`)
    without a base URL or a model.
    """
    places = Places(settings)
    embedder = await asyncio.to_thread(Embedder.load, places.models)
    shelf = Shelf(settings.tenants, places.index, embedder, exact_below=settings.retriever.exact_below)
    for tenant in settings.tenants:
        await asyncio.to_thread(shelf.index, tenant)
    async with AsyncExitStack() as stack:
        if settings.cloud_verifier.backend == "openai":
            chat = Chat(settings.cloud_verifier, partial(asyncio.to_thread, partial(find, shelf, embedder)))
            stack.push_async_callback(chat.close)
            backend: Backend = chat.answer
        else:
            reader = Reader(embedder, Calibration.load(places.calibration))
            backend = partial(asyncio.to_thread, partial(read, shelf, embedder, reader))
        desk = Desk(partial(verify, answer=backend))
        stack.push_async_callback(desk.close)
        await house.respond(fast_lane(EVERY_SITE), desk.reply)
        await house.respond(ping(EVERY_SITE), _pong)
        yield desk.verdict


def find(
    shelf: Shelf, embedder: Embedder, escalated: Escalated, k: int
) -> tuple[tuple[Passage, ...], tuple[Artefact, ...]]:
    """The hub's k best passages for the question, and the index that they come from; none for an unknown tenant."""
    index = shelf.index(escalated.tenant)
    if index is None:
        return (), ()
    focus = index.focus(escalated.question.text, escalated.question.language)
    passages = index.search(focus, embedder.embed(focus), k, escalated.question.language)
    return tuple(passages), (Artefact("index", f"hub/{escalated.tenant}", index.version),)


def read(shelf: Shelf, embedder: Embedder, reader: Reader, escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
    """The hub's own answer from its own corpus; an empty one where it has none."""
    passages, parts = find(shelf, embedder, escalated, K)
    answer, used = read_by(reader, shelf, escalated.tenant, escalated.question, passages)
    if answer.confidence < NONE_BELOW:
        return Answer(text=""), (*parts, *(part for part in used if part.kind == "model"))
    return answer, (*parts, *used)


async def _pong(data: bytes) -> bytes:
    return data
