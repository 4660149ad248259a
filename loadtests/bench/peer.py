"""What a peer is given, so that it stores as much as we do: our streams and limits, under names of its own."""

from __future__ import annotations

from collections.abc import Sequence

from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig

from loadtests.bench.chain import SITE, Hop
from tidegate.brokers.jetstream import api as jetstream_api
from tidegate.brokers.stage import ACK_WAIT_S
from tidegate.brokers.topology.streams import MAX_ACK_PENDING, site_streams


async def declare(client: Client, peer: str, hops: Sequence[Hop]) -> None:
    """The streams of the hops as our site has them, setting for setting, `peer` before every name and subject."""
    ours = site_streams(SITE)
    for name in {hop.source for hop in hops} | {hop.sink for hop in hops}:
        subjects = [f"{peer}.{subject}" for subject in ours[name]["subjects"]]
        config = {**ours[name], "name": f"{peer.upper()}_{name}", "subjects": subjects}
        if "republish" in config:
            config["republish"] = {"src": subjects[0], "dest": f"live.{subjects[0]}"}
        await jetstream_api.put_stream(client, config, is_new=True)


def policy() -> ConsumerConfig:
    """When a peer's consumers redeliver: as ours do."""
    return ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S, max_ack_pending=MAX_ACK_PENDING)
