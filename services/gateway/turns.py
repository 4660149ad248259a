"""Whose request is worked on next: tenants take turns, so that a crowd of one does not stand before another's.

A request waits here before it is stored; the pipeline behind takes what comes in order. Next: ingress.py."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import NamedTuple

from tidegate.services.gateway.settings import GatewayLimits

TenantRequest = tuple[str, str]
"""Tenant and request id."""
BESIDE_S = 5.0
"""How long after its last request a tenant counts as one that asks."""


AT_WORK_S = 0.25
"""So long after its beginning a request holds a crowd back: what takes longer waits for the hub, or for a model, which
the crowd does not delay."""
AFTER_S = 0.025
"""So long after its end: who waited for the answer may ask again, and would find the crowd's next request in front."""


class _Work(NamedTuple):
    """A request at work, in the clock's seconds: since when, and until when at most."""

    began_s: float
    until_s: float


class Turns:
    """At most `max_in_flight` requests at work; of a tenant with more than `crowd_from` of them, waiting or at work, at
    most `max_in_flight_of_crowd` while another one asks that has fewer.

    A tenant that is no crowd never waits for another one's requests, and holds a crowd back while its own are at work,
    each of the crowd's by at most `crowd_held_s`: so a crowd's request is seldom in front of one of a tenant that
    asks one after the other. Crowds beside each other alone share all there is.
    """

    def __init__(self, limits: GatewayLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._at_work: dict[TenantRequest, _Work] = {}
        self._by_tenant: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[TenantRequest, float, asyncio.Future[None]]]] = {}
        self._asked_at_s: dict[str, float] = {}
        self._let_in_at_s: dict[str, float] = {}
        self._ended_at_s: dict[str, float] = {}
        self._waking: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._at_work)

    async def take(self, tenant: str, rid: str, work_s: float) -> None:
        """Return when the request may be stored. It counts as at work until `end`, at most `work_s` seconds.

        Giving up the wait takes it back."""
        self._asked_at_s[tenant] = self._clock()
        self._drop_overdue()
        let_in: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = ((tenant, rid), work_s, let_in)
        self._waiting.setdefault(tenant, deque()).append(entry)
        self._let_in()
        try:
            await let_in
        except asyncio.CancelledError:
            if let_in.cancelled():
                self._forget(tenant, entry)
            else:  # it was let in at the same moment
                self.end(tenant, rid)
            raise

    def end(self, tenant: str, rid: str) -> None:
        """The request is over, or was not stored; one that is not known is passed over."""
        if self._at_work.pop((tenant, rid), None) is not None:
            self._by_tenant[tenant] -= 1
            self._ended_at_s[tenant] = self._clock()
        self._let_in()

    def close(self) -> None:
        """Let everybody in: whoever closes refuses them."""
        for queue in self._waiting.values():
            for _, _, let_in in queue:
                if not let_in.done():
                    let_in.set_result(None)
        self._waiting.clear()
        self._wake_after(0.0)

    def _begin(self, turn: TenantRequest, work_s: float) -> None:
        if turn not in self._at_work:
            self._by_tenant[turn[0]] += 1
        now_s = self._clock()
        self._at_work[turn] = _Work(now_s, now_s + work_s)
        self._let_in_at_s[turn[0]] = now_s

    def _is_crowd(self, tenant: str) -> bool:
        return self._by_tenant[tenant] + len(self._waiting.get(tenant, ())) > self._limits.crowd_from

    def _room_in_s(self, tenant: str) -> float | None:
        """After how long the tenant's next request may be let in; None: as soon as another one has ended."""
        since_s = self._clock() - BESIDE_S
        others = [other for other, at_s in self._asked_at_s.items() if other != tenant and at_s > since_s]
        if others and not self._is_crowd(tenant):
            return 0.0
        few = {other for other in others if not self._is_crowd(other)}
        most = self._limits.max_in_flight_of_crowd if few else max(1, self._limits.max_in_flight // (1 + len(others)))
        if self._by_tenant[tenant] >= most:
            return None
        return max(0.0, self._held_until_s(tenant, few) - self._clock()) if few else 0.0

    def _held_until_s(self, crowd: str, few: Collection[str]) -> float:
        """Until when a crowd's next request is held back for tenants that are none."""
        at_work = [work.began_s + AT_WORK_S for (tenant, _), work in self._at_work.items() if tenant in few]
        ended = [self._ended_at_s[tenant] + AFTER_S for tenant in few if tenant in self._ended_at_s]
        longest_s = self._let_in_at_s.get(crowd, -math.inf) + self._limits.crowd_held_s
        return min(longest_s, max([*at_work, *ended], default=0.0))

    def _let_in(self) -> None:
        held = {tenant: self._room_in_s(tenant) for tenant in self._waiting}
        while ready := next((tenant for tenant, after_s in held.items() if after_s == 0.0), None):
            turn, work_s, let_in = self._waiting[ready].popleft()
            if not self._waiting[ready]:
                del self._waiting[ready]
            if not let_in.done():
                self._begin(turn, work_s)
                let_in.set_result(None)
            held = {tenant: self._room_in_s(tenant) for tenant in self._waiting}
        self._wake_after(min((after_s for after_s in held.values() if after_s is not None), default=0.0))

    def _wake_after(self, delay_s: float) -> None:
        """Look again who may be let in; 0: nobody waits for a time to pass."""
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        if delay_s:
            self._waking = asyncio.get_running_loop().call_later(delay_s, self._let_in)

    def _forget(self, tenant: str, entry: tuple[TenantRequest, float, asyncio.Future[None]]) -> None:
        queue = self._waiting.get(tenant)
        if queue is not None and entry in queue:
            queue.remove(entry)
            if not queue:
                del self._waiting[tenant]
            self._let_in()

    def _drop_overdue(self) -> None:
        """A request of which nothing is heard any more, as when its answer came while there was no connection."""
        now_s = self._clock()
        for turn in [turn for turn, work in self._at_work.items() if work.until_s <= now_s]:
            self.end(*turn)
