"""Where the running fleet of this machine listens: written by `up`, read by every command that talks to it.

Promises that a name of a site or a tenant is one that was declared, before anything is written; next: deployment.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import TidegateError
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.trust.files import PUBLIC, replace_file

T = TypeVar("T")


class FleetNotRunningError(TidegateError, ConnectionError):
    """No fleet is up below this state directory."""

    hint = (
        "start one with `tidegate up`; name another state directory with --state, or a server with TIDEGATE_NATS__URL"
    )


class StateFileDamagedError(TidegateError, ValueError):
    """A file below the state directory holds something else than this version writes there."""

    hint = "stop the fleet, delete the file and start again: `tidegate up` writes it anew"


class UnknownSiteError(TidegateError, LookupError):
    """The site is neither this machine's own, nor prepared below the state directory, nor up."""

    hint = "name one of those with --site; `tidegate up --sites N` makes more"


class UnknownTenantError(TidegateError, LookupError):
    """The tenant is not one that the settings declare."""

    hint = 'declare it in the pack\'s site.toml, as in: tenants = ["kiosk", "other"]'


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """NATS addresses of the hub and the sites, HTTP addresses of the sites' gateways, and who keeps them up."""

    pid: int
    hub: NatsSettings
    sites: dict[str, NatsSettings]
    http: dict[str, str] = {}
    more_http: dict[str, tuple[str, ...]] = {}
    """The addresses of the other gateways of a site, where it has several."""


class GatewayFile(msgspec.Struct, frozen=True):
    """Where a site's HTTP server listens, and which process keeps it; what `gateway.json` holds.

    `operator_key` lets whoever can read the file see how the site is, for as long as the process lives. `certificate`
    is the file with the one that it shows; empty where the connection is not encrypted.
    """

    url: str
    pid: int
    operator_key: str = ""
    certificate: str = ""


def write_endpoints(settings: Settings, endpoints: Endpoints) -> None:
    """Make the endpoints known, in one step."""
    write_state(StatePaths(settings).fleet, endpoints)


def read_endpoints(settings: Settings) -> Endpoints:
    """Raises `FleetNotRunningError` when no fleet has written any, `StateFileDamagedError`."""
    path = StatePaths(settings).fleet
    try:
        return decode_state(path, Endpoints)
    except FileNotFoundError:
        raise FleetNotRunningError(f"nothing is up below {settings.state_dir}") from None


def write_state(path: Path, state: object, mode: int = PUBLIC) -> None:
    """Write a JSON file of ours with this mode, whole or not at all."""
    replace_file(path, msgspec.json.encode(state), mode)


def decode_state(path: Path, kind: type[T]) -> T:
    """What a JSON file of ours holds. Raises `FileNotFoundError`, `StateFileDamagedError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateFileDamagedError(f"{path}: {error}") from error


def find_server(settings: Settings) -> NatsSettings:
    """The server of `settings.site`: the one that the settings name, else the one that is up on this machine.

    Raises `FleetNotRunningError`, `UnknownSiteError`, `StateFileDamagedError`.
    """
    if settings.nats != NatsSettings():
        return settings.nats
    known = read_endpoints(settings)
    servers = {HUB: known.hub, **known.sites}
    if settings.site not in servers:
        raise UnknownSiteError(f"there is no site {settings.site!r}; up are: {', '.join(known.sites)}")
    return servers[settings.site]


def check_site(settings: Settings, site: str) -> None:
    """Raises `UnknownSiteError` unless `site` is the hub, the settings' own site, or one that is prepared or up."""
    try:
        up = tuple(read_endpoints(settings).sites)
    except FleetNotRunningError:
        up = ()
    paths = StatePaths(settings)
    declared = sorted({settings.site, *paths.prepared_sites(), *paths.provisioned_sites(), *up} - {HUB})
    if site not in (HUB, *declared):
        raise UnknownSiteError(
            f"there is no site {site!r} below {settings.state_dir}; there are: {', '.join(declared)}"
        )


def check_tenant(settings: Settings, tenant: str) -> None:
    """Raises `UnknownTenantError` when the settings do not declare `tenant`."""
    if tenant not in settings.tenants:
        raise UnknownTenantError(f"there is no tenant {tenant!r}; there are: {', '.join(settings.tenants)}")
