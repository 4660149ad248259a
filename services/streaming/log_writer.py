"""Writes the answer logs of a site: shows partial answers, commits, retracts at most once, closes.

Next: services/streaming/log.py, what a line may be; services/stages/publisher, which closes the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from zlib import crc32

from cachetools import LRUCache

from tidegate.brokers.base import Bus, SequenceConflictError
from tidegate.schemas import Committed, Delta, Evidence, Partial, Published, TidegateError, decode
from tidegate.schemas.subjects import TOKENS, tokens
from tidegate.services.streaming.log import WITHDRAWN, AnswerLog, CommitConflictError, LogClosure, with_evidence

MAX_LOGS = 1024
MAX_ATTEMPTS = 16
LOCKS = 64
"""Locks that the requests of this process share, so that it does not overtake itself."""

LinesOf = Callable[[AnswerLog], list[Delta]]


class LogContentionError(TidegateError, TimeoutError):
    """Other writers were faster at every attempt."""

    hint = "nothing needs doing: it is tried again by itself"


class AnswerLogWriter:
    """Several publishers may write: with optimistic concurrency, the stream accepts a line only after the last one.

    The last logs are kept with the sequence of their last line; a writer that is overtaken reads the log again.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._logs: LRUCache[tuple[str, str], tuple[AnswerLog, int]] = LRUCache(MAX_LOGS)
        self._locks = [asyncio.Lock() for _ in range(LOCKS)]

    async def on_partial(self, _: str, data: bytes) -> None:
        """Show one side's answer so far: the cloud's as committed, the edge's as provisional.

        A partial answer that does not continue what is shown is dropped: the whole answer will settle it.
        """
        partial = decode(data, Partial)
        answer, ids, is_whole = partial.answer, partial.ids, partial.is_whole
        evidence = Evidence(
            citations=answer.citations,
            checks=answer.checks,
            confidence=answer.confidence,
            lineage=partial.lineage,
            writing=answer.writing,
            notices=partial.notices,
        )

        def lines_of(log: AnswerLog) -> list[Delta]:
            is_final = partial.source == "cloud"
            lines = log.commit(answer.text, ids) if is_final else log.show_provisional(answer.text, ids, partial.guess)
            return with_evidence(lines, evidence, answer.format, is_whole=is_whole)

        if partial.source != "cloud" and not partial.can_retract:
            return
        try:
            await self._write(partial.tenant, partial.rid, lines_of)
        except CommitConflictError:
            return

    async def committed_part(self, published: Published) -> Committed:
        """What is committed for this request, as far as this writer knows; `close` notices when there is more."""
        known = self._logs.get((published.tenant, published.rid))
        log, _ = known or await self._read(published.tenant, published.rid)
        return log.committed_part

    async def close(self, published: Published) -> LogClosure | None:
        """Close the log with the answer's text; returns what was shown before it.

        None, and nothing is closed, where more was committed in the meantime than the text continues.
        """
        return await self._end(published, lambda log: log.close(published.text))

    async def withdraw(self, published: Published, reason: str) -> LogClosure | None:
        """Take back all that was shown, for a reason (a code), and close the log with the answer's text; returns what
        was shown before. None where the log has been closed otherwise: its answer may be published."""

        def lines_of(log: AnswerLog) -> list[Delta]:
            if log.is_closed and log.epoch != WITHDRAWN:
                raise CommitConflictError(f"the log of {log.rid} has ended")
            return log.withdraw(published.text, reason)

        return await self._end(published, lines_of)

    async def _end(self, published: Published, lines_of_end: LinesOf) -> LogClosure | None:
        receipt, is_whole = published.receipt, not published.receipt.is_cut
        evidence = Evidence(
            citations=published.citations,
            checks=receipt.checks,
            confidence=published.confidence,
            lineage=receipt.lineage,
            writing=receipt.writing,
            notices=published.notices,
        )

        def lines_of(log: AnswerLog) -> list[Delta]:
            return with_evidence(lines_of_end(log), evidence, published.format, is_whole=is_whole)

        try:
            log = await self._write(published.tenant, published.rid, lines_of)
        except CommitConflictError:
            self._logs.pop((published.tenant, published.rid), None)
            return None
        return LogClosure(min(log.epoch, 1), log.guess, log.withdrawn)

    async def _write(self, tenant: str, rid: str, lines_of: LinesOf) -> AnswerLog:
        """Store the lines that follow; returns the log with them.

        Raises `CommitConflictError`, and `LogContentionError` after `MAX_ATTEMPTS`.
        """
        # Not by `hash`, which is another one in each process: a simulated run could not be repeated.
        async with self._locks[crc32(f"{tenant}/{rid}".encode()) % LOCKS]:
            log, last = self._logs.get((tenant, rid)) or await self._read(tenant, rid)
            was_lost = False
            for _ in range(MAX_ATTEMPTS):
                try:
                    if was_lost:
                        log, last = await self._append(log, last, log.restart())
                        was_lost = False
                    log, _ = await self._append(log, last, lines_of(log))
                except SequenceConflictError:
                    known = self._logs[(tenant, rid)][0]
                    log, last = await self._read(tenant, rid)
                    # The stream was lost with its server: what clients show is not known any more.
                    was_lost = log.is_empty and not known.is_empty
                else:
                    return log
        raise LogContentionError(f"the log of {rid} was overtaken {MAX_ATTEMPTS} times in a row")

    async def _append(self, log: AnswerLog, last: int, lines: list[Delta]) -> tuple[AnswerLog, int]:
        for line in lines:
            last = await self._bus.append(line, after=last)
            log = log.with_line(line)
            self._logs[(log.tenant, log.rid)] = log, last
        return log, last

    async def _read(self, tenant: str, rid: str) -> tuple[AnswerLog, int]:
        stored = await self._bus.read(TOKENS, tokens(tenant, rid))
        log = AnswerLog.from_lines((decode(data, Delta) for _, data in stored), rid, tenant)
        last = stored[-1][0] if stored else 0
        self._logs[(tenant, rid)] = log, last
        return log, last
