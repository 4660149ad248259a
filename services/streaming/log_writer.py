"""The one writer of the log of what is shown: what is in the making is shown, committed, taken back once, closed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from tidegate.brokers.base import House, Overtaken
from tidegate.schemas import Committed, Delta, Evidence, Partial, Published, decode
from tidegate.schemas.subjects import TOKENS, tokens
from tidegate.services.stages.publisher.handler import Closed
from tidegate.services.streaming.log import Contradiction, Log, resting

REMEMBERED = 1024
TRIES = 16
TURNS = 64
"""Locks that the requests of this process share, so that it does not overtake itself."""

Lines = Callable[[Log], list[Delta]]


class Showing:
    """Keeps the logs of a site. Several publishers may: the stream lets only the one that knows the last line write.

    A log is remembered with the sequence of its last line; whoever is overtaken reads it again.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._logs: OrderedDict[tuple[str, str], tuple[Log, int]] = OrderedDict()
        self._turns = [asyncio.Lock() for _ in range(TURNS)]

    async def hear(self, _: str, data: bytes) -> None:
        """Show what one side has said so far: the cloud's for good, the edge's until further notice.

        What no longer goes on from what is shown is of no use any more: the whole answer will settle it.
        """
        partial = decode(data, Partial)
        answer, ids, is_whole = partial.answer, partial.ids, partial.is_whole
        evidence = Evidence(
            citations=answer.citations, checks=answer.checks, confidence=answer.confidence, lineage=partial.lineage
        )

        def lines_of(log: Log) -> list[Delta]:
            is_final = partial.source == "cloud"
            lines = log.commit(answer.text, ids) if is_final else log.provisional(answer.text, ids, partial.guess)
            return resting(lines, evidence, answer.format, is_whole=is_whole)

        if partial.source != "cloud" and not partial.can_retract:
            return
        try:
            await self._write(partial.tenant, partial.rid, lines_of)
        except Contradiction:
            return

    async def standing(self, published: Published) -> Committed:
        """What is committed for this request as far as is known here.

        `close` finds out when somebody else has written more.
        """
        known = self._logs.get((published.tenant, published.rid))
        log, _ = known or await self._read(published.tenant, published.rid)
        return log.standing

    async def close(self, published: Published) -> Closed | None:
        """Close the log over the answer's text and say what was shown before it.

        None, and nothing is closed, where more was committed in the meantime than the text goes on from.
        """
        receipt, is_whole = published.receipt, not published.receipt.is_cut
        evidence = Evidence(
            citations=published.citations,
            checks=receipt.checks,
            confidence=published.confidence,
            lineage=receipt.lineage,
        )

        def lines_of(log: Log) -> list[Delta]:
            return resting(log.close(published.text), evidence, published.format, is_whole=is_whole)

        try:
            log = await self._write(published.tenant, published.rid, lines_of)
        except Contradiction:
            self._logs.pop((published.tenant, published.rid), None)
            return None
        return Closed(log.epoch, log.guess)

    async def _write(self, tenant: str, rid: str, lines_of: Lines) -> Log:
        """Store the lines that follow, as often as it takes; returns the log with them. Raises `Contradiction`."""
        async with self._turns[hash((tenant, rid)) % len(self._turns)]:
            return await self._write_in_turn(tenant, rid, lines_of)

    async def _write_in_turn(self, tenant: str, rid: str, lines_of: Lines) -> Log:
        log, last = self._logs.get((tenant, rid)) or await self._read(tenant, rid)
        was_lost = False
        for _ in range(TRIES):
            try:
                if was_lost:
                    log, last = await self._append(log, last, log.begin_again())
                    was_lost = False
                log, last = await self._append(log, last, lines_of(log))
            except Overtaken:
                known = self._logs[(tenant, rid)][0]
                log, last = await self._read(tenant, rid)
                # The stream was lost with its server, and what clients show is not known any more.
                was_lost = log.is_empty and not known.is_empty
                continue
            return log
        raise TimeoutError(f"the log of {rid} was overtaken {TRIES} times in a row")

    async def _append(self, log: Log, last: int, lines: list[Delta]) -> tuple[Log, int]:
        for line in lines:
            last = await self._house.append(line, after=last)
            log = log.after(line)
            self._remember(log, last)
        return log, last

    async def _read(self, tenant: str, rid: str) -> tuple[Log, int]:
        stored = await self._house.read(TOKENS, tokens(tenant, rid))
        log = Log.of((decode(data, Delta) for _, data in stored), rid, tenant)
        last = stored[-1][0] if stored else 0
        self._remember(log, last)
        return log, last

    def _remember(self, log: Log, last: int) -> None:
        key = (log.tenant, log.rid)
        self._logs[key] = (log, last)
        self._logs.move_to_end(key)
        while len(self._logs) > REMEMBERED:
            self._logs.popitem(last=False)
