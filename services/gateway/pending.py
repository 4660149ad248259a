"""Who waits for which answer, and until when.

Nobody is forgotten: every wait ends with an answer, a refusal or its own timer. Next: ticket.py."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec

from tidegate.schemas import Published, Refused

Reply = Published | Refused | None


class WaitLimits(msgspec.Struct, frozen=True):
    """How many may wait: in all, of a tenant, of a caller."""

    total: int
    per_tenant: int
    per_caller: int


class PendingReplies:
    """Futures by tenant and request id; each ends with an answer, a refusal, or None when its time is up.

    A future leaves the table when it is done, however that came about.
    """

    def __init__(self, limits: WaitLimits) -> None:
        self._limits = limits
        self._count = 0
        self._by_tenant: Counter[str] = Counter()
        self._by_caller: Counter[tuple[str, str]] = Counter()
        self._futures: dict[tuple[str, str], set[asyncio.Future[Reply]]] = {}

    def __len__(self) -> int:
        return self._count

    def is_full(self, tenant: str, caller: str) -> bool:
        """Whether one more of this tenant and caller would be one too many. Nobody knows a caller without a name, so
        that those are bounded by their tenant alone."""
        return (
            self._count >= self._limits.total
            or self._by_tenant[tenant] >= self._limits.per_tenant
            or (caller != "" and self._by_caller[(tenant, caller)] >= self._limits.per_caller)
        )

    def open(self, tenant: str, rid: str, wait_s: float, caller: str = "") -> asyncio.Future[Reply]:
        """A future for the answer, for at most `wait_s` seconds. Ask `is_full` first."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        timer = future.get_loop().call_later(wait_s, _resolve, future, None)
        self._futures.setdefault((tenant, rid), set()).add(future)
        self._count_one(tenant, caller, 1)

        def leave(done: asyncio.Future[Reply]) -> None:
            timer.cancel()
            self._count_one(tenant, caller, -1)
            waiters = self._futures[(tenant, rid)]
            waiters.discard(done)
            if not waiters:
                del self._futures[(tenant, rid)]

        future.add_done_callback(leave)
        return future

    def _count_one(self, tenant: str, caller: str, change: int) -> None:
        self._count += change
        self._by_tenant[tenant] += change
        self._by_caller[(tenant, caller)] += change
        if not self._by_caller[(tenant, caller)]:
            del self._by_caller[(tenant, caller)]  # askers are not a few, as tenants are

    def has_waiters(self, tenant: str, rid: str) -> bool:
        """Whether anybody waits for this answer; asked before it is decoded."""
        return (tenant, rid) in self._futures

    def tenants_of(self, rid: str) -> tuple[str, ...]:
        """The tenants that wait under this request id."""
        return tuple(tenant for tenant, waited in self._futures if waited == rid)

    def resolve(self, tenant: str, rid: str, reply: Published | Refused) -> None:
        """Give everybody who waits under this tenant and request id the same reply."""
        for future in tuple(self._futures.get((tenant, rid), ())):
            _resolve(future, reply)

    async def drain(self, grace_s: float, refused: Refused) -> None:
        """Wait until nobody waits, at most `grace_s` seconds; then everybody left gets `refused`."""
        if futures := [future for waiters in self._futures.values() for future in waiters]:
            await asyncio.wait(futures, timeout=grace_s)
        for future in futures:
            _resolve(future, refused)


def _resolve(future: asyncio.Future[Reply], reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)
