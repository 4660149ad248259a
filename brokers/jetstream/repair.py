"""Reads how far the hub's stream and a site's mirror of it are, and makes what goes with a stream.

Next: ../topology/faults.py, which judges the two; granting.py, by which a mirror is made anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nats.aio.client import Client

from tidegate.brokers.jetstream import api, history
from tidegate.brokers.topology.faults import MirrorFacts, OriginFacts
from tidegate.brokers.topology.streams import SECOND_NS, down_consumer, filters_of, sync_consumers

NO_STREAM = 10059  # nats-server, JSStreamNotFoundErr
_NEVER = -1


async def read_origin(hub: Client, stream: str, site: str, ends: Iterable[int]) -> OriginFacts:
    """How far a stream of the hub is for a site whose mirror ends, or once ended, at the sequences `ends`.

    Raises `JetStreamApiError` where there is neither stream nor carrier, `TopologyMissingError`, `UnreachableError`.
    """
    state = (await api.call(hub, f"STREAM.INFO.{stream}"))["state"]
    carrier = await api.call(hub, f"CONSUMER.INFO.{stream}.{down_consumer(site)}")
    pages = [await history.first_messages(hub, stream, each, 0, 1) for each in filters_of(carrier["config"]) or [">"]]
    return OriginFacts(
        stream=stream,
        first=min((page[0].sequence for page in pages if page), default=state["last_seq"] + 1),
        last=state["last_seq"],
        ends=await _read_times(hub, stream, ends),
    )


async def read_mirror(site: Client, stream: str) -> MirrorFacts:
    """How far a site's mirror is. Raises `JetStreamApiError`, `TopologyMissingError`, `UnreachableError`."""
    info = await api.call(site, f"STREAM.INFO.{stream}")
    state = info["state"]
    return MirrorFacts(
        stream=stream,
        messages=state["messages"],
        first=state["first_seq"] if state["messages"] else state["last_seq"] + 1,
        last=state["last_seq"],
        ends=await _read_times(site, stream, [state["last_seq"]] if state["messages"] else []),
        silent_s=_silent_s(info.get("mirror") or {}),
    )


async def put_sync_consumers(nc: Client, domain: str, stream: str) -> None:
    """Make the consumers of the domain's sync worker on a stream, where they are missing.

    Raises `JetStreamApiError`, `UnreachableError`.
    """
    existing = await api.consumers(nc, stream)
    for name, config in sync_consumers(domain).items():
        if name.startswith(f"{stream}/") and name not in existing:
            await api.put_consumer(nc, stream, config, is_new=True)


async def delete_stream(nc: Client, stream: str) -> None:
    """Delete it, with what it holds; nothing where there is none. Raises `JetStreamApiError`, `UnreachableError`."""
    try:
        await api.call(nc, f"STREAM.DELETE.{stream}")
    except api.JetStreamApiError as error:
        if error.err_code != NO_STREAM:
            raise


def _silent_s(link: dict[str, Any]) -> float | None:
    active = link.get("active", _NEVER)
    return None if active == _NEVER else active / SECOND_NS


async def _read_times(nc: Client, stream: str, sequences: Iterable[int]) -> dict[int, int]:
    """When the messages of these sequences were stored, as far as they are there."""
    found = [await history.message(nc, stream, sequence) for sequence in sequences]
    return {stored.sequence: round(stored.stored_at_s * 1000) for stored in found if stored}
