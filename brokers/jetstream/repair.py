"""Reads how far the two ends of a stream are, and mends what JetStream does not: a wiped mirror, a rolled-back origin.

Promises that a repair which was cut at any step may be called again. Next: ../topology/faults.py, which judges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from nats.aio.client import Client

from tidegate.brokers.base import StoredMessage, UnreachableError
from tidegate.brokers.jetstream import api, history
from tidegate.brokers.topology.faults import OriginFacts, ReceiverFacts
from tidegate.brokers.topology.plan import Topology
from tidegate.brokers.topology.streams import (
    SECOND_NS,
    UP_CONSUMER,
    down_consumer,
    filters_of,
    site_streams,
    sync_consumers,
)
from tidegate.schemas.subjects import HUB

NO_STREAM = 10059  # nats-server, JSStreamNotFoundErr
COPY_WITHIN_S = 60.0
POLL_S = 0.01
_NEVER = -1


async def read_origin(nc: Client, stream: str, to: str) -> OriginFacts:
    """How far a stream is in the domain where it begins, and its carrier `to` the hub or to a site.

    Raises `JetStreamApiError` where there is neither stream nor carrier, `UnreachableError`.
    """
    state = (await api.call(nc, f"STREAM.INFO.{stream}"))["state"]
    carrier = await api.call(nc, f"CONSUMER.INFO.{stream}.{UP_CONSUMER if to == HUB else down_consumer(to)}")
    pages = [await history.first_messages(nc, stream, each, 0, 1) for each in filters_of(carrier["config"]) or [">"]]
    return OriginFacts(
        stream=stream,
        first=min((page[0].sequence for page in pages if page), default=state["last_seq"] + 1),
        last=state["last_seq"],
        acknowledged=carrier["ack_floor"]["stream_seq"],
    )


async def read_mirror(nc: Client, stream: str) -> ReceiverFacts:
    """How far a site's mirror is. Raises `JetStreamApiError`, `UnreachableError`."""
    info = await api.call(nc, f"STREAM.INFO.{stream}")
    state, silent_s = info["state"], _silent_s(info.get("mirror") or {})
    first = state["first_seq"] if state["messages"] else state["last_seq"] + 1
    return ReceiverFacts(
        stream=stream, messages=state["messages"], first=first, last=state["last_seq"], silent_s=silent_s
    )


async def read_sourced(nc: Client, stream: str, site: str) -> ReceiverFacts:
    """How far the hub's stream is with what a site sends: by the site's first and last message, which name their
    sequences there, and by what the server takes for the last.

    Raises `JetStreamApiError`, `UnreachableError`.
    """
    subject = f"{stream.lower()}.{site}.>"
    info = await api.call(nc, f"STREAM.INFO.{stream}", {"subjects_filter": subject})
    sources: list[dict[str, Any]] = info.get("sources") or []
    source = next((each for each in sources if each["external"]["api"] == f"$JS.{site}.API"), {})
    messages = sum((info["state"].get("subjects") or {}).values())
    oldest = await history.first_messages(nc, stream, subject, 0, 1)
    last = max(_source_sequence(await history.last_message(nc, stream, subject)), source.get("seq") or 0)
    first = _source_sequence(oldest[0]) if oldest else last + 1
    return ReceiverFacts(stream=stream, messages=messages, first=first, last=last, silent_s=_silent_s(source))


async def mirror_again(hub: Client, site: Client, name: str, stream: str, first: int = 1) -> None:
    """Make a site's mirror anew, from the sequence `first` of the hub's stream on, with whatever it held gone.

    A new mirror asks for what follows on what its consumer has acknowledged: it would stay empty, with lag 0. So the
    consumer is rewound, once nobody listens to it and before anybody does (see decision 0025). Raises
    `JetStreamApiError`, `UnreachableError`.
    """
    await delete_stream(site, stream)
    await api.rewind(hub, stream, down_consumer(name), first)
    await put_mirror(site, name, stream)


async def put_mirror(site: Client, name: str, stream: str) -> None:
    """Make a site's mirror that was deleted, with the consumers of its sync worker, which went with it.

    Raises `JetStreamApiError`, `UnreachableError`.
    """
    await api.put_stream(site, site_streams(name)[stream], is_new=True)
    await put_sync_consumers(site, name, stream)


async def put_sync_consumers(nc: Client, domain: str, stream: str) -> None:
    """Make the consumers of the domain's sync worker on a stream, where they are missing.

    Raises `JetStreamApiError`, `UnreachableError`.
    """
    existing = await api.consumers(nc, stream)
    for name, config in sync_consumers(domain).items():
        if name.startswith(f"{stream}/") and name not in existing:
            await api.put_consumer(nc, stream, config, is_new=True)


async def restart_origin(
    nc: Client, declared: Topology, stream: str, first: int, is_known: Callable[[StoredMessage], bool]
) -> int:
    """Make a stream anew that was rolled back, with sequences from `first` on: one more than any receiver has.

    The receivers then take it for another stream, and all that it stores for new. What it holds, and what the other
    side does not have already (`is_known`), is stored again, under the ids that it had; it lies in a stream of its own
    in between. Returns how many messages that are. Raises `JetStreamApiError`, `UnreachableError`.
    """
    salvage = f"SALVAGE_{stream}"
    there = await api.streams(nc)
    if stream in there and there[stream].get("first_seq", 0) != first:
        if salvage not in there:
            await api.put_stream(nc, {"name": salvage, "mirror": {"name": stream}, "allow_direct": True}, is_new=True)
        await _until_copied(nc, stream, salvage)
        await delete_stream(nc, stream)
    if stream not in await api.streams(nc):
        await api.put_stream(nc, {**declared.streams[stream], "first_seq": first}, is_new=True)
    existing = await api.consumers(nc, stream)
    for consumer, config in declared.consumers.items():
        if consumer.startswith(f"{stream}/") and consumer not in existing:
            await api.put_consumer(nc, stream, config, is_new=True)
    if salvage not in await api.streams(nc):
        return 0
    lacking = [stored for stored in await history.messages(nc, salvage, ">") if not is_known(stored)]
    for stored in lacking:
        await _store(nc, stored)
    await delete_stream(nc, salvage)
    return len(lacking)


async def restore_lost(site: Client, hub: Client, stream: str, name: str) -> int:
    """Store at the hub again, under its id, what it has acknowledged of a site's stream and does not have (decision
    0025). It comes behind later ones: who reads it orders it by its author's chain. Returns how many messages that are.

    Raises `JetStreamApiError`, `UnreachableError`.
    """
    acknowledged = (await read_origin(site, stream, HUB)).acknowledged  # first: what is on its way is not lost
    subject = f"{stream.lower()}.{name}.>"
    there = {stored.headers.get("Nats-Msg-Id") for stored in await history.messages(hub, stream, subject)}
    lost = [
        stored
        for stored in await history.messages(site, stream, subject)
        if stored.sequence <= acknowledged and stored.headers.get("Nats-Msg-Id") not in there
    ]
    for stored in lost:
        await _store(hub, stored)
    return len(lost)


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


def _source_sequence(stored: StoredMessage | None) -> int:
    """The origin's sequence of a message that was sourced: the second word of the header that the server adds."""
    words = stored.headers.get("Nats-Stream-Source", "").split() if stored else []
    return int(words[1]) if len(words) > 1 else 0


async def _until_copied(nc: Client, stream: str, copy: str) -> None:
    wanted = (await api.call(nc, f"STREAM.INFO.{stream}"))["state"]["last_seq"]
    deadline_s = asyncio.get_running_loop().time() + COPY_WITHIN_S
    while (await read_mirror(nc, copy)).last < wanted:
        if asyncio.get_running_loop().time() > deadline_s:
            raise UnreachableError(f"{copy} is not a copy of {stream} within {COPY_WITHIN_S:g} s", "repair it again")
        await asyncio.sleep(POLL_S)


async def _store(nc: Client, stored: StoredMessage) -> None:
    kept = {name: value for name, value in stored.headers.items() if not name.startswith(("Nats-Stream", "Nats-Exp"))}
    reply = msgspec.json.decode((await nc.request(stored.subject, stored.data, headers=kept, timeout=5.0)).data)
    if error := reply.get("error"):
        raise api.JetStreamApiError(f"publish {stored.subject}", error.get("err_code", 0), error["description"])
