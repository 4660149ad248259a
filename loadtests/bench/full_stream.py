"""What a refusal costs while `ANSWERS` is full, next to what an answer costs while it is not.

The stream is full for real, by its limit at the server; half of the requests bring an id, which is looked up first.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from loadtests.bench.measure import Bar, Entry, Measurement, MeasurementError, Target, quantile
from loadtests.bench.tenant_crowd import BUDGET_MS, QUIET, CrowdedSite, crowded_site
from tidegate.brokers.jetstream import api
from tidegate.schemas import Asked
from tidegate.schemas.subjects import ANSWERS
from tidegate.services.gateway.refusals import RequestRefusedError

REFUSALS = 200
REFUSAL = "a refusal"


async def fill(site: CrowdedSite) -> None:
    """Leave the stream of answers no room, and have the gateway look."""
    client = site.bus.link.client
    info = await api.call(client, f"STREAM.INFO.{ANSWERS}")
    await api.put_stream(client, {**info["config"], "max_bytes": info["state"]["bytes"]}, is_new=False)
    site.ingress.room.look_at(await api.read_fills(client))


async def refused_ms(site: CrowdedSite) -> tuple[float, ...]:
    """Milliseconds of each refusal. Raises `MeasurementError` where one is accepted."""
    taken = []
    for number in range(REFUSALS):
        rid = f"full{number}" if number % 2 else ""
        began_s = time.perf_counter()
        try:
            await site.ingress.accept(Asked(tenant=QUIET, rid=rid, text="When?", asker=QUIET, budget_ms=BUDGET_MS))
        except RequestRefusedError as error:
            if error.refused.code != "unavailable":
                raise
            taken.append((time.perf_counter() - began_s) * 1000)
            continue
        raise MeasurementError("a request was accepted whose answer has no room")
    return tuple(taken)


async def full_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Milliseconds until a refusal and until an answer, 95 of 100."""
    for _ in range(repeats):
        async with crowded_site() as site:
            alone = await site.alone()
            await fill(site)
            refused = await refused_ms(site)
        yield Measurement("peer", alone.value, alone.samples)
        yield Measurement("ours", quantile(refused, 0.95) or 0.0, {REFUSAL: refused})


FULL_STREAM_ENTRIES = (
    Entry(
        name="full_stream_refusal_ms",
        unit="ms, p95",
        peer_name="an answer of the same site before it was full",
        target=Target("≤", 0.5),
        blocks=full_blocks,
        bars=(Bar(samples=REFUSAL, quantile=0.95, target=Target("≤", 5.0)), Bar(samples=REFUSAL, quantile=1.0)),
    ),
)
