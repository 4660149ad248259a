"""The fast lane: asks the hub for a verdict at once, beside the durable lane."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from brokers.base import House
from brokers.settings import Settings
from brokers.stage import Handler
from schemas import Escalated, Refused, Reject, Verified, decode, encode
from schemas.subjects import fast_lane
from services.fast_lane.handler import hurry

__all__ = ["open"]


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001
    """The handler; it needs nothing but the link."""

    async def ask_hub(escalated: Escalated, left_s: float) -> Verified:
        timeout_s = min(left_s, settings.cloud_verifier.timeout_s)
        said = await house.request(fast_lane(settings.site), encode(escalated), timeout_s=timeout_s)
        reply = decode(said, Verified, Refused)
        if isinstance(reply, Refused):
            if reply.code == "unavailable":
                raise ConnectionError(reply.reason)
            raise Reject(f"the hub refused: {reply.reason}", reply.hint)
        verified: Verified = reply
        return verified

    yield partial(hurry, ask_hub=ask_hub, clock=time.time)
