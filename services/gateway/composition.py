"""The ways into a site: an HTTP API as OpenAI's, and NATS. Not a stage; it runs beside them, or alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from tidegate.brokers.base import Bus
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.process.background import running
from tidegate.services.access.callers import Callers
from tidegate.services.access.oidc import OidcTokens
from tidegate.services.fleet.access import open_access_keys
from tidegate.services.fleet.asked_index import keep_noting
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.machine_clock import open_steady_clock
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.refusal_counts import COUNTS, reporting
from tidegate.services.fleet.stream_fills import keep_looking
from tidegate.services.fleet.vault import open_vault
from tidegate.services.gateway.http.body import HttpTimes
from tidegate.services.gateway.http.server import Metrics, all_metrics, serve_http
from tidegate.services.gateway.ingress import Ingress, IngressLimits
from tidegate.services.gateway.nats import serve_nats
from tidegate.services.settings import Settings


@asynccontextmanager
async def open(  # noqa: A001 a composition root is called `open` here
    settings: Settings, bus: Bus, metrics: Metrics = all_metrics
) -> AsyncIterator[Ingress]:
    """Serve HTTP and NATS; both take requests when this yields, and `StatePaths.gateway` holds the HTTP address.

    On leaving, nothing more is accepted, and those who wait get their answers for `settings.grace_s` seconds: leave
    before the stages and the bus do. `metrics` gives what GET /metrics answers, and is called in a thread.

    Raises `AddressUnavailableError` when the HTTP address cannot be had, `OidcSettingsError`, and as `open_vault`.
    """
    paths = StatePaths(settings)
    with closing(open_vault(settings)) as vault:
        limits = settings.gateway.limits
        ingress = Ingress(settings, bus, vault, IngressLimits(max_streams=limits.max_streams))
        await ingress.open()
        callers = open_callers(settings)
        times, spool = HttpTimes(body_timeout_s=limits.body_timeout_s), EventSpool(paths.audit_events)
        loops = []
        if isinstance(bus, JetStreamBus):
            loops = [
                keep_noting(lambda: bus.link.client, vault, settings.retention),
                keep_looking(lambda: bus.link.client, ingress.room.look_at),
            ]
        async with (
            running(*loops),
            reporting(COUNTS, spool),
            serve_http(ingress, callers, metrics, times),
        ):
            await serve_nats(ingress, callers)
            try:
                yield ingress
            finally:
                await ingress.close()


def open_callers(settings: Settings) -> Callers:
    """Who is let in, as the settings and the keys of this machine say. Raises `OidcSettingsError`,
    `UnreadableError`."""
    oidc = settings.gateway.oidc
    clock = open_steady_clock(StatePaths(settings))
    return Callers(open_access_keys(settings), OidcTokens(oidc, clock.now_ms) if oidc.issuer else None)
