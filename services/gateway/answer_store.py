"""Reads what the site has stored about one request: the request, its answer, its dead letter.

All by direct gets under exact subjects, so that no tenant sees another's; next: ticket.py, ingress.py."""

from __future__ import annotations

from tidegate.brokers.base import Bus
from tidegate.schemas import PIPELINE, Asked, Published, UnreadableError, decode
from tidegate.schemas.subjects import ANSWERS, ASKS, DEAD, dead_letter
from tidegate.services.pipeline import STAGES


class AnswerStore:
    """The stored side of a request, by tenant and request id."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def request(self, tenant: str, rid: str) -> Asked | None:
        """The request as it was stored, sealed. Raises `OSError` when the store cannot be read."""
        data = await self._bus.last(ASKS, f"asks.{tenant}.{rid}")
        return None if data is None else decode(data, Asked)

    async def answer(self, tenant: str, rid: str) -> Published | None:
        """The stored answer; None when there is none, or none can be read now."""
        try:
            data = await self._bus.last(ANSWERS, f"answers.{tenant}.{rid}")
        except OSError:
            return None
        return None if data is None else decode(data, Published)

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
