"""A prefilter with the intents of a branch, and requests of several turns for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from tests.support.branch_intents import INTENTS
from tests.support.paths import MODELS
from tidegate.schemas import Asked, Turn
from tidegate.schemas.pack import Pack
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.vault import open_vault
from tidegate.services.knowledge import intent_classifier as intent
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.privacy.sealing import seal_request
from tidegate.services.settings import Settings
from tidegate.services.stages import prefilter

PACK = Pack(
    name="p", version="1", path="", documents=(), intents=INTENTS, questions=(), calibration=(), policy_files=()
)


def with_intents(state: Path) -> Settings:
    """The settings of a site whose intents are made."""
    settings = Settings(state_dir=str(state), models_dir=str(MODELS))
    intent.prepare_intents(PACK, Embedder.load(MODELS), StatePaths(settings).intent_head)
    return settings


@asynccontextmanager
async def screening(settings: Settings) -> AsyncIterator[Any]:
    """What a request becomes there."""
    bus: Any = None
    with closing(open_vault(settings)) as vault:
        async with prefilter.open(settings, bus) as handler:
            yield lambda asked: handler(seal_request(vault, asked))


def asked(*turns: str, **fields: Any) -> Asked:
    """A request whose last turn is the question; those before it are the asker's and the answers in turn."""
    sides: tuple[Any, Any] = ("user", "assistant")
    history = tuple(Turn(sides[at % 2], text) for at, text in enumerate(turns[:-1]))
    whose: dict[str, Any] = {"rid": "r1", "tenant": "kiosk", "site": "site1", "asked_at_ms": 5, "deadline_at_ms": 4005}
    return Asked(text=turns[-1], history=history, **(whose | fields))
