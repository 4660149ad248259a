"""How full the streams of a domain are, looked at again and again: for the gateway, the metrics and `tidegate status`.

Promises that a stream which fills up is known before it refuses. Next: brokers/topology/fill.py, which judges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from tidegate.brokers.base import Bus, UnreachableError
from tidegate.brokers.jetstream.api import JetStreamApiError, read_fills
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.process.background import running
from tidegate.brokers.topology.fill import StreamFill
from tidegate.services.settings import Settings

EVERY_S = 1.0
SOON_S = 0.25
"""The same while a stream fills up: the fill decides then who is let in."""
log = structlog.get_logger()


class FillMetrics:
    """How full each stream is."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.share = Gauge(
            "tidegate_stream_fill_ratio",
            "How full a stream is, of 1; `when_full`: `refuses` or `gives_up_oldest`.",
            ["stream", "when_full"],
            registry=registry,
        )

    def show(self, fills: tuple[StreamFill, ...]) -> None:
        """These are the streams that there are."""
        for each in fills:
            self.share.labels(each.stream, "gives_up_oldest" if each.gives_up_oldest else "refuses").set(each.share)


METRICS = FillMetrics()


async def keep_looking(client: Callable[[], Any], tell: Callable[[tuple[StreamFill, ...]], None]) -> None:
    """Tell how full the streams are, for ever. `client` gives the connection as it is now; while there is none, what
    was told last stands."""
    last_fault = ""
    while True:
        fills: tuple[StreamFill, ...] = ()
        try:
            fills = await read_fills(client())
            METRICS.show(fills)
            tell(fills)
            last_fault = ""
        except (UnreachableError, JetStreamApiError) as error:
            if repr(error) != last_fault:
                log.warning("streams_not_seen", action="streams_not_seen", exc_info=error)
            last_fault = repr(error)
        await asyncio.sleep(SOON_S if any(each.is_near for each in fills) else EVERY_S)


@asynccontextmanager
async def open_fill_metrics(settings: Settings, bus: Bus) -> AsyncIterator[None]:
    """Keep the metrics of a domain that has no gateway, until left."""
    del settings
    assert isinstance(bus, JetStreamBus)  # in memory there is no limit
    async with running(keep_looking(lambda: bus.link.client, lambda _: None)):
        yield


def find_fill_problems(domain: str, fills: tuple[StreamFill, ...]) -> list[str]:
    """What is to be said of the streams of a domain that fill up."""
    hint = "make it larger (`retention.sizes`), or have it keep less"
    return [f"{domain}: {each}{' and refuses' if each.is_full else ''}; {hint}" for each in fills if each.is_near]
