"""The white paper's edge runtime: the same handlers as the workers', in process, with no broker in between."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from tidegate.brokers.base import House
from tidegate.brokers.memory.bus import MemoryHouse
from tidegate.brokers.process.lifecycle import resolve
from tidegate.brokers.settings import Settings
from tidegate.brokers.stage import Handler, Stage
from tidegate.schemas import Asked, Escalated, Message, Published, Spent
from tidegate.services.fleet.paths import Places
from tidegate.services.pipeline import STAGES
from tidegate.services.privacy.sealing import closed
from tidegate.services.privacy.vault import Vault, asker_digest, site_key

PIECES = re.compile(r"\S+\s*")


class NoHub(RuntimeError):
    """A stage escalated, but this runtime has no hub to ask; its router was told so and must not plan it."""


class EdgeRuntime:
    """A site in one object: `await EdgeRuntime.init(models, policies, indices)`, then `serve` requests, then `close`.

    It has no link: what it cannot vouch for it abstains from. Vault tokens are restored for the asker, as at the door.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        places = Places(settings)
        self._key = site_key(places.key)
        self._vault = Vault.open(places.vault, self._key)
        self._stack = AsyncExitStack()
        self._handlers: dict[type[Message], tuple[Stage, Handler]] = {}

    @classmethod
    async def init(
        cls, models: Path | str, policies: Path | str, indices: Path | str, settings: Settings | None = None
    ) -> EdgeRuntime:
        """Open every stage of a site: `models` directory, `policies` pack directory, `indices` state directory.

        Raises what the stages raise when something that `tidegate up` prepares is missing.
        """
        chosen = msgspec.structs.replace(
            settings or Settings(), models_dir=str(models), pack_dir=str(policies), state_dir=str(indices)
        )
        runtime = cls(chosen)
        house: House = MemoryHouse(chosen.site)
        try:
            for stage in (stage for stage in STAGES if stage.where == "site"):
                handler = await runtime._stack.enter_async_context(resolve(stage)(chosen, house))
                for kind in stage.accepts:
                    runtime._handlers[kind] = (stage, handler)
        except BaseException:
            await runtime.close()
            raise
        return runtime

    async def answer(self, request: Asked) -> Published:
        """The published answer to one request, with its receipt and ledger; vault tokens still tokens."""
        now_ms = int(time.time() * 1000)
        asked = msgspec.structs.replace(
            request,
            rid=request.rid or uuid.uuid4().hex,
            site=self.settings.site,
            asked_at_ms=now_ms,
            deadline_at_ms=now_ms + request.budget_ms,
        )
        fact: Message = closed(self._key, asked)
        while not isinstance(fact, Published):
            if isinstance(fact, Escalated):
                raise NoHub
            stage, handler = self._handlers[type(fact)]
            started = time.perf_counter()
            outputs = await handler(fact)
            fact = ledgered(outputs, fact, stage, (time.perf_counter() - started) * 1000)
        return fact

    async def serve(self, request: Asked) -> AsyncIterator[str]:
        """The answer's text, piece by piece, with the asker's own values put back."""
        published = await self.answer(request)
        digest = asker_digest(self._key, request.tenant, request.asker, published.rid)
        for piece in PIECES.findall(self._vault.restore(published.text, request.tenant, digest)):
            yield piece

    async def close(self) -> None:
        """Close every stage, last opened first, then the vault."""
        await self._stack.aclose()
        self._vault.close()


def ledgered(outputs: Iterable[Message], cause: Any, stage: Stage, worked_ms: float) -> Message:
    """The one fact that follows in process, with the stage's line in its ledger."""
    [fact] = outputs
    line = Spent(stage.name, 0.0, round(worked_ms, 3))
    return msgspec.structs.replace(fact, ledger=(*cause.ledger, line))
