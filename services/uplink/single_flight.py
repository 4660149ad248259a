"""Request coalescing: one computation per escalated request, one verdict for both lanes and whoever asks again."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple, TypeAlias

from tidegate.schemas import (
    Escalated,
    Message,
    Question,
    Refused,
    RetryLaterError,
    StageTiming,
    Verified,
    replace,
)

Verify = Callable[[Escalated], Awaitable[Iterable[Message]]]
RequestKey: TypeAlias = tuple[str, str, str, Question]

REMEMBERED = 4096
STAGE = "cloud-verifier"
"""The stage whose work this is, as it stands in a receipt's timings whichever lane brought the verdict."""


class TimedVerdict(NamedTuple):
    """A verdict, and how long the hub worked at it."""

    verdict: list[Message]
    worked_ms: float


class SingleFlight:
    """Calls `verify` once for each request, however many ask and by whichever lane; remembers the last verdicts.

    A failure is shared by those who wait and then forgotten. Requests are distinguished by tenant, site, id and
    question, so that no tenant is given another's verdict by guessing its id.
    """

    def __init__(self, verify: Verify, remembered: int = REMEMBERED) -> None:
        self._verify = verify
        self._remembered = remembered
        self._verdicts: OrderedDict[RequestKey, asyncio.Task[TimedVerdict]] = OrderedDict()

    async def verdict(self, escalated: Escalated) -> list[Message]:
        """The verdict, computed or remembered. Raises what `verify` raises."""
        return (await self._timed_verdict(escalated)).verdict

    async def _timed_verdict(self, escalated: Escalated) -> TimedVerdict:
        key = (escalated.tenant, escalated.site, escalated.rid, escalated.question)
        task = self._verdicts.get(key)
        if task is None:
            task = asyncio.create_task(self._compute(key, escalated))
            self._verdicts[key] = task
        else:
            self._verdicts.move_to_end(key)
        return await asyncio.shield(task)  # one lane's time limit does not end the other's work

    async def reply(self, escalated: Escalated) -> Verified | Refused:
        """The fast lane: the verdict, or why there is none now."""
        try:
            timed = await self._timed_verdict(escalated)
        except (RetryLaterError, ConnectionError, TimeoutError) as error:
            return Refused(code="unavailable", reason=str(error))
        (verified,) = timed.verdict
        assert isinstance(verified, Verified)  # as of every verdict
        timing = StageTiming(STAGE, 0.0, timed.worked_ms)  # the durable lane's is added by its worker
        return replace(verified, timings=(*escalated.timings, timing))

    async def close(self) -> None:
        """End what is still being computed."""
        running = [task for task in self._verdicts.values() if not task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._verdicts.clear()

    async def _compute(self, key: RequestKey, escalated: Escalated) -> TimedVerdict:
        began_s = time.perf_counter()
        try:
            found = list(await self._verify(escalated))
        except BaseException:
            self._verdicts.pop(key, None)
            raise
        while len(self._verdicts) > self._remembered and next(iter(self._verdicts.values())).done():
            self._verdicts.popitem(last=False)
        return TimedVerdict(found, round((time.perf_counter() - began_s) * 1000, 3))
