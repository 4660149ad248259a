"""Reads what the site has stored about one request: the request, its answer, its dead letter.

All by direct gets under exact subjects, and of the archive by tenant, so that no tenant sees another's. Next:
ticket.py, ingress.py; services/fleet/answer_archive.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tidegate.brokers.base import Bus
from tidegate.schemas import PIPELINE, Asked, Published, UnreadableError, decode
from tidegate.schemas.subjects import ANSWERS, ASKS, DEAD, dead_letter
from tidegate.services.fleet.answer_archive import ArchiveReader
from tidegate.services.pipeline import STAGES
from tidegate.services.privacy.vault import Vault

UNKNOWN = "-"
"""Whose a request is that nobody was noted as the asker of; no digest is equal to it."""


class AnswerStore:
    """The stored side of a request, by tenant and request id."""

    def __init__(self, bus: Bus, archive: Path, vault: Vault) -> None:
        self._bus = bus
        self._archive = ArchiveReader(archive)
        self._vault = vault

    def close(self) -> None:
        """Let go of the archive."""
        self._archive.close()

    async def request(self, tenant: str, rid: str) -> Asked | None:
        """The request as it was stored, sealed. Raises `OSError` when the store cannot be read."""
        data = await self._bus.last(ASKS, f"asks.{tenant}.{rid}")
        return None if data is None else decode(data, Asked)

    async def answer(self, tenant: str, rid: str) -> Published | None:
        """The stored answer; None when there is none, or none can be read now."""
        try:
            return await self._answer(tenant, rid)
        except OSError:
            return None

    async def known(self, tenant: str, rid: str, asker: str, session: str = "") -> Asked | None:
        """The request as it was stored; where only its answer is left, what is known of it: no words, and whose it is,
        where the vault has noted it as that of `asker`, who names the session. An id is answered once, for ever. Raises
        `OSError` when the store cannot be read."""
        stored, kept = await asyncio.gather(self.request(tenant, rid), self._in_stream(tenant, rid))
        if stored is not None or (answer := await self._read(kept, tenant, rid)) is None:
            return stored
        owners = self._vault.owners_of(tenant, asker, session, rid)
        owner = next((each for each in owners if self._vault.requests_of(tenant, each[0], rid)), (UNKNOWN, ""))
        return Asked(
            tenant=tenant,
            rid=rid,
            site=answer.site,
            text="",
            asker=owner[0],
            session=owner[1],
            asked_at_ms=answer.asked_at_ms,
            deadline_at_ms=answer.deadline_at_ms,
        )

    async def _answer(self, tenant: str, rid: str) -> Published | None:
        return await self._read(await self._in_stream(tenant, rid), tenant, rid)

    async def _in_stream(self, tenant: str, rid: str) -> bytes | None:
        return await self._bus.last(ANSWERS, f"answers.{tenant}.{rid}")

    async def _read(self, data: bytes | None, tenant: str, rid: str) -> Published | None:
        """The answer, from the archive where the stream, which is asked before, has none: an answer is in the archive
        before it leaves the stream."""
        if data is None and self._archive.may_be_there():
            data = await asyncio.to_thread(self._archived, tenant, rid)
        return None if data is None else decode(data, Published)

    def _archived(self, tenant: str, rid: str) -> bytes | None:
        return next((stored.data for stored in self._archive.find(rid, tenant)), None)

    async def is_dead(self, tenant: str, rid: str) -> bool:
        """Whether a stage dead-lettered the request. Raises `OSError` when the store cannot be read."""
        letters = [await self._bus.last(DEAD, dead_letter(stage.name, rid)) for stage in STAGES]
        return any(tenant_in(letter) in (tenant, "") for letter in letters if letter is not None)


def tenant_in(letter: bytes) -> str:
    """Whose request a dead letter was; empty when its bytes cannot be read."""
    try:
        return str(getattr(decode(letter, *PIPELINE), "tenant", ""))
    except UnreadableError:
        return ""
