"""Applies what arrives in a site's mirror of CORPUS, as it arrives: the quick way from the hub to the site's store.

Whatever cannot be applied is left to the next question to the hub, and is not taken again. Next: site_tenant.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tidegate.brokers.base import Delivery
from tidegate.schemas.errors import RetryLaterError, TidegateError, UnreadableError
from tidegate.schemas.message import decode
from tidegate.schemas.sync import CollectionDelta
from tidegate.sync.reader import CollectionUnknownError
from tidegate.sync.shells import metrics
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.site_tenant import SiteTenant

SOURCE = "follow"


class Arrivals:
    """Takes the deliveries of a site's CORPUS. `ask` has the hub be asked soon."""

    def __init__(self, tenants: Mapping[str, SiteTenant], faults: Faults, ask: Callable[[], None]) -> None:
        self._tenants = tenants
        self._faults = faults
        self._ask = ask

    async def take(self, batch: Sequence[Delivery]) -> None:
        """Apply a batch, and end its deliveries."""
        arrived: dict[tuple[str, str], list[CollectionDelta]] = {}
        for delivery in batch:
            _, name, collection, _ = delivery.subject.split(".", 3)
            try:
                arrived.setdefault((name, collection), []).append(decode(delivery.data, CollectionDelta))
            except UnreadableError:
                self._ask()
        for (name, collection), deltas in arrived.items():
            if name in self._tenants:
                await self._apply(self._tenants[name], collection, deltas)
        for delivery in batch:
            await delivery.ack()

    async def _apply(self, tenant: SiteTenant, collection: str, deltas: Sequence[CollectionDelta]) -> None:
        about = f"{tenant.name}/{collection}"
        try:
            await tenant.receive(collection, deltas)
        except (CollectionUnknownError, RetryLaterError, ConnectionError):
            self._ask()
        except (TidegateError, OSError) as error:
            self._faults.note(about, error, SOURCE)
            self._ask()
        else:
            metrics.APPLIED.labels(tenant.name, collection).inc(len(deltas))
            self._faults.clear(about, SOURCE)
