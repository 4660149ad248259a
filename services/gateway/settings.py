"""What the gateway can be configured to do. Next: services/settings.py, which composes it with the others."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.brokers.settings import Port, Positive
from tidegate.services.access.settings import OidcSettings

Origin = Annotated[str, msgspec.Meta(pattern=r"^(\*|https?://[^/\s*?#]+)$", description="as a browser sends it")]


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP endpoint of a site."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: Port = 0
    """0: the port of the last run where it is free, else one that the system chooses; `<state_dir>/<site>/gateway.json`
    says which."""
    max_body_bytes: Positive = 262_144
    """The longest body of a request; a longer one is refused."""
    oidc: OidcSettings = OidcSettings()
    """The OpenID provider whose tokens let somebody in, beside access keys."""
    model_aliases: dict[str, Literal["tidegate"]] = {}
    """Other names under which clients may ask for the model, for those whose model name cannot be changed; each
    reply has the name that was asked for."""
    cors_origins: tuple[Origin, ...] = ()
    """Origins (scheme, host and port) whose pages may use the API from a browser; `*`: all. Empty: none."""
    history_tokens: Annotated[int, msgspec.Meta(ge=0)] = 1024
    """Tokens of earlier turns of a chat that are read, the newest first, so that a follow-up is understood; 0: none."""
    instructions_tokens: Annotated[int, msgspec.Meta(ge=0)] = 1024
    """Tokens that the system prompts of a request may have together; more are refused."""
    ignore_system_prompts: bool = False
    """Whether system and developer messages are passed over, for clients that always send one, instead of followed or,
    where no model writes, refused."""
