"""One process of a small site: `python -m tests.support.fault_process ROLE STATE URL PORT`, the stages or the gateway.

The stages are those of gateway_site.py; whoever starts it kills, stops and starts it again. Next: request_faults.py."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.gateway_site import Site, work
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.process.background import running
from tidegate.brokers.settings import NatsSettings
from tidegate.services.fleet.stream_fills import keep_looking
from tidegate.services.fleet.vault import open_vault
from tidegate.services.gateway.composition import open_callers
from tidegate.services.gateway.http.server import all_metrics, serve_http
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.settings import GatewaySettings
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.settings import Settings

WORK_S = 0.02
"""What each stage takes for a message, so that there is always something in hand when a process is killed."""


def settings_of(state: Path, port: int) -> Settings:
    """Those of both processes and of whoever looks at them."""
    models = str(state / "models")
    return Settings(state_dir=str(state), models_dir=models, gateway=GatewaySettings(port=port), grace_s=1.0)


def slowly(handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The handler, which takes `WORK_S` longer."""

    async def work_on(message: Any) -> Any:
        await asyncio.sleep(WORK_S)
        return await handle(message)

    return work_on


async def serve(role: str, settings: Settings, url: str) -> None:
    """Be the role, until killed."""
    async with contextlib.AsyncExitStack() as stack:
        vault = stack.enter_context(contextlib.closing(open_vault(settings)))
        bus = await stack.enter_async_context(JetStreamBus.open(NatsSettings(url=url), settings.site))
        ingress = Ingress(settings, bus, vault)
        site = Site(settings, bus, vault, ingress)
        site.may_answer.set()
        if role == "gateway":
            await ingress.open()
            await stack.enter_async_context(running(keep_looking(lambda: bus.link.client, ingress.room.look_at)))
            await stack.enter_async_context(serve_http(ingress, open_callers(settings), all_metrics))
            await asyncio.Event().wait()
        handlers = {name: slowly(handle) for name, handle in site.handlers().items()}
        await asyncio.gather(*(work(bus, stage, handlers[stage.name]) for stage in SITE_WORKERS))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], settings_of(Path(sys.argv[2]), int(sys.argv[4])), sys.argv[3]))
