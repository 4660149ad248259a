"""How much of each stream waits for each stage of a domain, as its server says. Next: status.py, which shows it."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.brokers.jetstream import api
from tidegate.brokers.topology.streams import stage_consumers
from tidegate.services.pipeline import HUB_WORKERS, SITE_WORKERS


class StageLag(msgspec.Struct, kw_only=True):
    """Messages of a stream that wait for a stage, that it has in hand, and that were delivered more than once."""

    stage: str
    stream: str
    waiting: int
    in_hand: int
    redelivered: int


async def read_lag(client: Any, domain: str) -> list[StageLag]:
    """The lag of every stage of the domain. Raises `JetStreamApiError`, `UnreachableError`."""
    rows = []
    for consumer in stage_consumers((*SITE_WORKERS, *HUB_WORKERS), domain):
        stream, _, stage = consumer.partition("/")
        info = await api.call(client, f"CONSUMER.INFO.{stream}.{stage}")
        waiting, in_hand, again = (int(info[key]) for key in ("num_pending", "num_ack_pending", "num_redelivered"))
        rows.append(StageLag(stage=stage, stream=stream, waiting=waiting, in_hand=in_hand, redelivered=again))
    return rows
