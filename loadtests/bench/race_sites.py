"""A hub and sites on one machine, each site's leaf at the end of a link of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from loadtests.link.link import HOST, Link, linked
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.servers.fleet import Fleet
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.deployment import gather_endpoints, plan_programs
from tidegate.services.fleet.roles import roles_of
from tidegate.services.fleet.supervisor import Program, Supervisor
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings

START_WITHIN_S = 30.0


class Race(msgspec.Struct, frozen=True):
    """What is up: the servers, the link and the HTTP address of each site."""

    servers: Fleet
    links: dict[str, Link]
    http: dict[str, str]


@contextlib.asynccontextmanager
async def linked_servers(
    state_dir: Path, sites: Sequence[str], *, seed: int = 0
) -> AsyncIterator[tuple[Fleet, dict[str, Link]]]:
    """The servers, declared nowhere yet; each site knows the hub by its link's port only, and the link starts ideal."""
    servers = Fleet(state_dir, roles_of)
    servers.hub.settings = servers.hub_conf(sites)
    links: dict[str, Link] = {}
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(servers.stop)
        await servers.hub.start()
        port = urlsplit(servers.hub.leaf_url).port or 0
        for number, site in enumerate(sites):
            links[site] = await stack.enter_async_context(linked(HOST, port, seed=seed + number))
            await servers.make_site(site, f"nats-leaf://{HOST}:{links[site].port}").start()
        await servers.wait_until_linked(START_WITHIN_S)
        yield servers, links


@contextlib.asynccontextmanager
async def linked_sites(
    settings: Settings, environments: Mapping[str, Mapping[str, str]], *, seed: int = 0
) -> AsyncIterator[Race]:
    """A hub and the sites that `environments` names, with all of their workers as processes; yields when every one is
    ready.

    `environments` has the environment that a site's workers get beside what all have, for example
    `TIDEGATE_ROUTER__MODE`; the
    hub's may be among them. Needs what `fleet.prepare` makes, below `settings.state_dir`. Raises `ChildFailedError`,
    `ServerFailedError`.
    """
    sites = [site for site in environments if site != HUB]
    async with contextlib.AsyncExitStack() as stack:
        servers, links = await stack.enter_async_context(linked_servers(Path(settings.state_dir), sites, seed=seed))
        await declare_fleet(servers, tuple(WORKERS.values()))
        urls = {HUB: servers.hub.url, **{site: server.url for site, server in servers.sites.items()}}
        children = [
            with_environment(program, environments) for program in plan_programs(settings, urls, per_stage=False)
        ]
        await stack.enter_async_context(Supervisor(children, grace_s=settings.grace_s + 5.0))
        yield Race(servers, links, gather_endpoints(settings, urls).http)


def with_environment(program: Program, environments: Mapping[str, Mapping[str, str]]) -> Program:
    """The program, with its site's environment."""
    site = program.name.split("/")[0]
    return msgspec.structs.replace(program, env={**program.env, **environments.get(site, {})})
