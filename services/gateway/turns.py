"""Whose request is worked on next: tenants take turns, so that a crowd of one does not stand before another's.

A request waits here before it is stored; the pipeline behind takes what comes in order. Next: ingress.py."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable

from tidegate.services.gateway.settings import GatewayLimits

TenantRequest = tuple[str, str]
"""Tenant and request id."""
BESIDE_S = 5.0
"""How long after its last request a tenant counts as one that asks."""


class Turns:
    """At most `max_in_flight` requests at work; of a tenant with more than `crowd_from` of them, waiting or at work, at
    most `max_in_flight_of_crowd` while another one asks that has fewer.

    A tenant that is no crowd never waits for another one's requests. Crowds beside each other alone share all there is.
    """

    def __init__(self, limits: GatewayLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._at_work: dict[TenantRequest, float] = {}  # until when, in the clock's seconds
        self._by_tenant: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[TenantRequest, float, asyncio.Future[None]]]] = {}
        self._asked_at_s: dict[str, float] = {}

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
        self._let_in()

    def close(self) -> None:
        """Let everybody in: whoever closes refuses them."""
        for queue in self._waiting.values():
            for _, _, let_in in queue:
                if not let_in.done():
                    let_in.set_result(None)
        self._waiting.clear()

    def _begin(self, turn: TenantRequest, work_s: float) -> None:
        if turn not in self._at_work:
            self._by_tenant[turn[0]] += 1
        self._at_work[turn] = self._clock() + work_s

    def _is_crowd(self, tenant: str) -> bool:
        return self._by_tenant[tenant] + len(self._waiting.get(tenant, ())) > self._limits.crowd_from

    def _has_room(self, tenant: str) -> bool:
        since_s = self._clock() - BESIDE_S
        others = [other for other, at_s in self._asked_at_s.items() if other != tenant and at_s > since_s]
        if others and not self._is_crowd(tenant):
            return True
        if any(not self._is_crowd(other) for other in others):
            return self._by_tenant[tenant] < self._limits.max_in_flight_of_crowd
        return self._by_tenant[tenant] < max(1, self._limits.max_in_flight // (1 + len(others)))

    def _let_in(self) -> None:
        while ready := next((tenant for tenant in self._waiting if self._has_room(tenant)), None):
            turn, work_s, let_in = self._waiting[ready].popleft()
            if not self._waiting[ready]:
                del self._waiting[ready]
            if not let_in.done():
                self._begin(turn, work_s)
                let_in.set_result(None)

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
        for turn in [turn for turn, until_s in self._at_work.items() if until_s <= now_s]:
            self.end(*turn)
