"""Grants without trust: every site is a good one with a lease, and is granted and followed as by the product."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.schemas import Collection, DownlinkRequest, Message, decode
from tidegate.schemas.subjects import lease_of, site_of
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.downlink_link import DownlinkFollower
from tidegate.sync.shells.hub_shell import HubSync
from tidegate.sync.shells.lease_requests import refusing
from tidegate.sync.shells.site_grants import GrantPorts, SiteGrants


class EveryLease:
    """Every site has a lease; see `leasing.LeaseGate`."""

    def is_leased(self, site: str, now_ms: int) -> bool:
        """See `LeaseGate`."""
        return bool(site and now_ms)

    def is_revoked(self, site: str) -> bool:
        """See `LeaseGate`."""
        return not site


class OpenGrants(SiteGrants):
    """The grants of a hub whose `worker` is set once it is open: its collections are what there is to grant."""

    def __init__(
        self, bus: JetStreamBus, sites: Sequence[str], tenants: Sequence[str], now_ms: Callable[[], int]
    ) -> None:
        def list_collections() -> list[Collection]:
            held = self.worker.tenants.values() if self.worker else ()
            return [rule for tenant in held for rule in tenant.collections().values()]

        granted: Mapping[str, Sequence[str]] = {site: tuple(tenants) for site in sites}
        ports = GrantPorts(
            bus=bus, collections=list_collections, sites=lambda: granted, gate=EveryLease(), now_ms=now_ms
        )
        super().__init__(ports)
        self.worker: HubSync | None = None

    async def apply_all(self) -> None:
        """As the product does; nothing before the collections are known."""
        if self.worker is not None:
            await super().apply_all()

    async def serve(self, bus: JetStreamBus) -> None:
        """Answer what sites ask for, until the bus is closed."""

        async def answer(subject: str, data: bytes) -> Message:
            return await self.answer(site_of(subject), decode(data, DownlinkRequest))

        await bus.respond_by_subject(lease_of("*"), refusing(answer))


def open_follower(bus: JetStreamBus, settings: SyncSettings, directory: Path) -> DownlinkFollower:
    """A site's end; it is to be kept."""
    return DownlinkFollower(bus, settings, directory / "granted.msgpack", lambda: False)
