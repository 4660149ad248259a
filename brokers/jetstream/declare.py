"""Makes a domain what it must be: reads what is there, applies a plan, connects a site to its hub; deletes nothing.

Next: topology/plan.py, which compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import structlog
from nats.aio.client import Client

from tidegate.brokers.jetstream import api
from tidegate.brokers.servers.fleet import Fleet
from tidegate.brokers.settings import RetentionSettings
from tidegate.brokers.stage import Stage
from tidegate.brokers.topology.downlink import Downlink
from tidegate.brokers.topology.plan import (
    Topology,
    TopologyPlan,
    downlinks_of,
    hub_topology,
    plan,
    site_topology,
    without_losses,
)
from tidegate.brokers.topology.streams import (
    DEFAULT,
    DOWN,
    HELD_LIMITS,
    UP,
    UP_CONSUMER,
    Config,
    down_consumer,
    sourcing_consumers,
)
from tidegate.schemas import TidegateError
from tidegate.schemas.subjects import ESCALATIONS, HUB

log = structlog.get_logger()


class DataLossError(TidegateError, RuntimeError):
    """The plan tightens a limit, which would delete what is stored beyond it."""

    hint = (
        "declare the larger limit, or delete what lies beyond it first; `tidegate topology apply --delete-older` makes"
        " limits tighter, and deletes the oldest beyond them; `--keep` leaves such limits as they are"
    )


class DeclarationTerms(msgspec.Struct, frozen=True):
    """By which settings streams are declared; `keeps`: what would delete something is left as it is, not refused."""

    retention: RetentionSettings = DEFAULT
    keeps: bool = False


async def read_topology(nc: Client) -> Topology:
    """What the domain of `nc`'s server has."""
    streams = await api.streams(nc)
    consumers: dict[str, Config] = {}
    for name in streams:
        consumers.update(await api.consumers(nc, name))
    return Topology(streams, consumers)


async def apply(nc: Client, todo: TopologyPlan, keeps: bool = False) -> None:
    """Make it so; nothing is ever deleted, and doing it twice does nothing the second time.

    Where it `keeps`, a limit that would delete something is left as it is, and logged: a start is no time to lose data,
    nor to refuse to run. Raises `DataLossError` before the first step else; `JetStreamApiError` where a field cannot be
    changed.
    """
    losing = [
        change.name for change in todo.steps if any(each.loses and not each.is_kept for each in change.differences)
    ]
    if losing and not keeps:
        raise DataLossError(f"{', '.join(losing)}: a tighter limit deletes what is stored beyond it\n{todo}")
    if losing:
        log.warning("limits_kept", action="limits_kept", domain=todo.domain, streams=losing)
    for change in filter(None, map(without_losses, todo.steps)):
        is_new = change.verb == "create"
        if change.kind == "stream":
            await api.put_stream(nc, change.config, is_new=is_new)
        else:
            await api.put_consumer(nc, change.name.split("/")[0], change.config, is_new=is_new)


async def delete_older(nc: Client, todo: TopologyPlan) -> tuple[str, ...]:
    """Have streams that keep more, or for longer, than they are to give up the oldest; the streams."""
    tighter: dict[str, Config] = {}
    for change in todo.steps:
        for difference in change.differences:
            if difference.field in HELD_LIMITS and difference.loses and not difference.is_kept:
                tighter.setdefault(change.name, {})[difference.field] = difference.declared
    for stream, limits in tighter.items():
        config = (await api.call(nc, f"STREAM.INFO.{stream}"))["config"]
        await api.put_stream(nc, {**config, **limits}, is_new=False)
    return tuple(tighter)


async def plan_site(
    nc: Client, site: str, stages: Iterable[Stage], retention: RetentionSettings = DEFAULT
) -> TopologyPlan:
    """What `declare_site` would do."""
    return plan(site, site_topology(site, stages, retention), await read_topology(nc))


async def plan_hub(
    nc: Client,
    sites: Iterable[str],
    stages: Iterable[Stage],
    downlinks: Mapping[str, Downlink] | None = None,
    retention: RetentionSettings = DEFAULT,
) -> TopologyPlan:
    """What `declare_hub` would do."""
    actual = await read_topology(nc)
    return plan(HUB, hub_topology(sites, stages, {**downlinks_of(actual), **(downlinks or {})}, retention), actual)


async def declare_site(
    nc: Client, site: str, stages: Iterable[Stage], retention: RetentionSettings = DEFAULT, keeps: bool = False
) -> TopologyPlan:
    """Give a site its streams and consumers, linked or not. Returns what was done; see `apply`."""
    todo = await plan_site(nc, site, stages, retention)
    await apply(nc, todo, keeps)
    return todo


async def declare_hub(
    nc: Client,
    sites: Iterable[str],
    stages: Iterable[Stage],
    downlinks: Mapping[str, Downlink] | None = None,
    retention: RetentionSettings = DEFAULT,
    keeps: bool = False,
) -> TopologyPlan:
    """Give the hub its streams and consumers for exactly these sites. Returns what was done; see `apply`.

    A site that `downlinks` does not name keeps the downlink that it has. One that is granted more is told of what is
    new only: see granting.py.
    """
    todo = await plan_hub(nc, sites, stages, downlinks, retention)
    await apply(nc, todo, keeps)
    return todo


async def connect_site_to_hub(
    hub: Client,
    site: Client,
    name: str,
    stages: Sequence[Stage],
    downlink: Downlink | None = None,
    terms: DeclarationTerms = DeclarationTerms(),  # noqa: B008 it is frozen
) -> tuple[TopologyPlan, ...]:
    """Declare a site and make the hub serve it beside those that it serves already. Returns what was done.

    In the order in which either side finds the other's consumer at its first try; it would look again after seconds
    only. A site that comes back with an empty store gets again all that the hub still has for it, and so does the hub.
    Without `downlink` the site keeps the one that it has.
    """
    actual, retention = await read_topology(hub), terms.retention
    known = {stream: _sites_of(actual, stream) for stream in UP}
    downlinks = {name: Downlink(), **downlinks_of(actual), **({name: downlink} if downlink else {})}
    declared = hub_topology(known[ESCALATIONS], stages, downlinks, retention)
    carrying = sourcing_consumers(HUB, {name: downlinks[name]})
    streams = {stream: _without_new_sources(config, known) for stream, config in declared.streams.items()}
    first = plan(HUB, Topology(streams, {**declared.consumers, **carrying}), actual)
    await apply(hub, first, terms.keeps)
    mirrored = (await read_topology(site)).streams
    for stream in DOWN:
        if stream not in mirrored:
            await api.rewind(hub, stream, down_consumer(name), 1)
    second = await declare_site(site, name, stages, retention, terms.keeps)
    for stream in UP:
        if name not in known[stream]:
            await api.rewind(site, stream, UP_CONSUMER, 1)
    sites = {*known[ESCALATIONS], name}
    return first, second, await declare_hub(hub, sites, stages, downlinks, retention, terms.keeps)


async def declare_fleet(
    servers: Fleet,
    stages: Sequence[Stage],
    downlinks: Mapping[str, Downlink] | None = None,
    retention: RetentionSettings = DEFAULT,
) -> tuple[TopologyPlan, ...]:
    """Declare the hub and every site of a running fleet, and connect them. Returns what was done.

    As a fleet starts, nothing is refused: a limit that would delete something is left as it is.
    """
    done, terms = [], DeclarationTerms(retention, keeps=True)
    async with api.connect(servers.hub.nats, HUB) as hub:
        known = _sites_of(await read_topology(hub), ESCALATIONS)
        done.append(await declare_hub(hub, known, stages, None, retention, keeps=True))
        for name, server in servers.sites.items():
            async with api.connect(server.nats, name) as site:
                done.extend(await connect_site_to_hub(hub, site, name, stages, (downlinks or {}).get(name), terms))
    return tuple(done)


def _without_new_sources(config: Config, known: Mapping[str, set[str]]) -> Config:
    """The stream with no more sources than it has: a new one starts where its consumer was rewound to."""
    if config["name"] not in known:
        return config
    kept = [source for source in config["sources"] if _site_of(source) in known[config["name"]]]
    return {**config, "sources": kept}


def _sites_of(hub: Topology, stream: str) -> set[str]:
    """The sites that the hub's stream has as sources."""
    return {_site_of(source) for source in hub.streams.get(stream, {}).get("sources") or ()}


def _site_of(source: Config) -> str:
    return str(source["external"]["api"].split(".")[1])
