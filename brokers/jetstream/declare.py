"""Makes a domain what it must be: reads what is there, applies a plan, connects a site to its hub; deletes nothing.

Next: topology/plan.py, which compares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nats.aio.client import Client

from tidegate.brokers.jetstream import api
from tidegate.brokers.servers.fleet import Fleet
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.stage import Stage
from tidegate.brokers.topology.plan import Topology, TopologyPlan, hub_topology, plan, site_topology
from tidegate.brokers.topology.streams import DOWN, UP, UP_CONSUMER, Config, down_consumer, sourcing_consumers
from tidegate.schemas import TidegateError
from tidegate.schemas.subjects import ESCALATIONS, HUB


class DataLossError(TidegateError, RuntimeError):
    """The plan tightens a limit, which would delete what is stored beyond it."""

    hint = "declare the larger limit, or delete what lies beyond it first"


async def read_topology(nc: Client) -> Topology:
    """What the domain of `nc`'s server has."""
    streams = await api.streams(nc)
    consumers: dict[str, Config] = {}
    for name in streams:
        consumers.update(await api.consumers(nc, name))
    return Topology(streams, consumers)


async def apply(nc: Client, todo: TopologyPlan) -> None:
    """Make it so; nothing is ever deleted, and doing it twice does nothing the second time.

    Raises `DataLossError` before the first step; `JetStreamApiError` where a field cannot be changed.
    """
    losing = [change.name for change in todo.steps for difference in change.differences if difference.loses]
    if losing:
        raise DataLossError(f"{', '.join(losing)}: a tighter limit deletes what is stored beyond it\n{todo}")
    for change in todo.steps:
        is_new = change.verb == "create"
        if change.kind == "stream":
            await api.put_stream(nc, change.config, is_new=is_new)
        else:
            await api.put_consumer(nc, change.name.split("/")[0], change.config, is_new=is_new)


async def plan_site(nc: Client, site: str, stages: Iterable[Stage]) -> TopologyPlan:
    """What `declare_site` would do."""
    return plan(site, site_topology(site, stages), await read_topology(nc))


async def plan_hub(nc: Client, sites: Iterable[str], stages: Iterable[Stage]) -> TopologyPlan:
    """What `declare_hub` would do."""
    return plan(HUB, hub_topology(sites, stages), await read_topology(nc))


async def declare_site(nc: Client, site: str, stages: Iterable[Stage]) -> TopologyPlan:
    """Give a site its streams and consumers, linked or not. Returns what was done."""
    todo = await plan_site(nc, site, stages)
    await apply(nc, todo)
    return todo


async def declare_hub(nc: Client, sites: Iterable[str], stages: Iterable[Stage]) -> TopologyPlan:
    """Give the hub its streams and consumers for exactly these sites. Returns what was done."""
    todo = await plan_hub(nc, sites, stages)
    await apply(nc, todo)
    return todo


async def connect_site_to_hub(
    hub: Client, site: Client, name: str, stages: Sequence[Stage]
) -> tuple[TopologyPlan, ...]:
    """Declare a site and make the hub serve it beside those that it serves already. Returns what was done.

    In the order in which either side finds the other's consumer at its first try; it would look again after seconds
    only. A site that comes back with an empty store gets every verdict that the hub still has, and so does the hub.
    """
    known = _sites_of(await read_topology(hub))
    declared = hub_topology(known, stages)
    with_sourcing = Topology(declared.streams, {**declared.consumers, **sourcing_consumers(HUB, (name,))})
    first = plan(HUB, with_sourcing, await read_topology(hub))
    await apply(hub, first)
    mirrored = (await read_topology(site)).streams
    for stream in DOWN:
        if stream not in mirrored:
            await api.rewind(hub, stream, down_consumer(name), 1)
    second = await declare_site(site, name, stages)
    for stream in UP:
        if name not in known:
            await api.rewind(site, stream, UP_CONSUMER, 1)
    return first, second, await declare_hub(hub, {*known, name}, stages)


async def declare_fleet(servers: Fleet, stages: Sequence[Stage]) -> tuple[TopologyPlan, ...]:
    """Declare the hub and every site of a running fleet, and connect them. Returns what was done."""
    done = []
    async with api.connect(NatsSettings(url=servers.hub.url), HUB) as hub:
        done.append(await declare_hub(hub, _sites_of(await read_topology(hub)), stages))
        for name, server in servers.sites.items():
            async with api.connect(NatsSettings(url=server.url), name) as site:
                done.extend(await connect_site_to_hub(hub, site, name, stages))
    return tuple(done)


def _sites_of(hub: Topology) -> set[str]:
    """The sites that the hub's ESCALATIONS has as sources."""
    sources = hub.streams.get(ESCALATIONS, {}).get("sources") or ()
    return {source["external"]["api"].split(".")[1] for source in sources}
