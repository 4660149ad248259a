"""What a domain must have and what it has, compared as data and printed as a plan. Pure.

Next: jetstream/declare.py, which reads what is there and makes it so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from tidegate.brokers.settings import DAY_S, RetentionSettings
from tidegate.brokers.stage import Stage
from tidegate.brokers.topology.downlink import Downlink, downlink_of
from tidegate.brokers.topology.streams import (
    DEFAULT,
    DOWN,
    SECOND_NS,
    Config,
    down_consumer,
    filters_of,
    hub_streams,
    site_streams,
    sourcing_consumers,
    stage_consumers,
    sync_consumers,
)
from tidegate.schemas.subjects import HUB

Verb = Literal["create", "update", "unchanged", "foreign"]
LIMITS = ("max_bytes", "max_age", "max_msgs", "max_msgs_per_subject")
SIGNS: Mapping[Verb, str] = {"create": "+", "update": "~", "unchanged": " ", "foreign": "?"}


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

    @property
    def kept(self) -> str:
        """How long a stream keeps what is stored in it, in words; empty for a consumer."""
        if self.kind == "consumer":
            return ""
        kept_s = (self.config.get("max_age") or 0) / SECOND_NS
        for unit, length_s in (("days", DAY_S), ("hours", 3600), ("minutes", 60)):
            if kept_s >= length_s:
                return f" (kept for {kept_s / length_s:g} {unit})"
        return f" (kept for {kept_s:g} s)" if kept_s else " (kept for ever)"


class TopologyPlan(msgspec.Struct, frozen=True):
    """What it takes to make one domain as declared."""

    domain: str
    changes: tuple[Change, ...]

    @property
    def steps(self) -> tuple[Change, ...]:
        """The changes that do something."""
        return tuple(change for change in self.changes if change.verb in ("create", "update"))

    def __str__(self) -> str:
        lines = [f"{self.domain}: {len(self.steps)} to change, of {len(self.changes)}"]
        for change in self.changes:
            lines.append(f"  {SIGNS[change.verb]} {change.verb} {change.kind} {change.name}{change.kept}")
            for difference in change.differences:
                loses = "  (deletes what is stored beyond it)" if difference.loses else ""
                lines.append(f"      {difference.field}: {difference.actual!r} -> {difference.declared!r}{loses}")
        return "\n".join(lines)


def site_topology(site: str, stages: Iterable[Stage], retention: RetentionSettings = DEFAULT) -> Topology:
    """What a site must have."""
    consumers = {**stage_consumers(stages, site), **sourcing_consumers(site, {}), **sync_consumers(site)}
    return Topology(site_streams(site, retention), consumers)


def hub_topology(
    sites: Iterable[str],
    stages: Iterable[Stage],
    downlinks: Mapping[str, Downlink] | None = None,
    retention: RetentionSettings = DEFAULT,
) -> Topology:
    """What the hub must have, to serve `sites`; one without a downlink is granted nothing but its verdicts."""
    granted = {site: (downlinks or {}).get(site, Downlink()) for site in sorted(set(sites))}
    consumers = {**stage_consumers(stages, HUB), **sourcing_consumers(HUB, granted), **sync_consumers(HUB)}
    return Topology(hub_streams(granted, retention), consumers)


def downlinks_of(hub: Topology) -> dict[str, Downlink]:
    """What each site is granted at a hub that has these consumers."""
    prefix = down_consumer("")
    sites = {name.partition(f"/{prefix}")[2] for name in hub.consumers if f"/{prefix}" in name}
    found = {}
    for site in sites:
        there = {stream: hub.consumers.get(f"{stream}/{down_consumer(site)}", {}) for stream in DOWN}
        found[site] = downlink_of({stream: filters_of(config) for stream, config in there.items()}, there)
    return found


def plan(domain: str, declared: Topology, actual: Topology) -> TopologyPlan:
    """Compare. Only the fields that are declared count; what else an operator has set is kept."""
    return TopologyPlan(
        domain,
        (
            *_changes("stream", declared.streams, actual.streams),
            *_changes("consumer", declared.consumers, actual.consumers),
        ),
    )


def _changes(
    kind: Literal["stream", "consumer"], declared: Mapping[str, Config], actual: Mapping[str, Config]
) -> Iterator[Change]:
    for name, config in declared.items():
        if name not in actual:
            yield Change("create", kind, name, config)
            continue
        there = filters_with(actual[name]) if kind == "consumer" else actual[name]
        if differences := _differences(config, there):
            yield Change("update", kind, name, {**there, **config}, differences)
        else:
            yield Change("unchanged", kind, name, config)
    for name in sorted(actual.keys() - declared.keys()):
        yield Change("foreign", kind, name, actual[name])


def filters_with(consumer: Config) -> Config:
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
