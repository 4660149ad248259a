"""A verification session of a site in which a function drafts, and what a hub answers it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Accepted, Escalated, Message, Refused, Verified, decode, encode
from tidegate.schemas.verification_subjects import verification_session
from tidegate.services.uplink.verification_client import ProposeTokens, VerificationClient

Draws = Callable[[Sequence[int], int], list[int]]


async def put(bus: MemoryBus, worker: str, request: Message, timeout_s: float = 30.0) -> Message:
    """What a hub answers the site for its tenant `kiosk`."""
    reply = await bus.request(verification_session("site1", "kiosk", worker), encode(request), timeout_s=timeout_s)
    found: Message = decode(reply, Accepted, Verified, Refused)
    return found


def drawn(
    bus: MemoryBus, tokenizer: str, fact: Escalated, draw: Draws, clock: Callable[[], float]
) -> VerificationClient:
    """A session in which `draw` drafts from the prompt and the answer so far."""

    def open_drafter(_: Sequence[int], __: bool) -> ProposeTokens:
        async def propose(ids: Sequence[int], k: int) -> list[int]:
            return draw(ids, k)

        return propose

    return VerificationClient(fact, tokenizer, send=partial(put, bus), open_drafter=open_drafter, clock=clock)


def noise(seed: int) -> Draws:
    dice = random.Random(seed)
    return lambda _, k: [dice.randrange(400) for _ in range(k)]
