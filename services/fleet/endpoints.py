"""Where the running fleet of this machine listens: written by `up`, read by every command that asks it something."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tidegate.brokers.settings import Nats, Settings


class NotUp(ConnectionError):
    """No fleet is up below this state directory."""

    def __init__(self, state: str) -> None:
        super().__init__(f"nothing is up below {state}")
        self.hint = "start it with `tidegate up`, or name a server with TIDEGATE_NATS__URL"


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """NATS addresses of the hub and the sites, HTTP addresses of the sites' gateways, and who keeps them up."""

    pid: int
    hub: Nats
    sites: dict[str, Nats]
    http: dict[str, str] = {}


def path_of(settings: Settings) -> Path:
    return Path(settings.state_dir) / "fleet.json"


def write(settings: Settings, known: Addresses) -> None:
    """Make the addresses known, in one step."""
    path = path_of(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.write_bytes(msgspec.json.encode(known))
    draft.replace(path)


def read(settings: Settings) -> Addresses:
    """Raises `NotUp` when no fleet said where it is."""
    try:
        return msgspec.json.decode(path_of(settings).read_bytes(), type=Addresses)
    except FileNotFoundError:
        raise NotUp(settings.state_dir) from None


def nats_of(settings: Settings) -> Nats:
    """The server of `settings.site`: the one that the settings name, else the one that is up on this machine."""
    if settings.nats != Nats():
        return settings.nats
    known = read(settings)
    servers = {"hub": known.hub, **known.sites}
    if settings.site not in servers:
        error = NotUp(settings.state_dir)
        error.hint = f"there is no site {settings.site!r}; up are: {', '.join(known.sites)}"
        raise error
    return servers[settings.site]
