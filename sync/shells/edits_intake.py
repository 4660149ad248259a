"""The hub takes what sites wrote from the stream EDITS, and relays it in the order of each author's chain.

A delivery is ended only once what it holds is in the log, or can never be: then it is a dead letter that says why. The
author keeps its edit until it knows: see outbox.py. Next: sync/relay.py, which judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tidegate.brokers.base import Broker, Delivery
from tidegate.schemas.errors import RejectError, TidegateError, UnreadableError
from tidegate.schemas.message import decode
from tidegate.schemas.replication import RelayReceipt
from tidegate.schemas.subjects import site_of
from tidegate.schemas.sync import SignedOperation
from tidegate.sync.rules.merge import Version, version_of
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.hub_tenant import HubTenant

STAGE = "sync"
"""Who writes the dead letters."""
MOST_WAITS = 8
"""So often an operation waits for those before it: its author sends it again where they do not come."""
AHEAD_S = 5.0
BUSY_S = 1.0


class _Sent(NamedTuple):
    delivery: Delivery
    signed: SignedOperation
    version: Version


class EditsIntake:
    """Settles batches of the hub's EDITS. `relayed` is called with the tenant of what came into the log."""

    def __init__(
        self,
        broker: Broker,
        tenants: Mapping[str, HubTenant],
        clock: Callable[[], int],
        faults: Faults,
        relayed: Callable[[str], None],
    ) -> None:
        self._broker = broker
        self._tenants = tenants
        self._clock = clock
        self._faults = faults
        self._relayed = relayed

    async def settle(self, batch: Sequence[Delivery]) -> None:
        """Bring each delivery to an end, or hand it back for later. Raises what dead-lettering raises."""
        authors: dict[tuple[str, str, str], list[_Sent]] = {}
        for delivery in batch:
            try:
                signed = decode(delivery.data, SignedOperation)
                version = version_of(signed)
            except UnreadableError as error:
                await self._broker.dead_letter(delivery, STAGE, error)
                continue
            operation = version.operation
            key = (operation.tenant, site_of(delivery.subject), operation.dot.actor)
            authors.setdefault(key, []).append(_Sent(delivery, signed, version))
        for (tenant, site, _), sent in authors.items():
            sent.sort(key=lambda each: each.version.operation.dot.counter)
            await self._take(tenant, site, sent)

    async def _take(self, name: str, site: str, sent: list[_Sent]) -> None:
        tenant = self._tenants.get(name)
        if tenant is None:
            for each in sent:
                await self._dead_letter(each, f"this hub has no tenant {name}")
            return
        try:
            receipt = await tenant.take(site, [each.signed for each in sent], self._clock())
        except (TidegateError, OSError) as error:
            self._faults.note("edits", error, site)
            await _hand_back(sent, BUSY_S)
            return
        self._faults.clear("edits", site)
        for each in sent[: receipt.taken]:
            await each.delivery.ack()
        if receipt.taken:
            self._relayed(name)
        await self._settle_rest(name, sent[receipt.taken :], receipt)

    async def _settle_rest(self, name: str, rest: list[_Sent], receipt: RelayReceipt) -> None:
        """What the relay did not take: the first one for the receipt's reason, the others because of it."""
        about = f"{name}/{receipt.actor}"
        if not rest:
            self._faults.clear(about)
        elif receipt.outcome == "hole":
            for each in rest:
                if each.delivery.attempt > MOST_WAITS:
                    await each.delivery.ack()
                else:
                    await each.delivery.retry(min(AHEAD_S, 0.1 * 2**each.delivery.attempt))
        elif receipt.outcome == "ahead":
            await _hand_back(rest, AHEAD_S)
        else:
            self._faults.note(about, RejectError(f"{receipt.outcome}: {receipt.reason}"))
            is_fenced = receipt.outcome == "fenced"
            for each in rest if is_fenced else rest[:1]:
                await self._dead_letter(each, f"{receipt.outcome}: {receipt.reason}")
            await _hand_back([] if is_fenced else rest[1:], BUSY_S)

    async def _dead_letter(self, sent: _Sent, reason: str) -> None:
        await self._broker.dead_letter(sent.delivery, STAGE, RejectError(reason))


async def _hand_back(sent: Sequence[_Sent], after_s: float) -> None:
    for each in sent:
        await each.delivery.retry(after_s)
