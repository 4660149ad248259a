"""What the other side of a leaf has acknowledged to the consumer that carries a stream there.

Next: services/uplink/stream_check.py, which asks whether it has it."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.brokers.base import Acknowledged, StoredMessage
from tidegate.brokers.jetstream import history
from tidegate.brokers.jetstream.connection import Link
from tidegate.brokers.jetstream.consumer import consumer_info
from tidegate.schemas.subjects import Source

LOOK_BACK = 1024
"""Sequences before the last acknowledged one from which a reader that knows no position starts."""


async def read_acknowledged(link: Link, source: Source, consumer: str, after: int | None, most: int) -> Acknowledged:
    """See `CoreClient.acknowledged`. The consumer is read first: what is acknowledged later is not in the answer."""
    floor = (await consumer_info(link, source.stream, consumer)).ack_floor.stream_seq
    start = start_after(after, floor)
    if start >= floor:
        return Acknowledged((), start, floor)
    page = await history.first_messages(link.client, source.stream, source.filter, start, most)
    return up_to_floor(page, start, floor, most)


def start_after(after: int | None, floor: int) -> int:
    """The sequence behind which to read, where everything up to `floor` is acknowledged. Pure.

    A floor below `after` is that of a consumer that was rewound, or of a stream that was made anew.
    """
    return max(0, floor - LOOK_BACK) if after is None or after > floor else after


def up_to_floor(page: Sequence[StoredMessage], start: int, floor: int, most: int) -> Acknowledged:
    """The part of a page of at most `most` messages after `start` that is acknowledged, and how far it goes. Pure."""
    messages = tuple(message for message in page if message.sequence <= floor)
    is_whole = len(messages) < len(page) or len(page) < most
    return Acknowledged(messages, start, floor if is_whole else messages[-1].sequence)
