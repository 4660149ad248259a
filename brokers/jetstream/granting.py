"""Changes what a site is granted: filters, rates and pauses of its carriers at the hub; its mirrors, at the site.

A mirror takes nothing that lies before its end: what is granted after it went by comes only when the site makes the
mirror anew. Every step may be cut and made again. Next: ../topology/downlink.py, what a grant is; repair.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from nats.aio.client import Client

from tidegate.brokers.jetstream import api, history
from tidegate.brokers.jetstream.repair import NO_STREAM, delete_stream, read_origin
from tidegate.brokers.settings import RetentionSettings
from tidegate.brokers.topology.downlink import Downlink, downlink_of, is_granted
from tidegate.brokers.topology.faults import MirrorFacts, StreamFault, find_fault
from tidegate.brokers.topology.streams import (
    DOWN,
    Config,
    down_consumer,
    filters_of,
    site_streams,
    sourcing_consumers,
)
from tidegate.schemas.subjects import HUB, VERDICTS, object_stream

NO_CONSUMER = 10014  # nats-server, JSConsumerNotFoundErr
GRANTED = tuple(stream for stream in DOWN if stream != VERDICTS)


class Carrier(msgspec.Struct, frozen=True):
    """A consumer that carries one of the hub's streams to a site: how far it is, how much it has still to carry, and
    until when it is held back, Unix time (0.0: it flows)."""

    config: Config
    delivered: int
    pending: int
    paused_until_s: float = 0.0


async def read_carriers(hub: Client, site: str) -> dict[str, Carrier]:
    """The carriers to a site, by stream; those that were declared. Raises `JetStreamApiError`, `UnreachableError`."""
    found = {}
    for stream in GRANTED:
        try:
            info = await api.call(hub, f"CONSUMER.INFO.{stream}.{down_consumer(site)}")
        except api.JetStreamApiError as error:
            if error.err_code not in (NO_CONSUMER, NO_STREAM):
                raise
            continue
        until = info["config"].get("pause_until") if info.get("paused") else None
        found[stream] = Carrier(
            config=info["config"],
            delivered=info["delivered"]["stream_seq"],
            pending=info["num_pending"],
            paused_until_s=datetime.fromisoformat(until).timestamp() if until else 0.0,
        )
    return found


def downlink_in(carriers: dict[str, Carrier]) -> Downlink:
    """What a site is granted, by its carriers."""
    filters = {stream: filters_of(carrier.config) for stream, carrier in carriers.items()}
    return downlink_of(filters, {stream: carrier.config for stream, carrier in carriers.items()})


async def put_downlink(hub: Client, site: str, downlink: Downlink, carriers: dict[str, Carrier]) -> tuple[str, ...]:
    """Make the carriers that there are carry just this; returns the streams whose carriers were changed.

    Raises `JetStreamApiError`, `UnreachableError`.
    """
    declared = sourcing_consumers(HUB, {site: downlink})
    changed = []
    for stream, carrier in carriers.items():
        wanted = declared[f"{stream}/{down_consumer(site)}"]
        rate = wanted.get("rate_limit_bps", 0)
        is_same = filters_of(carrier.config) == sorted(wanted["filter_subjects"])
        if not is_same or (carrier.config.get("rate_limit_bps") or 0) != rate:
            kept = {field: value for field, value in carrier.config.items() if field != "filter_subject"}
            await api.put_consumer(hub, stream, {**kept, **wanted, "rate_limit_bps": rate}, is_new=False)
            changed.append(stream)
    return tuple(changed)


async def pause_carrier(hub: Client, site: str, bucket: str, until_s: float) -> None:
    """Hold a bucket back from a site until then, Unix time; 0.0: no longer. What was sent arrives. Raises
    `JetStreamApiError`, `UnreachableError`."""
    until = {"pause_until": datetime.fromtimestamp(until_s, UTC).isoformat()} if until_s else {}
    await api.call(hub, f"CONSUMER.PAUSE.{object_stream(bucket)}.{down_consumer(site)}", until)


async def passed_by(hub: Client, stream: str, subjects: Sequence[str], carrier: Carrier) -> tuple[int, ...]:
    """The first message under each of these subjects, by its sequence, where its carrier comes by it no more.

    Some of them may be on their way, or be there. Raises `TopologyMissingError`, `UnreachableError`.
    """
    pages = [await history.first_messages(hub, stream, subject, 0, 1) for subject in subjects]
    first = [page[0].sequence for page in pages if page]
    return tuple(sorted(each for each in first if each <= carrier.delivered or not carrier.pending))


async def fault_of_mirror(hub: Client, site: str, mirror: MirrorFacts) -> StreamFault | None:
    """At the hub: what is wrong with a mirror, by what it held a moment ago. Raises `JetStreamApiError`,
    `TopologyMissingError`, `UnreachableError`."""
    return find_fault(mirror, await read_origin(hub, mirror.stream, site, mirror.ends))


async def lacks_any(site: Client, stream: str, sequences: Sequence[int]) -> bool:
    """At a site: whether its mirror lacks one of the hub's messages. Raises `TopologyMissingError`,
    `UnreachableError`."""
    found = [await history.message(site, stream, sequence) for sequence in sequences]
    return None in found


async def rewind_carrier(hub: Client, site: str, stream: str) -> None:
    """Have a mirror that the site has just deleted be sent from its beginning. Raises `JetStreamApiError`,
    `UnreachableError`."""
    await api.rewind(hub, stream, down_consumer(site), 1)


async def delete_mirror(site: Client, stream: str) -> None:
    """At a site: delete a mirror, which is then made anew by `make_mirror`; nothing where there is none."""
    await delete_stream(site, stream)


async def make_mirror(site: Client, name: str, stream: str, retention: RetentionSettings) -> None:
    """At a site: make a mirror anew, once its carrier was rewound."""
    await api.put_stream(site, site_streams(name, retention)[stream], is_new=True)


async def purge_ungranted(site: Client, stream: str, downlink: Downlink) -> int:
    """At a site: delete from a mirror what is not granted. Returns how many messages that were.

    Raises `JetStreamApiError`, `UnreachableError`.
    """
    filters, purged = downlink.filters(stream), 0
    state = (await api.call(site, f"STREAM.INFO.{stream}", {"subjects_filter": ">"}))["state"]
    for subject in state.get("subjects") or {}:
        if not is_granted(subject, filters):
            purged += (await api.call(site, f"STREAM.PURGE.{stream}", {"filter": subject}))["purged"]
    return purged
