"""Where both lanes meet: one computation per escalated request, one verdict for whoever asks."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from tidegate.schemas import Escalated, Message, Question, Refused, RetryLaterError, UnreadableError, decode, encode

Verify = Callable[[Escalated], Awaitable[Iterable[Message]]]
Key: TypeAlias = tuple[str, str, str, Question]

REMEMBERED = 4096


class Desk:
    """Calls `verify` once for each request, however many ask and by whichever lane; remembers the last verdicts.

    A failure is shared by those who wait and then forgotten. Requests are told apart by tenant, site, id and question,
    so that no tenant is given another's verdict by guessing its id.
    """

    def __init__(self, verify: Verify, remembered: int = REMEMBERED) -> None:
        self._verify = verify
        self._remembered = remembered
        self._verdicts: OrderedDict[Key, asyncio.Task[list[Message]]] = OrderedDict()

    async def verdict(self, escalated: Escalated) -> list[Message]:
        """The verdict, computed or remembered. Raises what `verify` raises."""
        key = (escalated.tenant, escalated.site, escalated.rid, escalated.question)
        task = self._verdicts.get(key)
        if task is None:
            task = asyncio.create_task(self._compute(key, escalated))
            self._verdicts[key] = task
        else:
            self._verdicts.move_to_end(key)
        return await asyncio.shield(task)  # one lane's time limit does not end the other's work

    async def reply(self, data: bytes) -> bytes:
        """The fast lane: bytes of an Escalated in; of a Verified, or of a Refused that says why, out."""
        try:
            escalated = decode(data, Escalated)
            (verified,) = await self.verdict(escalated)
        except UnreadableError as error:
            return encode(Refused(code="unreadable", reason=error.reason, hint=error.hint))
        except (RetryLaterError, ConnectionError, TimeoutError) as error:
            return encode(Refused(code="unavailable", reason=str(error)))
        return encode(verified)

    async def close(self) -> None:
        """End what is still being computed."""
        running = [task for task in self._verdicts.values() if not task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._verdicts.clear()

    async def _compute(self, key: Key, escalated: Escalated) -> list[Message]:
        try:
            found = list(await self._verify(escalated))
        except BaseException:
            self._verdicts.pop(key, None)
            raise
        while len(self._verdicts) > self._remembered and next(iter(self._verdicts.values())).done():
            self._verdicts.popitem(last=False)
        return found
