"""The edge runtime and requests to it, for the tests that run it alone and with a hub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidegate import EdgeRuntime
from tidegate.schemas import Asked
from tidegate.services.settings import Settings

AT_THE_EDGE = "How long does a guest wifi session last?"
AT_THE_HUB = "Who heads the art advisory service, and where is wine stored?"
"""Only the hub has the document; the answer has two sentences, the first of which is committed by itself."""
LONG_MS = 60_000
"""So that nothing is given up for want of time on a busy machine."""


@asynccontextmanager
async def open_runtime(site: Settings, hub_url: str | None = None) -> AsyncIterator[EdgeRuntime]:
    runtime = await EdgeRuntime.init(site.models_dir, site.pack_dir, site.state_dir, site, hub_url=hub_url)
    try:
        yield runtime
    finally:
        await runtime.close()


def asked(text: str, **more: object) -> Asked:
    return Asked(tenant="kiosk", text=text, **{"budget_ms": LONG_MS, **more})  # type: ignore[arg-type]


async def serve(runtime: EdgeRuntime, request: Asked) -> str:
    return "".join([piece async for piece in runtime.serve(request)])
