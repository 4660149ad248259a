"""A hub and its sites on one machine: real servers, real leaf nodes, one JetStream domain each.

Next: nats_server.py, conf.py."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from tidegate.brokers.process.state_directory import open_state
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.applications import exports
from tidegate.brokers.servers.credentials import (
    LEAF,
    Credential,
    applications_file_of,
    load_credential,
    seed_file_of,
)
from tidegate.brokers.servers.nats_server import POLL_S, Server
from tidegate.brokers.servers.permissions import UserRole
from tidegate.schemas import TidegateError
from tidegate.schemas.subjects import HUB

RolesOf = Callable[[str, Sequence[str]], Sequence[UserRole]]
Tenants = Mapping[str, Collection[str]]
TAKEN = frozenset({HUB, "keys", "repository", "errors"})
"""Folders of a state directory, in which a site has one of its own name."""


class FleetBusyError(TidegateError, RuntimeError):
    """Another process runs a fleet on this directory."""

    hint = "stop that process, or use another state directory"


class BadSiteNameError(TidegateError, ValueError):
    """The text is no name for a site."""

    hint = (
        f"a name is 1 to 32 of a-z 0-9 _ -, starts with a letter or digit, and is not {HUB}, keys, repository or errors"
    )


class NotLinkedError(TidegateError, TimeoutError):
    """Sites did not reach the hub in time."""

    hint = "nats.log in the `nats` directory of each of them, and of the hub, has the cause"


def no_roles(_: str, __: Sequence[str]) -> Sequence[UserRole]:
    """A domain in which its operator is the only user."""
    return ()


class Fleet:
    """The servers of a hub and its sites; `hub.url` and `sites[name].url` are where their clients connect.

    Nobody comes in without an nkey. Their seeds lie in `<state_dir>/keys/<domain>.<role>.nk`, mode 0600: whoever may
    read them is the operator of this machine. A leaf's is worth what `conf.leaf_permissions` says and nothing else.
    """

    def __init__(self, state_dir: Path, roles: RolesOf = no_roles, tenants: Tenants | None = None) -> None:
        """`roles` says which users a domain has beside its operator, at the hub for which sites; `tenants` whom a site
        serves, of those that serve some only."""
        self.state_dir = state_dir
        self._roles = roles
        self._tenants = tenants
        self.sites: dict[str, Server] = {}
        seed = seed_file_of(state_dir, HUB)
        self.hub = Server(HUB, self._home(HUB), self.hub_conf(()), admits_leaves=True, operator_seed=seed)

    def leaf_credential(self, site: str) -> Credential:
        """What the hub knows the site's leaf by."""
        return load_credential(seed_file_of(self.state_dir, site, LEAF))

    def operator_credential(self, domain: str) -> Credential:
        """The user of a domain who may do everything."""
        return load_credential(seed_file_of(self.state_dir, domain))

    async def start(self, sites: Sequence[str]) -> None:
        """Start the hub, then the sites, and return when every site is linked."""
        for site in sites:
            check_site_name(site)
        self.hub.settings = self.hub_conf(sites)
        await self.hub.start()
        for site in sites:
            await self.make_site(site, self.hub.leaf_url).start()
        await self.wait_until_linked()

    def hub_conf(self, sites: Sequence[str]) -> conf.Conf:
        """The hub's configuration, with a leaf for each of these sites."""
        known: Mapping[str, str] = {site: self.leaf_credential(site).public for site in sites}
        return conf.hub(self.operator_credential(HUB).public, known, self._users(HUB, sites), tenants=self._tenants)

    def make_site(self, site: str, hub_url: str) -> Server:
        """The server of a site, which is not started yet, and finds the hub at `hub_url`."""
        operator, leaf = self.operator_credential(site), self.leaf_credential(site)
        applications = applications_file_of(self.state_dir)
        applications.touch(mode=0o600)  # the server reads it, whether there are any or not
        included = os.path.relpath(applications, self._home(site))
        offers = conf.SiteAccount(self._users(site), exports(), included)
        settings = conf.site(site, operator.public, hub_url, leaf.seed(), offers)
        self.sites[site] = Server(site, self._home(site), settings, operator_seed=operator.seed_file)
        return self.sites[site]

    async def wait_until_linked(self, timeout_s: float = 10.0) -> None:
        """Return when the hub has a leaf of every site. Raises `NotLinkedError` with the sites it waits for."""
        deadline = time.monotonic() + timeout_s
        while missing := self.sites.keys() - await asyncio.to_thread(self._leaves):
            if time.monotonic() > deadline:
                raise NotLinkedError(f"no link to the hub from {', '.join(sorted(missing))}")
            await asyncio.sleep(POLL_S)

    def stop(self) -> None:
        """End every server; sites first, so that none of them looks for the hub."""
        for server in (*self.sites.values(), self.hub):
            server.stop()

    def _leaves(self) -> set[str]:
        return {leaf["name"] for leaf in self.hub.monitor("/leafz").get("leafs") or ()}

    def _users(self, domain: str, sites: Sequence[str] = ()) -> list[conf.Conf]:
        found = [(role, seed_file_of(self.state_dir, domain, role.name)) for role in self._roles(domain, sites)]
        return [role.user(domain, load_credential(seed_file).public) for role, seed_file in found]

    def _home(self, domain: str) -> Path:
        return self.state_dir / domain / "nats"


@contextlib.asynccontextmanager
async def open_fleet(
    state_dir: Path, sites: Sequence[str], roles: RolesOf = no_roles, tenants: Tenants | None = None
) -> AsyncIterator[Fleet]:
    """A linked fleet under `state_dir`, ended on leaving; the same directory again is the same fleet, data and all.

    Raises `FleetBusyError` and `SharedDirectoryError` as `check_free` does, and what `Server.start` raises.
    """
    with _lock(state_dir):
        servers = Fleet(state_dir, roles, tenants)
        try:
            await servers.start(sites)
            yield servers
        finally:
            servers.stop()


def check_free(state_dir: Path) -> None:
    """Raises `FleetBusyError` while another process has a fleet there, what `open_state` raises, and `OSError` when it
    cannot be used."""
    with _lock(state_dir):
        pass


@contextlib.contextmanager
def _lock(state_dir: Path) -> Iterator[None]:
    """Two servers on one store would destroy it; the kernel lets go of this lock however the process ends."""
    open_state(state_dir)
    with (state_dir / "fleet.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FleetBusyError(f"another process runs a fleet on {state_dir}") from error
        yield


def check_site_name(site: str) -> None:
    """Raises `BadSiteNameError`."""
    if site in TAKEN or re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", site) is None:
        raise BadSiteNameError(f"{site!r} is no name for a site")
