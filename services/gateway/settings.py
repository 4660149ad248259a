"""What the gateway can be configured to do. Next: services/settings.py, which composes it with the others."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.brokers.settings import Port, Positive, Seconds
from tidegate.schemas.message import END
from tidegate.services.access.settings import OidcSettings

Origin = Annotated[str, msgspec.Meta(pattern=rf"^(\*|https?://[^/\s*?#]+){END}", description="as a browser sends it")]

Connections = Annotated[int, msgspec.Meta(ge=1, extra={"unit": "connections"})]
Requests = Annotated[int, msgspec.Meta(ge=1, extra={"unit": "requests"})]
Headers = Annotated[int, msgspec.Meta(ge=1, extra={"unit": "headers"})]
Watchers = Annotated[int, msgspec.Meta(ge=1, extra={"unit": "clients"})]


class GatewayLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much clients may take up of the HTTP endpoint. What goes beyond a limit is refused, or closed."""

    max_connections: Connections = 1024
    """Connections with a request in work, or with an open socket; one more is refused as `too_many_connections`."""
    max_connections_per_peer: Connections = 256
    """The same of one address, or of one IPv6 network of 64 bits. Behind a proxy all clients have its address: then set
    it to `max_connections`."""
    max_silent_connections: Connections = 512
    """Connections that have not sent a whole head, or wait between two requests. One more closes the one that waits
    longest of the address that has most of them."""
    head_timeout_s: Seconds = 5.0
    """How long the head of a request may take, counted from its first byte, that of the first request from the
    connection on."""
    body_timeout_s: Seconds = 10.0
    """How long a body may take, and the first message of a socket."""
    idle_timeout_s: Seconds = 10.0
    """How long a connection is kept between two requests."""
    write_timeout_s: Seconds = 30.0
    """How long a client may read nothing of what is sent to it."""
    max_head_bytes: Positive = 65_536
    """The longest head of a request."""
    max_headers: Headers = 100
    """Headers of a request."""
    max_waiting: Requests = 1024
    """Requests that wait for an answer; one more is refused as `busy`."""
    max_waiting_per_tenant: Requests = 512
    """The same of one tenant."""
    max_waiting_per_caller: Requests = 256
    """The same of one credential; over NATS, of one asker."""
    max_in_flight: Requests = 64
    """Requests that are worked on at a time; the others wait until it is their turn, and are stored only then."""
    crowd_from: Requests = 16
    """A tenant with more requests than this, waiting or in work, is a crowd."""
    max_in_flight_of_crowd: Requests = 1
    """Requests of a crowd in work while another tenant asks too. More of it serves the crowd faster, and others
    later: on one core a request takes as many times its own time as there are requests in front of it."""
    crowd_held_s: Seconds = 1.0
    """How long a crowd's next request is held back at most, counted from its last one, while requests of a tenant that
    is no crowd are at work. Less of it serves the crowd faster, and has more of the others' requests wait for one of
    the crowd's."""
    min_free_disk_mib: Annotated[int, msgspec.Meta(ge=0)] = 64
    """MiB that must be free below `state_dir`, so that what was accepted can be finished; with less, new requests are
    refused as `unavailable`, and `/readyz` says `no_room`."""
    max_streams: Watchers = 1024
    """Clients that follow an answer, over HTTP, WebSocket and NATS; one more is refused as `busy`."""
    max_watchers: Watchers = 256
    """Clients that watch the stages of requests, GET `/v1/requests/{rid}/events`."""
    max_watchers_per_caller: Watchers = 16
    """The same of one credential."""


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The certificate that the HTTP endpoint shows; without one it is not encrypted, and takes clients of this machine
    alone. `tidegate keys certificate` makes some, and any other will do."""

    certificate: str = ""
    """A PEM file with the certificate, and those between it and its authority."""
    key: str = ""
    """A PEM file with its private key."""
    behind_proxy: bool = False
    """Whether a proxy encrypts what clients of other machines send, so that it may reach this endpoint in clear."""


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP endpoint of a site."""

    host: str = "127.0.0.1"
    """The address to listen on."""
    port: Port = 0
    """0: the port of the last run where it is free, else one that the system chooses; `<state_dir>/<site>/gateway.json`
    says which."""
    max_body_bytes: Positive = 262_144
    """The longest body of a request; a longer one is refused."""
    tls: TlsSettings = TlsSettings()
    """Whether and how connections are encrypted."""
    limits: GatewayLimits = GatewayLimits()
    """How much clients may take up."""
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
