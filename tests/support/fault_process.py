"""One process of a small fleet: `python -m tests.support.fault_process ROLE STATE URL PORT`: the stages or the gateway
of its site, or the worker of its hub.

The stages are those of gateway_site.py, but for the fast lane, which is the product's own with nothing to say by
itself; whoever starts a process kills, stops and starts it again. Next: request_faults.py."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.gateway_site import Site, work
from tests.support.working_hub import working_hub
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.process.background import running
from tidegate.brokers.servers.credentials import seed_file_of
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.stage import Handler
from tidegate.schemas import Answer, Artefact, Escalated
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.stream_fills import keep_looking
from tidegate.services.fleet.vault import open_vault
from tidegate.services.gateway.composition import open_callers
from tidegate.services.gateway.http.server import all_metrics, serve_http
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.settings import GatewaySettings
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.settings import Settings
from tidegate.services.stages.fast_lane import ask_hub, committed_part
from tidegate.services.stages.fast_lane.handler import FastLanePorts, ask_in_time
from tidegate.services.uplink.stream_check import open_stream_guard

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


def fast_lane_of(settings: Settings, bus: JetStreamBus) -> Handler:
    """The fast lane of a site that can answer nothing alone."""

    async def answer_alone(_: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        return Answer(text=""), ()

    ports = FastLanePorts(partial(ask_hub, settings, bus), answer_alone, partial(committed_part, bus), time.time)
    return lambda escalated: ask_in_time(escalated, ports, lambda _: 0.5)


async def serve_hub(bus: JetStreamBus) -> None:
    """Be the hub's worker, until killed."""
    async with working_hub(bus):
        await asyncio.Event().wait()


async def serve(role: str, settings: Settings, url: str) -> None:
    """Be the role, until killed."""
    domain = HUB if role == HUB else settings.site
    login = NatsSettings(url=url, nkey_seed_file=str(seed_file_of(Path(settings.state_dir), domain)))
    async with contextlib.AsyncExitStack() as stack:
        bus = await stack.enter_async_context(JetStreamBus.open(login, domain))
        if role == HUB:
            await serve_hub(bus)
        vault = stack.enter_context(contextlib.closing(open_vault(settings)))
        ingress = Ingress(settings, bus, vault)
        site = Site(settings, bus, vault, ingress)
        site.may_answer.set()
        if role == "gateway":
            await ingress.open()
            await stack.enter_async_context(running(keep_looking(lambda: bus.link.client, ingress.room.look_at)))
            await stack.enter_async_context(serve_http(ingress, open_callers(settings), all_metrics))
            await asyncio.Event().wait()
        await stack.enter_async_context(open_stream_guard(settings, bus))
        own = {**site.handlers(), "fast-lane": fast_lane_of(settings, bus)}
        handlers = {name: slowly(handle) for name, handle in own.items()}
        await asyncio.gather(*(work(bus, stage, handlers[stage.name]) for stage in SITE_WORKERS))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], settings_of(Path(sys.argv[2]), int(sys.argv[4])), sys.argv[3]))
