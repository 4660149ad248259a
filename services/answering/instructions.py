"""Whether a model can write an answer under an asker's instructions at all: known before anything is stored.

What became of them in an answer stands in its receipt. Next: `writing_prompts`, the prompt that they are a part of.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tidegate.brokers.base import CoreClient
from tidegate.schemas import Asked, Refused, TidegateError, UnreadableError, decode
from tidegate.schemas.refusals import refusal
from tidegate.schemas.subjects import ping
from tidegate.schemas.uplink import CloudState
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.tenant_parts import TenantParts
from tidegate.services.llm.text.token_counter import TokenCounter, load_token_counter
from tidegate.services.packs.active import PackInForce
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.writing import may_be_written
from tidegate.services.settings import Settings

TOKENIZER = "lm/target/tokenizer.json"
"""Below the models: the tokenizer that the site's language models share."""
FRESH_S = 2.0
PING_S = 1.0
WHAT = "a system prompt (instructions)"
LEAVE_OUT = "leave it out, or let the site pass it over (`gateway.ignore_system_prompts`)"


class InstructionsRefusedError(TidegateError, ValueError):
    """No model can write under these instructions, or they are too long."""

    hint = LEAVE_OUT


class HubWriting:
    """Whether the hub writes in a model's own words, as it says itself; asked at most every `FRESH_S` seconds."""

    def __init__(self, client: CoreClient | None, site: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`client` is None for a site without a hub; `clock` gives seconds and never goes back."""
        self._client = client
        self._subject = ping(site)
        self._clock = clock
        self._known: bool | None = None
        self._fresh_until = float("-inf")
        self._asking = asyncio.Lock()

    async def is_known_not_to(self) -> bool:
        """Whether it has said that it writes nothing, when it was last heard of.

        A hub that cannot be reached may write once it is back: what it said before counts until then.
        """
        if self._client is None:
            return True
        async with self._asking:
            if self._clock() >= self._fresh_until:
                try:
                    reply = await self._client.request(self._subject, b"", timeout_s=PING_S)
                    self._known = decode(reply, CloudState).writes_own_words
                except (OSError, UnreadableError):
                    pass
                self._fresh_until = self._clock() + FRESH_S
            return self._known is False


class InstructionGate:
    """Refuses instructions that nobody could follow: no policy lets a model write, the hub has no model that does, the
    request asks for something else than an answer in words, or they are too long."""

    def __init__(self, settings: Settings, client: CoreClient | None) -> None:
        """`client` reaches the hub; None for a site without one."""
        self._settings = settings
        self._hub = HubWriting(client, settings.site)
        self._policies = TenantParts(settings, read_policies)
        self._counter: TokenCounter | None = None

    async def find_fault(self, asked: Asked) -> Refused | None:
        """Why the instructions of `asked` are not accepted; None where they are, or there are none.

        It is by the policies in force now, though the question is then screened under what is in force when it comes
        to that: nothing of it is stored before. Raises `PolicyError` for a pack whose policies cannot be read.
        """
        if not asked.instructions.strip():
            return None
        if asked.schema or asked.workload not in ("", "assist"):
            return _unsupported(asked, f"only an answer in words is written; {LEAVE_OUT}")
        await self._policies.refresh(asked.tenant)
        current = self._policies.current(asked.tenant)
        if current is None:  # a site that is closed: it says so itself, to everybody
            return None
        if self._counter is None:
            self._counter = await asyncio.to_thread(load_token_counter, StatePaths(self._settings).models / TOKENIZER)
        if not may_be_written(current.parts):
            return _unsupported(asked, f"answers here quote documents, by policy (`grounded` is unset); {LEAVE_OUT}")
        tokens, limit = self._counter.count(asked.instructions), self._settings.gateway.instructions_tokens
        if tokens > limit:
            return refusal("instructions_too_long", asked.rid, tokens=tokens, limit=limit)
        if await self._hub.is_known_not_to():
            return _unsupported(asked, f"answers here quote documents: no model at the hub writes any; {LEAVE_OUT}")
        return None


def read_policies(pack: PackInForce) -> tuple[Policy, ...]:
    """Those of a pack in force. Raises `PolicyError`."""
    return pack.policies


def _unsupported(asked: Asked, hint: str) -> Refused:
    return refusal("unsupported", asked.rid, what=WHAT, hint=hint)
