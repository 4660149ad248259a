"""The hub's ends of what a site asks at once: a verdict, and sessions that verify drafts round by round.

Promises that each request has a reply, and that nothing is done with one that the intake refuses. Next: intake.py,
single_flight.py, verification_server.py."""

from __future__ import annotations

from tidegate.brokers.base import Bus
from tidegate.schemas import Message, Refused, RetryLaterError, encode
from tidegate.schemas.refusals import refusal
from tidegate.schemas.verification_subjects import (
    fast_lane,
    older_fast_lane,
    older_verification_session,
    verification_session,
)
from tidegate.services.uplink.intake import HubIntake, IntakeRefusedError
from tidegate.services.uplink.single_flight import SingleFlight
from tidegate.services.uplink.verification_server import VerificationSessions

EVERY_SITE = EVERY_TENANT = "*"


class HubLanes:
    """Answers all sites of a hub; without `sessions` its backend verifies no drafts."""

    def __init__(self, intake: HubIntake, flight: SingleFlight, sessions: VerificationSessions | None) -> None:
        self._intake = intake
        self._flight = flight
        self._sessions = sessions

    async def serve(self, bus: Bus) -> None:
        """Answer on the bus until it closes."""
        for lane in (fast_lane(EVERY_SITE, EVERY_TENANT), older_fast_lane(EVERY_SITE)):
            await bus.respond_by_subject(lane, self.verify)
        for start in (verification_session(EVERY_SITE, EVERY_TENANT), older_verification_session(EVERY_SITE)):
            await bus.respond_by_subject(start, self.begin)
        if self._sessions is not None:
            ours = self._sessions.worker
            for own in (
                verification_session(EVERY_SITE, EVERY_TENANT, ours),
                older_verification_session(EVERY_SITE, ours),
            ):
                await bus.respond_by_subject(own, self.go_on)

    async def verify(self, subject: str, data: bytes) -> bytes:
        """Bytes of an `Escalated` in; of a `Verified`, or of a `Refused` with the reason, out."""
        try:
            reply: Message = await self._flight.reply(await self._intake.read_asked(subject, data))
        except IntakeRefusedError as error:
            reply = error.refused
        except RetryLaterError as error:
            reply = Refused(code="unavailable", reason=error.reason)
        return encode(reply)

    async def begin(self, subject: str, data: bytes) -> bytes:
        """Bytes of a `Begin` in; of `Accepted`, `Verified` or `Refused` out."""
        try:
            begin = await self._intake.read_begin(subject, data)
            if self._sessions is None:
                return encode(refusal("unable", fault="the hub's backend verifies no drafts"))
            return await self._sessions.begin(encode(begin))
        except IntakeRefusedError as error:
            return encode(error.refused)
        except RetryLaterError as error:
            return encode(Refused(code="unavailable", reason=error.reason))

    async def go_on(self, subject: str, data: bytes) -> bytes:
        """Bytes of a `Propose` in; of `Accepted`, `Verified` or `Refused` out."""
        assert self._sessions is not None  # or nobody would ask here
        try:
            return await self._sessions.go_on(data, lambda begun: self._intake.check_session(subject, begun))
        except IntakeRefusedError as error:
            return encode(error.refused)
