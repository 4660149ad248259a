"""One worker of the hub for each escalation, by whichever lane it came: the others wait for its verdict.

A worker claims a request by storing a `WorkClaim` where there was none, and holds it for as long as it goes on storing
it. Each claim is stored only after the one before it, so that a worker which was taken for dead, and was not, finds out
before its verdict counts. Nobody compares clocks: whoever waits measures how long a claim has not moved. See decision
0055. Next: single_flight.py, which does the same within one process.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal

import msgspec

from tidegate.brokers.base import Bus, SequenceConflictError, UnreachableError
from tidegate.brokers.process.tasks import end_tasks
from tidegate.schemas import (
    Escalated,
    Message,
    Question,
    Refused,
    RetryLaterError,
    TidegateError,
    Verified,
    WorkClaim,
    decode,
    encode,
    replace,
)
from tidegate.schemas.hub_subjects import claimant
from tidegate.schemas.subjects import CLAIMS, subject_of

LEASE_S = 2.0
"""How long a claim stands that is not stored again. The ack wait of a delivery is longer: a worker that is killed has
been replaced by the time its deliveries come back."""
RENEWALS = 5
"""How often a claim is stored again while it stands."""
ASK_AGAIN_S = 0.05
FAILED_AFTER_S = 0.5
"""When those who waited for a verdict that failed try themselves."""
ClaimOutcome = Literal["worked", "taken_over", "unclaimed", "shared", "fenced"]
"""What became of a request here: worked at, from the first, in the place of a worker that was silent, or while no claim
could be stored; given the verdict of another; or worked at in vain, because another had taken over."""


NOT_STORED = (TidegateError, TimeoutError, ConnectionError)
"""What a bus raises that cannot store or read a claim now: its stream has no leader, or there is no connection."""


class ClaimLostError(TidegateError, RuntimeError):
    """Another worker has taken this claim over; what is worked out here does not count."""

    hint = "the hub's workers are too busy, or were stopped, for longer than a claim stands"


class ClaimLease:
    """How long a claim has not moved, as one who waits sees it."""

    def __init__(self, lease_s: float, clock: Callable[[], float] | None = None) -> None:
        self._lease_s = lease_s
        self._clock = clock or asyncio.get_running_loop().time
        self._sequence = 0
        self._since_s = 0.0

    def is_over(self, sequence: int) -> bool:
        """Whether the claim that is stored under this sequence now was the same for the whole lease."""
        if sequence != self._sequence:
            self._sequence, self._since_s = sequence, self._clock()
        return self._clock() - self._since_s >= self._lease_s


class Claims:
    """Calls `verify` for a request in one process of the hub, and gives its verdict to the others.

    `count` is told what became of each request here.
    """

    def __init__(
        self,
        bus: Bus,
        verify: Callable[[Escalated], Awaitable[Iterable[Message]]],
        count: Callable[[ClaimOutcome], None] = lambda _: None,
        lease_s: float = LEASE_S,
    ) -> None:
        self.worker = uuid.uuid4().hex[:12]
        self._bus = bus
        self._verify = verify
        self._count = count
        self._lease_s = lease_s
        self._working: dict[str, asyncio.Future[Message]] = {}

    async def serve(self) -> None:
        """Tell the other workers, until the bus closes, what becomes of the claims of this one."""
        await self._bus.respond(claimant(self.worker), self._tell)

    async def verdict(self, escalated: Escalated) -> list[Message]:
        """The one verdict, worked out here or by another worker. Raises what `verify` raises, `RetryLaterError` where
        the other worker failed, and what the bus raises."""
        mine, sequence, lease = self._claim(escalated), 0, ClaimLease(self._lease_s)
        standing: WorkClaim | None = None
        while True:
            if standing is not None and standing.verdict is not None:
                self._count("shared")
                return [standing.verdict]
            if standing is None or standing.holder is None or lease.is_over(sequence):
                found = await self._try(escalated, mine, sequence, standing)
            else:
                found = await self._ask(standing)
            if found is not None:
                return [found]
            sequence, standing = await self._read(mine)

    def _claim(self, escalated: Escalated) -> WorkClaim:
        question = digest_of_question(escalated.question)
        site, tenant, rid = escalated.site, escalated.tenant, escalated.rid
        return WorkClaim(site=site, tenant=tenant, rid=rid, question=question, holder=self.worker)

    async def _read(self, claim: WorkClaim) -> tuple[int, WorkClaim | None]:
        stored = await self._bus.read(CLAIMS, subject_of(claim, self._bus.domain))
        if not stored:
            return 0, None
        sequence, data = stored[-1]
        return sequence, decode(data, WorkClaim)

    async def _try(
        self, escalated: Escalated, mine: WorkClaim, after: int, before: WorkClaim | None
    ) -> Verified | None:
        """The verdict, where the claim is ours now; None where another was faster, or has taken over meanwhile."""
        try:
            sequence = await self._append(mine, after)
        except SequenceConflictError:
            return None
        except NOT_STORED:  # a second call of the model is better than no answer
            verified = await self._one_verdict(escalated)
            self._count("unclaimed")
            return verified
        is_taken_over = before is not None and before.holder is not None
        subject = subject_of(mine, self._bus.domain)
        waited_for = self._working[subject] = asyncio.get_running_loop().create_future()
        reply: Message = replace(mine, holder=None)
        try:
            verified = await self._work(escalated, mine, sequence)
            self._count("taken_over" if is_taken_over else "worked")
            reply = replace(mine, verdict=verified)
            return verified
        except ClaimLostError:
            self._count("fenced")
            return None
        except Exception as error:
            reply = Refused(code="unavailable", reason=str(error))
            raise
        finally:
            self._working.pop(subject, None)
            waited_for.set_result(reply)

    async def _work(self, escalated: Escalated, mine: WorkClaim, sequence: int) -> Verified:
        work = asyncio.create_task(self._one_verdict(escalated))
        try:
            while not (await asyncio.wait({work}, timeout=self._lease_s / RENEWALS))[0]:
                sequence = await self._store(mine, sequence)
            verified = work.result()
        except ClaimLostError:
            raise
        except BaseException:  # failed, or drained: somebody else may begin at once
            await self._store(replace(mine, holder=None), sequence)
            raise
        finally:
            await end_tasks(work)
        await self._store(replace(mine, verdict=verified), sequence)
        return verified

    async def _one_verdict(self, escalated: Escalated) -> Verified:
        (verified,) = await self._verify(escalated)
        assert isinstance(verified, Verified)  # as of every verdict
        return verified

    async def _store(self, claim: WorkClaim, sequence: int) -> int:
        """Store the claim after the one of ours under this sequence. Raises `ClaimLostError`.

        A server that does not answer takes the claim from nobody: the next storing, or the lease, will tell.
        """
        while True:
            try:
                return await self._append(claim, sequence)
            except SequenceConflictError:
                pass  # by whom, the stream says
            except NOT_STORED:
                return sequence
            try:
                sequence, standing = await self._read(claim)
            except NOT_STORED:
                return sequence
            if standing is not None and standing.holder != self.worker:
                raise ClaimLostError(f"another worker of the hub answers {claim.rid}")

    async def _append(self, claim: WorkClaim, after: int) -> int:
        """As `append` of the bus, within a lease: a hub of several servers has no leader for seconds when one dies."""
        async with asyncio.timeout(self._lease_s):
            return await self._bus.append(claim, after=after)

    async def _ask(self, standing: WorkClaim) -> Verified | None:
        """The verdict of whoever holds the claim; None where it has none (yet). Raises `RetryLaterError`."""
        assert standing.holder is not None
        try:
            data = await self._bus.request(
                claimant(standing.holder), encode(standing), timeout_s=self._lease_s / RENEWALS
            )
        except UnreachableError:  # busy, or dead: what is stored will tell
            await asyncio.sleep(ASK_AGAIN_S)
            return None
        reply = decode(data, WorkClaim, Refused)
        if isinstance(reply, Refused):
            raise RetryLaterError(reply.reason, FAILED_AFTER_S)
        verdict: Verified | None = reply.verdict
        if verdict is None:
            await asyncio.sleep(ASK_AGAIN_S)
        else:
            self._count("shared")
        return verdict

    async def _tell(self, data: bytes) -> bytes:
        asked = decode(data, WorkClaim)
        working = self._working.get(subject_of(asked, self._bus.domain))
        return encode(replace(asked, holder=None) if working is None else await asyncio.shield(working))


def digest_of_question(question: Question) -> str:
    """What a claim distinguishes questions by, as 32 hex digits."""
    return hashlib.blake2b(msgspec.msgpack.encode(question), digest_size=16).hexdigest()
