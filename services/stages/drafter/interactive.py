"""Interactive speculative decoding for the drafter: the tenant's own model drafts, the hub verifies round by round.

Promises that a lost session becomes a degradation, never an error. Next: services/uplink/verification_client.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from tidegate.brokers.base import CoreClient
from tidegate.schemas import Accepted, Degradation, Escalated, Message, Refused, Verified, decode, encode
from tidegate.schemas.verification_subjects import verification_session
from tidegate.services.llm.site_model import SiteModel
from tidegate.services.stages.drafter.handler import INTERACTIVE
from tidegate.services.uplink.verification_client import ProposeTokens, SessionLostError, VerificationClient

SESSIONS_AT_ONCE = 8
"""So that questions that wait for the link leave room for those that do not."""


class InteractiveVerifier:
    """Sessions with the hub, at most `at_once`; what is beyond is not begun."""

    def __init__(
        self,
        client: CoreClient,
        site: str,
        model_of: Callable[[str], SiteModel],
        *,
        at_once: int = SESSIONS_AT_ONCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`model_of` gives a tenant's model; `clock` gives Unix time in seconds."""
        self._client = client
        self._site = site
        self._model_of = model_of
        self._at_once = at_once
        self._clock = clock
        self._slots = asyncio.Semaphore(at_once)

    async def verify(self, escalated: Escalated) -> Verified | Degradation:
        """The hub's verdict; or, where the session is lost, what was given up and why."""
        try:
            return await self.verdict(escalated)
        except SessionLostError as lost:
            needed_ms = escalated.plan.forecast_ms.get(INTERACTIVE, 0.0)
            return Degradation("drafter", "no_remote_speculation", lost.left_ms, needed_ms, lost.reason)

    async def verdict(self, escalated: Escalated) -> Verified:
        """The hub's verdict. Raises `SessionLostError`."""
        if self._slots.locked():
            raise SessionLostError(f"{self._at_once} sessions are running already")
        model = self._model_of(escalated.tenant)

        def open_drafter(prompt: Sequence[int], quotes: bool) -> ProposeTokens:
            drafter = model.drafter(escalated.plan.drafters, prompt, quotes=quotes)

            async def propose(ids: Sequence[int], k: int) -> list[int]:
                return await asyncio.to_thread(drafter.propose, ids, k)

            return propose

        async with self._slots:
            digest = model.tokenizer.digest
            clock = self._clock
            send = partial(self._send, escalated.tenant)
            client = VerificationClient(escalated, digest, send=send, open_drafter=open_drafter, clock=clock)
            return await client.verdict()

    async def _send(self, tenant: str, worker: str, request: Message, timeout_s: float) -> Message:
        subject = verification_session(self._site, tenant, worker)
        data = await self._client.request(subject, encode(request), timeout_s=timeout_s)
        reply: Message = decode(data, Accepted, Verified, Refused)
        return reply
