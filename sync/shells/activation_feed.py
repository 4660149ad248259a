"""What the hub sends of activations, as it comes in the site's mirror: each once, in order, from its beginning on.

Next: activation_site.py, who hears it; activation_hub.py, who sends it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from tidegate.brokers.base import TopologyMissingError, UnreachableError
from tidegate.brokers.jetstream import history
from tidegate.brokers.jetstream.connection import Link
from tidegate.schemas.artefact import DecideActivation, PrepareActivation
from tidegate.schemas.errors import TidegateError, UnreadableError
from tidegate.schemas.message import decode
from tidegate.schemas.subjects import ARTEFACTS, artefacts
from tidegate.sync.shells.activation_hub import ACTIVATION
from tidegate.sync.shells.activation_site import ActivationParticipants

LOOK_EVERY_S = 0.2
log = structlog.get_logger()


class ActivationFeed:
    """The messages for the tenants of one site."""

    def __init__(self, link: Link, tenants: Sequence[str], participants: ActivationParticipants) -> None:
        self._link = link
        self._subjects = {tenant: artefacts(tenant, ACTIVATION, "*") for tenant in tenants}
        self._after = dict.fromkeys(tenants, 0)
        self._participants = participants

    async def read(self) -> int:
        """Pass on what is new; how many messages. Raises `UnreachableError`, `TopologyMissingError`, and what taking
        them raises."""
        passed = 0
        for tenant, subject in self._subjects.items():
            for stored in await history.messages(self._link.client, ARTEFACTS, subject, self._after[tenant]):
                try:
                    await self._participants.hear(decode(stored.data, PrepareActivation, DecideActivation))
                except UnreadableError as error:  # of a later version, or forged: what is published is in force anyhow
                    log.warning("activation_unreadable", position=stored.position, reason=error.reason)
                self._after[tenant] = stored.sequence
                passed += 1
        return passed

    async def keep(self) -> None:
        """Do so, for ever; while the mirror cannot be read, nothing comes."""
        fault = ""
        while True:
            try:
                await self.read()
                fault = ""
            except (UnreachableError, TopologyMissingError):
                pass
            except (TidegateError, OSError) as error:
                if str(error) != fault:
                    log.warning("activation_not_heard", reason=str(error))
                fault = str(error)
            await asyncio.sleep(LOOK_EVERY_S)
