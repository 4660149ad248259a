"""Moves answers that are old, or that fill their stream, into the archive of the site; part of its sync worker.

Promises that nothing leaves the stream before it is in the audit log, where the site keeps one, and in the archive, and
that a cut at any point costs nothing: what was added and not taken out is met again and is known. Next:
answer_archive.py."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.erasing import erase
from tidegate.brokers.jetstream.history import first_messages
from tidegate.brokers.settings import SHORTEST_KEPT_S
from tidegate.brokers.topology.fill import StreamFill, fill_of
from tidegate.schemas import RetryLaterError
from tidegate.schemas.subjects import ANSWERS
from tidegate.services.fleet.answer_archive import AnswerArchive
from tidegate.services.fleet.audit_status import FILE, read_audit_status
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings

EVERY_S = 30.0
FROM_SHARE, TO_SHARE = 0.5, 0.4
"""A stream that is fuller than the one is emptied down to the other, long before it refuses."""
PAGE = 256
AT_ONCE = 32
"""Messages that the server is told to erase at a time."""


class AnswerArchiver:
    """Looks after the answers of one site. `clock` is Unix time."""

    def __init__(self, settings: Settings, bus: JetStreamBus, clock: Callable[[], float] = time.time) -> None:
        paths = StatePaths(settings)
        self._retention = settings.retention
        self._file, self._audit = paths.answer_archive, paths.audit
        self._bus = bus
        self._clock = clock

    async def work(self) -> int:
        """Move all that is due, and forget what is past its time; how many answers were moved.

        Raises `RetryLaterError` while what is due is not in the audit log; `ArchiveUnreadableError`, `OSError` where
        the archive cannot be written, `UnreachableError`, `TopologyMissingError`, `JetStreamApiError`,
        `MessageKeptError`.
        """
        if not self._retention.archive_answers_after_s:
            return 0
        moved = 0
        while count := await self._move_page():
            moved += count
        await self._forget()
        return moved

    async def _move_page(self) -> int:
        info = await api.call(self._client, f"STREAM.INFO.{ANSWERS}")
        state = info["state"]
        below = below_for_room(fill_of(info), state["first_seq"], state["last_seq"])
        oldest = await first_messages(self._client, ANSWERS, "answers.>", 0, 1)
        if not self._due(oldest, below):  # the usual case costs no file
            return 0
        with AnswerArchive.open(self._file) as archive:
            await asyncio.to_thread(archive.begin)
            try:
                page = await first_messages(self._client, ANSWERS, "answers.>", 0, PAGE)
                due = self._audited(self._due(page, below))
                await asyncio.to_thread(archive.add, due)
                await asyncio.to_thread(archive.end, "COMMIT")
            finally:
                archive.end("ROLLBACK")
        for at in range(0, len(due), AT_ONCE):
            await asyncio.gather(*(erase(self._client, each.position) for each in due[at : at + AT_ONCE]))
        return len(due)

    @property
    def _client(self) -> Any:
        return self._bus.link.client

    def _due(self, page: Sequence[StoredMessage], below: int) -> list[StoredMessage]:
        now_s = self._clock()
        old_s, young_s = now_s - self._retention.archive_answers_after_s, now_s - SHORTEST_KEPT_S
        return list(
            takewhile(
                lambda each: each.stored_at_s < old_s or (each.sequence < below and each.stored_at_s < young_s), page
            )
        )

    def _audited(self, due: Sequence[StoredMessage]) -> list[StoredMessage]:
        """Those that the audit log has; all where this site keeps none. Raises `RetryLaterError` where it has none of
        them."""
        if not (self._audit / FILE).exists():
            return list(due)
        status = read_audit_status(self._audit)
        upto = status.followed.get(ANSWERS, 0) if status else 0
        known = [each for each in due if each.sequence <= upto]
        if due and not known:
            raise RetryLaterError("answers are not archived before they are in the audit log", after_s=EVERY_S)
        return known

    async def _forget(self) -> None:
        """What is kept for `answers_s` in all is kept no longer here either."""
        if not self._retention.answers_s or not self._file.is_file():
            return
        before_ms = int((self._clock() - self._retention.answers_s) * 1000)
        with AnswerArchive.open(self._file) as archive:
            while await asyncio.to_thread(archive.forget, before_ms, PAGE):
                pass


def below_for_room(fill: StreamFill, first: int, last: int) -> int:
    """The sequence below which a stream that fills up is to be emptied; 0 where it has room. Pure."""
    if fill.share <= FROM_SHARE or fill.gives_up_oldest:
        return 0
    return first + math.ceil((last - first + 1) * (1 - TO_SHARE / fill.share))
