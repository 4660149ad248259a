"""What a domain must have and what it has: compared as data, printed as a plan, declared without ever deleting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from nats.aio.client import Client

from tidegate.brokers.jetstream import api as jetstream_api
from tidegate.brokers.servers.fleet import Fleet
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.stage import Stage
from tidegate.brokers.topology.streams import (
    DOWN,
    UP,
    Config,
    carriers,
    down_consumer,
    filters_of,
    hub_streams,
    site_streams,
    stage_consumers,
    up_consumer,
)
from tidegate.schemas.subjects import ESCALATIONS, HUB

Verb = Literal["create", "update", "unchanged", "foreign"]
LIMITS = ("max_bytes", "max_age", "max_msgs", "max_msgs_per_subject")
SIGNS: Mapping[Verb, str] = {"create": "+", "update": "~", "unchanged": " ", "foreign": "?"}


class WouldLose(RuntimeError):
    """The plan tightens a limit, which would delete what is stored beyond it."""


class Topology(msgspec.Struct, frozen=True):
    """Streams by name and consumers by `STREAM/consumer`, each in the form of JetStream's API."""

    streams: dict[str, Config] = {}
    consumers: dict[str, Config] = {}


class Difference(msgspec.Struct, frozen=True):
    """One field that is not as declared."""

    field: str
    actual: Any
    declared: Any
    loses: bool = False
    """Whether making it so deletes what is stored."""


class Change(msgspec.Struct, frozen=True):
    """What is to be done about one stream or consumer. Something foreign is not declared here, and is left alone."""

    verb: Verb
    kind: Literal["stream", "consumer"]
    name: str
    config: Config
    differences: tuple[Difference, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """What it takes to make one domain as declared; printable, and a dict by `as_dict`."""

    domain: str
    changes: tuple[Change, ...]

    @property
    def steps(self) -> tuple[Change, ...]:
        """The changes that do something."""
        return tuple(change for change in self.changes if change.verb in ("create", "update"))

    def __str__(self) -> str:
        lines = [f"{self.domain}: {len(self.steps)} to change, of {len(self.changes)}"]
        for change in self.changes:
            lines.append(f"  {SIGNS[change.verb]} {change.verb} {change.kind} {change.name}")
            for difference in change.differences:
                loses = "  (deletes what is stored beyond it)" if difference.loses else ""
                lines.append(f"      {difference.field}: {difference.actual!r} -> {difference.declared!r}{loses}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The plan for machines."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document


def of_site(site: str, stages: Iterable[Stage]) -> Topology:
    """What a site must have."""
    return Topology(site_streams(site), {**stage_consumers(stages, site), **carriers(site, ())})


def of_hub(sites: Iterable[str], stages: Iterable[Stage]) -> Topology:
    """What the hub must have, to serve `sites`."""
    sites = tuple(sites)
    return Topology(hub_streams(sites), {**stage_consumers(stages, HUB), **carriers(HUB, sites)})


def plan(domain: str, declared: Topology, actual: Topology) -> Plan:
    """Compare. Only the fields that are declared count; what else an operator has set is kept."""
    return Plan(
        domain,
        (
            *_changes("stream", declared.streams, actual.streams),
            *_changes("consumer", declared.consumers, actual.consumers),
        ),
    )


async def look(nc: Client) -> Topology:
    """What the domain of `nc`'s server has."""
    streams = await jetstream_api.streams(nc)
    consumers: dict[str, Config] = {}
    for name in streams:
        consumers.update(await jetstream_api.consumers(nc, name))
    return Topology(streams, consumers)


async def apply(nc: Client, todo: Plan, *, may_lose: bool = False) -> None:
    """Make it so; nothing is ever deleted, and doing it twice does nothing the second time.

    Raises `WouldLose` before the first step unless `may_lose`; `ApiError` where JetStream cannot change a field.
    """
    losing = [change.name for change in todo.steps for difference in change.differences if difference.loses]
    if losing and not may_lose:
        raise WouldLose(
            f"{', '.join(losing)}: a tighter limit deletes what is stored beyond it; say so to go on\n{todo}"
        )
    for change in todo.steps:
        is_new = change.verb == "create"
        if change.kind == "stream":
            await jetstream_api.put_stream(nc, change.config, is_new=is_new)
        else:
            await jetstream_api.put_consumer(nc, change.name.split("/")[0], change.config, is_new=is_new)


async def plan_site(nc: Client, site: str, stages: Iterable[Stage]) -> Plan:
    """What `declare_site` would do."""
    return plan(site, of_site(site, stages), await look(nc))


async def plan_hub(nc: Client, sites: Iterable[str], stages: Iterable[Stage]) -> Plan:
    """What `declare_hub` would do."""
    return plan(HUB, of_hub(sites, stages), await look(nc))


async def declare_site(nc: Client, site: str, stages: Iterable[Stage], *, may_lose: bool = False) -> Plan:
    """Give a site its streams and consumers, linked or not. Returns what was done."""
    todo = await plan_site(nc, site, stages)
    await apply(nc, todo, may_lose=may_lose)
    return todo


async def declare_hub(nc: Client, sites: Iterable[str], stages: Iterable[Stage], *, may_lose: bool = False) -> Plan:
    """Give the hub its streams and consumers for exactly these sites. Returns what was done."""
    todo = await plan_hub(nc, sites, stages)
    await apply(nc, todo, may_lose=may_lose)
    return todo


async def connect_site_to_hub(hub: Client, site: Client, name: str, stages: Sequence[Stage]) -> tuple[Plan, ...]:
    """Declare a site and make the hub serve it beside those that it serves already. Returns what was done.

    In the order in which either side finds the other's consumer at its first try; it would look again after seconds
    only. A site that comes back with an empty store gets every verdict that the hub still has, and so does the hub.
    """
    known = _sites_of(await look(hub))
    declared = of_hub(known, stages)
    with_carriers = Topology(declared.streams, {**declared.consumers, **carriers(HUB, (name,))})
    first = plan(HUB, with_carriers, await look(hub))
    await apply(hub, first)
    mirrored = (await look(site)).streams
    for stream in DOWN:
        if stream not in mirrored:
            await jetstream_api.rewind(hub, stream, down_consumer(name), 1)
    second = await declare_site(site, name, stages)
    for stream in UP:
        if name not in known:
            await jetstream_api.rewind(site, stream, up_consumer(), 1)
    return first, second, await declare_hub(hub, {*known, name}, stages)


async def declare_fleet(servers: Fleet, stages: Sequence[Stage]) -> tuple[Plan, ...]:
    """Declare the hub and every site of a running fleet, and connect them. Returns what was done."""
    done = []
    async with jetstream_api.connected(NatsSettings(url=servers.hub.url), HUB) as hub:
        done.append(await declare_hub(hub, _sites_of(await look(hub)), stages))
        for name, server in servers.sites.items():
            async with jetstream_api.connected(NatsSettings(url=server.url), name) as site:
                done.extend(await connect_site_to_hub(hub, site, name, stages))
    return tuple(done)


def _sites_of(hub: Topology) -> set[str]:
    """The sites that the hub's ESCALATIONS has as sources."""
    sources = hub.streams.get(ESCALATIONS, {}).get("sources") or ()
    return {source["external"]["api"].split(".")[1] for source in sources}


def _changes(
    kind: Literal["stream", "consumer"], declared: Mapping[str, Config], actual: Mapping[str, Config]
) -> Iterator[Change]:
    for name, config in declared.items():
        if name not in actual:
            yield Change("create", kind, name, config)
            continue
        there = _with_filters(actual[name]) if kind == "consumer" else actual[name]
        if differences := _differences(config, there):
            yield Change("update", kind, name, {**there, **config}, differences)
        else:
            yield Change("unchanged", kind, name, config)
    for name in sorted(actual.keys() - declared.keys()):
        yield Change("foreign", kind, name, actual[name])


def _with_filters(consumer: Config) -> Config:
    """The consumer with its filters in one field; JetStream knows two, and takes only one of them at a time."""
    others = {field: value for field, value in consumer.items() if field != "filter_subject"}
    return {**others, "filter_subjects": filters_of(consumer)}


def _differences(declared: Config, actual: Config) -> tuple[Difference, ...]:
    return tuple(
        Difference(field, actual.get(field), wanted, field in LIMITS and _is_tighter(wanted, actual.get(field) or 0))
        for field, wanted in declared.items()
        if not _agrees(wanted, actual.get(field))
    )


def _is_tighter(wanted: int, actual: int) -> bool:
    return wanted > 0 and (actual <= 0 or wanted < actual)


def _agrees(wanted: Any, actual: Any) -> bool:
    """Whether the server has what is wanted; it leaves out what is empty, and adds fields of its own."""
    if isinstance(wanted, dict) and isinstance(actual, dict):
        return all(_agrees(value, actual.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(actual, list):
        return len(wanted) == len(actual) and all(map(_agrees, wanted, actual))
    return bool(wanted == actual or (not wanted and not actual))
