"""What the gateway can be configured to do. Next: services/settings.py, which composes it with the others."""

from __future__ import annotations

import msgspec

from tidegate.brokers.settings import Port, Positive
from tidegate.schemas.message import Name


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP endpoint of a site."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: Port = 0
    """0 lets the system choose; the chosen one is written to `<state_dir>/<site>/gateway.json`."""
    max_body_bytes: Positive = 262_144
    """The longest body of a request, in bytes; a longer one is refused."""
    default_tenant: Name = "kiosk"
    """The tenant of a request that names none."""
