"""A hub of three servers on this machine, with every stream on all of them, and a site whose leaf may use any."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from tests.support.nats_fleet import STAGES, until
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.declare import DeclarationTerms, connect_site_to_hub, declare_hub
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.credentials import LEAF, load_credential, seed_file_of
from tidegate.brokers.servers.nats_server import HOST, Server
from tidegate.brokers.servers.ports import choose_port
from tidegate.brokers.settings import NatsSettings, RetentionSettings
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.certificates import CertificateAuthority

SITE = "site1"
THREE = ("hub-1", "hub-2", "hub-3")
RETENTION = RetentionSettings(hub_replicas=3)
ASKED_TIMES = 3


class HubCluster(msgspec.Struct, frozen=True):
    """The servers of the hub by name, the site's server, and how each domain's operator logs in."""

    servers: dict[str, Server]
    site: Server
    hub_login: NatsSettings

    async def leader_of(self, stream: str) -> str:
        """The server that leads the stream now."""
        return str((await self._state_of(stream)).get("leader", ""))

    async def replicas_of(self, stream: str) -> int:
        """On how many servers the stream is, and up to date."""
        return 1 + sum(bool(peer.get("current")) for peer in (await self._state_of(stream)).get("replicas") or ())

    async def _state_of(self, stream: str) -> dict[str, Any]:
        """A question that comes while the servers choose who answers it is answered by none: it is asked again."""
        for _ in range(ASKED_TIMES - 1):
            with suppress(UnreachableError):
                return await self._ask_for(stream)
        return await self._ask_for(stream)

    async def _ask_for(self, stream: str) -> dict[str, Any]:
        async with api.connect(self.hub_login, HUB) as client:
            cluster: dict[str, Any] = (await api.call(client, f"STREAM.INFO.{stream}"))["cluster"]
        return cluster


@asynccontextmanager
async def hub_cluster(state: Path) -> AsyncIterator[HubCluster]:
    """All of it up, linked and declared; ended on leaving."""
    operator, leaf = load_credential(seed_file_of(state, HUB)), load_credential(seed_file_of(state, SITE, LEAF))
    own = load_credential(seed_file_of(state, SITE))
    tls = conf.TlsFiles(*CertificateAuthority(state / "tls").issue(state / "certificates", [HOST]))
    ports = [choose_port(HOST) for _ in THREE]
    routes = [f"{HOST}:{port}" for port in ports]
    async with AsyncExitStack() as stack:
        servers = {}
        for name, address in zip(THREE, routes, strict=True):
            member = conf.ClusterMember(name, address, routes, "a password of this test")
            settings = conf.clustered(conf.hub(operator.public, {SITE: leaf.public}), member, tls)
            servers[name] = Server(name, state / name, settings, admits_leaves=True, operator_seed=operator.seed_file)
            stack.callback(servers[name].kill)
        await asyncio.gather(*(server.start(30.0) for server in servers.values()))
        leaf_urls = [server.leaf_url for server in servers.values()]
        site = Server(
            SITE, state / SITE, conf.site(SITE, own.public, leaf_urls, leaf.seed()), operator_seed=own.seed_file
        )
        stack.callback(site.kill)
        await site.start()
        urls = ",".join(server.url for server in servers.values())
        found = HubCluster(servers, site, NatsSettings(url=urls, nkey_seed_file=str(operator.seed_file)))
        await until(lambda: has_leader(found.hub_login))
        await declare(found)
        yield found


async def has_leader(login: NatsSettings) -> bool:
    """Whether JetStream of the cluster answers."""
    try:
        async with api.connect(login, HUB) as client:
            await api.call(client, "INFO")
    except (UnreachableError, api.JetStreamApiError):
        return False
    return True


async def declare(cluster: HubCluster) -> None:
    async with api.connect(cluster.hub_login, HUB) as hub, api.connect(cluster.site.nats, SITE) as site:
        await declare_hub(hub, (), STAGES, None, RETENTION)
        await connect_site_to_hub(hub, site, SITE, STAGES, None, DeclarationTerms(RETENTION))
