"""Has the sync worker of a site exchange the site's own keys with the hub, while both run.

Next: sync/shells/key_rotation.py, which does it."""

from __future__ import annotations

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.schemas.message import decode, encode
from tidegate.schemas.replica import ReplicaFault
from tidegate.schemas.subjects import replica_request
from tidegate.schemas.trust import KeysRotated, RotateKeys
from tidegate.services.fleet.endpoints import find_server
from tidegate.services.settings import Settings
from tidegate.sync.shells.lease_requests import HubRefusedError

TIMEOUT_S = 30.0


async def ask_to_rotate(settings: Settings, asked: RotateKeys) -> KeysRotated:
    """What was exchanged. Raises `UnreachableError`, `FleetNotRunningError`, and `HubRefusedError` with the reason of
    the site or of the hub."""
    async with JetStreamBus.open(find_server(settings), settings.site) as bus:
        reply = await bus.request(replica_request("rotate"), encode(asked), timeout_s=TIMEOUT_S)
    rotated = decode(reply, KeysRotated, ReplicaFault)
    if isinstance(rotated, ReplicaFault):
        raise HubRefusedError(rotated)
    return rotated  # type: ignore[no-any-return]
