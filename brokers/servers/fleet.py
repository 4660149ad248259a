"""A hub and its sites on one machine: real servers, real leaf nodes, one JetStream domain each.

Next: nats_server.py, conf.py."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

from tidegate.brokers.servers import conf
from tidegate.brokers.servers.credentials import Credential, load_credential
from tidegate.brokers.servers.nats_server import POLL_S, Server
from tidegate.schemas import TidegateError
from tidegate.schemas.subjects import HUB


class FleetBusyError(TidegateError, RuntimeError):
    """Another process runs a fleet on this directory."""

    hint = "stop that process, or use another state directory"


class BadSiteNameError(TidegateError, ValueError):
    """The text is no name for a site."""

    hint = f"a name is 1 to 32 of a-z 0-9 _ -, starts with a letter or digit, and is not {HUB!r}"


class NotLinkedError(TidegateError, TimeoutError):
    """Sites did not reach the hub in time."""

    hint = "nats.log in the `nats` directory of each of them, and of the hub, has the cause"


class Fleet:
    """The servers of a hub and its sites; `hub.url` and `sites[name].url` are where their clients connect.

    Clients on this machine need no credentials. A leaf does: its nkey lies in `<state_dir>/keys/<site>.leaf.nk`, mode
    0600, and is worth what `conf.leaf_permissions` says and nothing else.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.sites: dict[str, Server] = {}
        self.hub = Server(HUB, self._home(HUB), self._hub_conf(()), admits_leaves=True)

    def leaf_credential(self, site: str) -> Credential:
        """What the hub knows the site's leaf by."""
        return load_credential(self.state_dir / "keys" / f"{site}.leaf.nk")

    def local_credential(self, domain: str) -> Credential:
        """The user that a domain's own clients become; a client may also show it."""
        return load_credential(self.state_dir / "keys" / f"{domain}.client.nk")

    async def start(self, sites: Sequence[str]) -> None:
        """Start the hub, then the sites, and return when every site is linked."""
        for site in sites:
            check_site_name(site)
        self.hub.settings = self._hub_conf(sites)
        await self.hub.start()
        for site in sites:
            await self._start_site(site)
        await self.wait_until_linked()

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

    async def _start_site(self, site: str) -> None:
        local, leaf = self.local_credential(site), self.leaf_credential(site)
        settings = conf.site(site, local.public, self.hub.leaf_url, leaf.seed())
        self.sites[site] = server = Server(site, self._home(site), settings)
        await server.start()

    def _leaves(self) -> set[str]:
        return {leaf["name"] for leaf in self.hub.monitor("/leafz").get("leafs") or ()}

    def _hub_conf(self, sites: Sequence[str]) -> conf.Conf:
        known: Mapping[str, str] = {site: self.leaf_credential(site).public for site in sites}
        return conf.hub(self.local_credential(HUB).public, known)

    def _home(self, domain: str) -> Path:
        return self.state_dir / domain / "nats"


@contextlib.asynccontextmanager
async def open_fleet(state_dir: Path, sites: Sequence[str]) -> AsyncIterator[Fleet]:
    """A linked fleet under `state_dir`, ended on leaving; the same directory again is the same fleet, data and all.

    Raises `FleetBusyError` while another process has one there, and what `Server.start` raises.
    """
    with _lock(state_dir):
        servers = Fleet(state_dir)
        try:
            await servers.start(sites)
            yield servers
        finally:
            servers.stop()


def check_free(state_dir: Path) -> None:
    """Raises `FleetBusyError` while another process has a fleet there, `OSError` when the directory cannot be used."""
    with _lock(state_dir):
        pass


@contextlib.contextmanager
def _lock(state_dir: Path) -> Iterator[None]:
    """Two servers on one store would destroy it; the kernel lets go of this lock however the process ends."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "fleet.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FleetBusyError(f"another process runs a fleet on {state_dir}") from error
        yield


def check_site_name(site: str) -> None:
    """Raises `BadSiteNameError`."""
    if site == HUB or re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", site) is None:
        raise BadSiteNameError(f"{site!r} is no name for a site")
