"""Changes what a site is granted, at the hub alone: the site makes stale mirrors anew when it hears of them.

Promises that a grant which was cut may be made again, and that no mirror stays stale without it being known: that is
kept with the consumer. Next: regrant.py, where both ends are at hand; ../topology/downlink.py, what a grant is."""

from __future__ import annotations

from collections.abc import Iterable

from nats.aio.client import Client

from tidegate.brokers.jetstream import api, history
from tidegate.brokers.jetstream.repair import read_origin
from tidegate.brokers.topology.downlink import Downlink, downlink_of
from tidegate.brokers.topology.faults import ReceiverFacts, find_fault
from tidegate.brokers.topology.plan import filters_with
from tidegate.brokers.topology.streams import DOWN, Config, down_consumer, filters_of, sourcing_consumers
from tidegate.schemas.subjects import HUB, VERDICTS

GRANTED = tuple(stream for stream in DOWN if stream != VERDICTS)
STALE = "tidegate-stale"
"""The metadata of a consumer whose mirror lacks something that it was granted later."""


async def read_grants(hub: Client) -> dict[str, Downlink]:
    """What each linked site is granted. Raises `JetStreamApiError`, `UnreachableError`."""
    carriers = {stream: await api.consumers(hub, stream) for stream in GRANTED}
    prefix = down_consumer("")
    sites = {name.partition(f"/{prefix}")[2] for found in carriers.values() for name in found if f"/{prefix}" in name}
    grants = {}
    for site in sites:
        own = {stream: found.get(f"{stream}/{down_consumer(site)}", {}) for stream, found in carriers.items()}
        grants[site] = downlink_of({stream: filters_of(config) for stream, config in own.items()}, own)
    return grants


async def grant(hub: Client, site: str, downlink: Downlink) -> tuple[str, ...]:
    """Make `downlink` what a linked site gets from now on; returns the streams that are stale at the site by it.

    Those are the streams of which the hub holds something that is newly granted: it lies before the end of the mirror.
    Raises `JetStreamApiError`, `UnreachableError`.
    """
    declared = sourcing_consumers(HUB, {site: downlink})
    stale = []
    for stream in GRANTED:
        name = f"{stream}/{down_consumer(site)}"
        there = (await api.consumers(hub, stream)).get(name)
        if there is None:
            continue
        before, after = set(filters_of(there)), set(declared[name]["filter_subjects"])
        if before == after and not _differs(declared[name], there):
            continue
        is_stale = any([await history.first_messages(hub, stream, gained, 0, 1) for gained in after - before])
        await _put(hub, stream, {**filters_with(there), **declared[name]}, is_stale or _is_stale(there))
        stale += [stream] if is_stale else []
    return tuple(stale)


async def read_stale(hub: Client, site: str) -> tuple[str, ...]:
    """The streams whose mirror at the site has to be made anew. Raises `JetStreamApiError`, `UnreachableError`."""
    name = down_consumer(site)
    carriers = {stream: await api.consumers(hub, stream) for stream in GRANTED}
    return tuple(stream for stream, found in carriers.items() if _is_stale(found.get(f"{stream}/{name}", {})))


async def find_stale(hub: Client, site: str, mirrors: Iterable[ReceiverFacts]) -> tuple[str, ...]:
    """Which of a site's mirrors, by what they held a moment ago, lack what was sent to them, or hold what the hub has
    lost: a new disk, a stream that was restored. They are stale from now on. Raises `JetStreamApiError`,
    `UnreachableError`."""
    stale = []
    for mirror in mirrors:
        if mirror.stream not in GRANTED or find_fault(mirror, await read_origin(hub, mirror.stream, site)) is None:
            continue
        there = (await api.call(hub, f"CONSUMER.INFO.{mirror.stream}.{down_consumer(site)}"))["config"]
        await _put(hub, mirror.stream, filters_with(there), is_stale=True)
        stale.append(mirror.stream)
    return tuple(stale)


async def rewind_carrier(hub: Client, site: str, stream: str) -> None:
    """Send the stream from its first message on to a mirror that was deleted, and is made again after this.

    Raises `JetStreamApiError`, also for a stream or a site that is not granted anything; `UnreachableError`.
    """
    there = (await api.call(hub, f"CONSUMER.INFO.{stream}.{down_consumer(site)}"))["config"]
    await api.rewind(hub, stream, down_consumer(site), 1)
    await _put(hub, stream, filters_with(there), is_stale=False)


async def _put(hub: Client, stream: str, config: Config, is_stale: bool) -> None:
    kept = {key: value for key, value in (config.get("metadata") or {}).items() if key != STALE}
    metadata = {**kept, STALE: "1"} if is_stale else kept
    await api.put_consumer(hub, stream, {**config, "metadata": metadata}, is_new=False)


def _is_stale(consumer: Config) -> bool:
    return STALE in (consumer.get("metadata") or {})


def _differs(declared: Config, there: Config) -> bool:
    return any(there.get(field) != wanted for field, wanted in declared.items() if field == "rate_limit_bps")
