"""Changes what a site is granted while both run: the filters of its carriers, and what its mirrors hold.

Promises that afterwards a mirror holds what was granted of what the hub still has, each message once, nothing else, and
that a change which was cut may be made again. Next: repair.py; ../topology/downlink.py, which is what a grant is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nats.aio.client import Client

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream import api, history
from tidegate.brokers.jetstream.declare import connect_site_to_hub, plan_hub
from tidegate.brokers.jetstream.grant import GRANTED
from tidegate.brokers.jetstream.repair import delete_stream, mirror_again, read_origin
from tidegate.brokers.stage import Stage
from tidegate.brokers.topology.downlink import Downlink, is_granted
from tidegate.brokers.topology.plan import FilterChange, TopologyPlan, filter_changes
from tidegate.brokers.topology.streams import down_consumer

ACKNOWLEDGED_WITHIN_S = 30.0
POLL_S = 0.05


async def regrant(
    hub: Client, site: Client, name: str, stages: Sequence[Stage], downlink: Downlink
) -> tuple[TopologyPlan, ...]:
    """Make `downlink` what the site gets. Returns what was done.

    A mirror takes nothing that lies before its end. So where the hub holds something of what is newly granted, the
    mirror is made anew, and gets all of it in order; its replicas read it again from their positions. What is no longer
    granted is deleted in the mirror, once nothing of it is on its way. Raises `JetStreamApiError`, `UnreachableError`.
    """
    changes = filter_changes(await plan_hub(hub, (name,), stages, {name: downlink}), down_consumer(name))
    for change in changes:
        if await _first_of(hub, change):
            await delete_stream(
                site, change.stream
            )  # first of all: a missing mirror is made whole by whoever comes next
    done = await connect_site_to_hub(hub, site, name, stages, downlink)
    for change in changes:
        # What was stored since it was looked for, and passed over while the filter was still the old one.
        delivered = await _delivered(hub, change.stream, name)
        first = await _first_of(hub, change)
        if first and first <= delivered and not await _first_of(site, change):
            await mirror_again(hub, site, name, change.stream)
        if change.lost:
            await _until_acknowledged(hub, change.stream, name, delivered)
    for stream in GRANTED:
        await purge_ungranted(site, stream, downlink)
    return done


async def purge_ungranted(site: Client, stream: str, downlink: Downlink) -> int:
    """Delete from a mirror what the site is not granted. Returns how many messages that were.

    Raises `JetStreamApiError`, `UnreachableError`.
    """
    filters, purged = downlink.filters(stream), 0
    state = (await api.call(site, f"STREAM.INFO.{stream}", {"subjects_filter": ">"}))["state"]
    for subject in state.get("subjects") or {}:
        if not is_granted(subject, filters):
            purged += (await api.call(site, f"STREAM.PURGE.{stream}", {"filter": subject}))["purged"]
    return purged


async def _first_of(nc: Client, change: FilterChange) -> int:
    """The sequence of the first message that is newly granted; 0: there is none."""
    pages = [await history.first_messages(nc, change.stream, gained, 0, 1) for gained in change.gained]
    return min((page[0].sequence for page in pages if page), default=0)


async def _delivered(hub: Client, stream: str, name: str) -> int:
    carrier = await api.call(hub, f"CONSUMER.INFO.{stream}.{down_consumer(name)}")
    return int(carrier["delivered"]["stream_seq"])


async def _until_acknowledged(hub: Client, stream: str, name: str, sequence: int) -> None:
    deadline_s = asyncio.get_running_loop().time() + ACKNOWLEDGED_WITHIN_S
    while (await read_origin(hub, stream, name)).acknowledged < sequence:
        if asyncio.get_running_loop().time() > deadline_s:
            reason = f"{name} has not acknowledged {sequence} of {stream} within {ACKNOWLEDGED_WITHIN_S:g} s"
            raise UnreachableError(reason, "see whether its link is up, then grant it again")
        await asyncio.sleep(POLL_S)
