"""A hub that answers what the site of `escalation_site` escalates, by any backend, beside a server with a model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.chat_server import ModelServer
from tests.support.escalation_site import at_hub, escalated
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.stage import Handler
from tidegate.schemas import (
    Escalated,
    Verified,
    replace,
)
from tidegate.services.stages import cloud_verifier
from tidegate.services.stages.settings import CloudVerifierSettings

WHO = "Who is the chief executive of the bank?"


@asynccontextmanager
async def hub(backend: str, **more: object) -> AsyncIterator[tuple[Handler, MemoryBus, ModelServer]]:
    bus = MemoryBus("hub")
    async with ModelServer().serving() as server:
        server.chats = more.pop("chats", True) is True
        model = "echo" if backend in ("openai", "completions") else ""
        cloud = CloudVerifierSettings(backend=backend, base_url=server.url, **{"model": model, **more})  # type: ignore[arg-type]
        async with cloud_verifier.open(at_hub(cloud), bus) as handle:
            yield handle, bus, server


def written(text: str = WHO, backend: str = "openai", **more: object) -> Escalated:
    """An escalated question whose answer the chat server may write; other backends are asked as ever."""
    fact = escalated(text, **more)
    return replace(fact, plan=replace(fact.plan, writing="grounded")) if backend == "openai" else fact


async def verdict_of(handle: Handler, fact: Escalated) -> Verified:
    (verified,) = await handle(fact)
    assert isinstance(verified, Verified)
    return verified
