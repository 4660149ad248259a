"""Who waits for which answer, and until when."""

from __future__ import annotations

import asyncio

from tidegate.schemas import Published, Refused

Reply = Published | Refused | None
Key = tuple[str, str]


class PendingReplies:
    """Futures by tenant and request id; each ends with an answer, a refusal, or None when its time is up.

    Nobody is forgotten: a future leaves the table when it is done, however that came about, and its own timer sees
    to it that it is done in time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._futures: dict[Key, set[asyncio.Future[Reply]]] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        return self._count >= self._limit

    def open(self, tenant: str, rid: str, wait_s: float) -> asyncio.Future[Reply]:
        """A future for the answer, for at most `wait_s` seconds. Ask `full` first."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        timer = loop.call_later(wait_s, _end, future, None)
        self._futures.setdefault((tenant, rid), set()).add(future)
        self._count += 1

        def leave(done: asyncio.Future[Reply]) -> None:
            timer.cancel()
            self._count -= 1
            waiters = self._futures[(tenant, rid)]
            waiters.discard(done)
            if not waiters:
                del self._futures[(tenant, rid)]

        future.add_done_callback(leave)
        return future

    def expects(self, tenant: str, rid: str) -> bool:
        """Whether anybody waits for this answer; asked before it is decoded."""
        return (tenant, rid) in self._futures

    def tenants_of(self, rid: str) -> tuple[str, ...]:
        """The tenants that wait under this request id."""
        return tuple(tenant for tenant, waited in self._futures if waited == rid)

    def settle(self, tenant: str, rid: str, reply: Published | Refused) -> None:
        """Give everybody who waits under this tenant and request id the same reply."""
        for future in tuple(self._futures.get((tenant, rid), ())):
            _end(future, reply)

    async def drain(self, grace_s: float, last_word: Refused) -> None:
        """Wait until nobody waits, at most `grace_s` seconds; then everybody left gets `last_word`."""
        if futures := [future for waiters in self._futures.values() for future in waiters]:
            await asyncio.wait(futures, timeout=grace_s)
        for future in futures:
            _end(future, last_word)


def _end(future: asyncio.Future[Reply], reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)
