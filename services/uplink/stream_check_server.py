"""The hub's end of the comparison of streams over the link: what it has not, and what it sent that a site may not have.

Promises that a site is told of, and can store, its own messages only. Next: stream_check.py, the site's end."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.brokers.base import Bus, TopologyMissingError
from tidegate.brokers.topology.streams import down_consumer
from tidegate.schemas import (
    CloudState,
    LostEscalation,
    LostVerdict,
    Message,
    StreamCheck,
    StreamReport,
    UnreadableError,
    decode,
    encode,
)
from tidegate.schemas.subject_claims import TRACEPARENT
from tidegate.schemas.subjects import ESCALATIONS, VERDICTS, Source, escalations_of, key_of, site_of, verdicts_of
from tidegate.schemas.uplink import MOST_CHECKED
from tidegate.services.uplink.intake import HubIntake, IntakeRefusedError
from tidegate.services.uplink.single_flight import STAGE


class PingServer:
    """Answers what sites send under the subjects of their pings; a ping itself by the hub's `state`."""

    def __init__(self, bus: Bus, state: Callable[[], CloudState], intake: HubIntake) -> None:
        self._bus = bus
        self._state = state
        self._intake = intake

    async def answer(self, subject: str, data: bytes) -> bytes:
        """The reply; `Refused` to an escalation that may not come up, whose request ends as in the stream. Raises
        `RetryLaterError`, `UnreachableError`, and what storing raises; the bus reports it, and the site asks again."""
        try:
            asked = decode(data, StreamCheck, LostEscalation, LostVerdict) if data else None
        except UnreadableError:
            asked = None
        site = site_of(subject)
        match asked:
            case StreamCheck():
                return encode(await self._report(site, asked))
            case LostEscalation():
                return encode(await self._store(subject, asked))
            case LostVerdict(key=key):
                return await self._bus.last(VERDICTS, verdicts_of(site, key)) or encode(StreamReport())
        return encode(self._state())

    async def _report(self, site: str, asked: StreamCheck) -> StreamReport:
        wanted = [(key, escalations_of(site, key)) for key in asked.escalations]
        missing = tuple([key for key, subject in wanted if await self._bus.last(ESCALATIONS, subject) is None])
        source = Source(VERDICTS, verdicts_of(site))
        try:
            sent = await self._bus.acknowledged(source, down_consumer(site), asked.verdicts_after, MOST_CHECKED)
        except TopologyMissingError:
            return StreamReport(missing=missing)
        verdicts = tuple(key_of(message.subject) for message in sent.messages)
        return StreamReport(missing=missing, verdicts=verdicts, verdicts_to=sent.upto)

    async def _store(self, subject: str, lost: LostEscalation) -> Message:
        try:
            escalated = await self._intake.read_again(subject, lost.escalated)
        except IntakeRefusedError as error:
            for verdict in error.instead:  # as the stage does with what came by the stream, and under the same id
                await self._bus.publish(verdict, id=f"{lost.id}.{STAGE}.0", headers={})
            return error.refused
        traceparent = lost.traceparent if TRACEPARENT.match(lost.traceparent) else ""
        headers = {"Tidegate-Cause": lost.cause, "traceparent": traceparent}
        present = {name: value for name, value in headers.items() if value}
        await self._bus.publish_again(escalated, id=lost.id, headers=present)
        return StreamReport()
