"""The site's end of the comparison of streams over the link: finds what was acknowledged and never stored, stores it.

nats-server 2.15 can acknowledge to the sending side of a leaf messages that the receiving stream has not stored, and
never sends them again (infra/decisions/0025). Next: stream_check_server.py, the hub's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from prometheus_client import Counter

from tidegate.brokers.base import Acknowledged, Bus, StoredMessage, UnreachableError, report
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.topology.streams import UP_CONSUMER
from tidegate.schemas import (
    Escalated,
    LostEscalation,
    LostVerdict,
    Message,
    StreamCheck,
    StreamReport,
    TidegateError,
    UnreadableError,
    Verified,
    decode,
    encode,
)
from tidegate.schemas.subjects import (
    ESCALATIONS,
    PIPE,
    VERDICTS,
    Source,
    escalations_of,
    fact_subject,
    key_of,
    ping,
    verdicts_of,
)
from tidegate.schemas.uplink import MOST_CHECKED
from tidegate.services.settings import Settings

CHECK_EVERY_S = 3.0
TIMEOUT_S = 5.0
MOST_BYTES = (1 << 20) - 4096
"""What a server lets through in one message (`max_payload`), less its headers."""
RESTORED = Counter(
    "tidegate_restored_messages", "Messages that a link had acknowledged and lost, stored after all.", ["stream"]
)
_log = structlog.get_logger()


class NotComparedError(TidegateError, RuntimeError):
    """The hub does not compare streams, or cannot take or give this message."""

    hint = "update the hub's workers"


class StreamGuard:
    """Compares what one side of the link has acknowledged with what it has stored, in both directions.

    Every message is compared once, after it was acknowledged: the sending side is read first, so that what is on its
    way is never taken for lost. A position moves on only when everything up to it is stored.
    """

    def __init__(self, bus: Bus, site: str) -> None:
        self._bus = bus
        self._site = site
        self._escalations_to: int | None = None
        self._verdicts_to: int | None = None
        self._last_fault = ""

    async def keep_checking(self, every_s: float = CHECK_EVERY_S) -> None:
        """Compare every `every_s` seconds, for ever; while the hub cannot be reached, nothing happens."""
        while True:
            await asyncio.sleep(every_s)
            try:
                while await self.check():
                    pass
                self._last_fault = ""
            except UnreachableError:  # no link now
                continue
            except Exception as error:  # noqa: BLE001 - a later comparison may succeed, and none must be the last
                if repr(error) != self._last_fault:
                    self._last_fault = repr(error)
                    _log.warning("streams_not_compared", exc_info=error)

    async def check(self) -> bool:
        """Compare one page of each stream and store what is missing; whether there is more to compare.

        Raises `UnreachableError`, `NotComparedError`, `TopologyMissingError`, and what storing raises.
        """
        source = Source(ESCALATIONS, escalations_of(self._site))
        sent = await self._bus.acknowledged(source, UP_CONSUMER, self._escalations_to, MOST_CHECKED)
        self._escalations_to = sent.after
        keys = tuple(key_of(message.subject) for message in sent.messages)
        found = await self._ask(StreamCheck(escalations=keys, verdicts_after=self._verdicts_to))
        await self._restore_escalations(sent, found.missing)
        self._escalations_to = sent.upto
        await self._restore_verdicts(found)
        self._verdicts_to = found.verdicts_to
        return MOST_CHECKED in (len(sent.messages), len(found.verdicts))

    async def _restore_escalations(self, sent: Acknowledged, missing: Sequence[str]) -> None:
        lost = first_of_each(sent.messages, missing)
        if not lost:
            return
        where = {"first": lost[0].sequence, "last": lost[-1].sequence, "acknowledged": sent.upto}
        _log.warning("acknowledged_and_lost", stream=ESCALATIONS, missing=len(lost), **where)
        for message in lost:
            try:
                await self._ask(resent(message))
            except (UnreadableError, NotComparedError):
                _log.warning("not_restored", stream=ESCALATIONS, sequence=message.sequence)
            else:
                RESTORED.labels(ESCALATIONS).inc()

    async def _restore_verdicts(self, found: StreamReport) -> None:
        lost = [key for key in dict.fromkeys(found.verdicts) if not await self._has_verdict(key)]
        if not lost:
            return
        _log.warning("acknowledged_and_lost", stream=VERDICTS, missing=len(lost), acknowledged=found.verdicts_to)
        for key in lost:
            try:
                verified = await self._ask(LostVerdict(key=key), Verified)
            except NotComparedError:
                _log.warning("not_restored", stream=VERDICTS, rid=key.split(".")[1])
                continue
            if isinstance(verified, Verified):
                await self._bus.publish(verified, id=f"{key}.restored-verdict", headers={})
                RESTORED.labels(VERDICTS).inc()

    async def _has_verdict(self, key: str) -> bool:
        """Whether the mirror has it, or the pipeline: by the fast lane, or from here."""
        tenant, rid = key.split(".")
        here = ((VERDICTS, verdicts_of(self._site, key)), (PIPE, fact_subject(Verified, tenant, rid)))
        return any([await self._bus.last(stream, subject) is not None for stream, subject in here])

    async def _ask(self, message: Message, *more: type[Message]) -> Any:
        """A `StreamReport`, or one of `more`. Raises `UnreachableError`, `NotComparedError`."""
        data = encode(message)
        if len(data) > MOST_BYTES:
            raise NotComparedError(f"{len(data)} bytes are more than one message holds")
        reply = await self._bus.request(ping(self._site), data, timeout_s=TIMEOUT_S)
        try:
            return decode(reply, StreamReport, *more)
        except UnreadableError as error:
            raise NotComparedError("the hub's reply is none to a comparison of streams") from error


@asynccontextmanager
async def open_stream_guard(settings: Settings, bus: Bus) -> AsyncIterator[StreamGuard]:
    """Compare the site's streams with the hub's until left."""
    guard = StreamGuard(bus, settings.site)
    checking = asyncio.create_task(guard.keep_checking())
    checking.add_done_callback(_on_end)
    try:
        yield guard
    finally:
        await end_tasks(checking)


def _on_end(checking: asyncio.Task[None]) -> None:
    if not checking.cancelled() and (error := checking.exception()):
        report(error, "the site's streams are no longer compared with the hub's")


def first_of_each(sent: Sequence[StoredMessage], missing: Sequence[str]) -> list[StoredMessage]:
    """The first message of each key that is missing, in the order in which they were sent. Pure."""
    firsts: dict[str, StoredMessage] = {}
    for message in sent:
        firsts.setdefault(key_of(message.subject), message)
    keys = frozenset(missing)
    return [message for key, message in firsts.items() if key in keys]


def resent(message: StoredMessage) -> LostEscalation:
    """The stored escalation, to be stored again elsewhere under the same id. Raises `UnreadableError`."""
    headers = message.headers
    return LostEscalation(
        escalated=decode(message.data, Escalated),
        id=headers.get("Nats-Msg-Id", message.position),
        cause=headers.get("Tidegate-Cause", ""),
        traceparent=headers.get("traceparent", ""),
    )
