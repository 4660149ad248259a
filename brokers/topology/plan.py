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
    DECLARED_AS,
    DEFAULT,
    DOWN,
    HELD_LIMITS,
    SECOND_NS,
    Config,
    down_consumer,
    filters_of,
    hub_streams,
    kept_for_s,
    most_bytes,
    site_streams,
    sourcing_consumers,
    stage_consumers,
    sync_consumers,
)
from tidegate.schemas.subjects import HUB

Verb = Literal["create", "update", "unchanged", "kept", "foreign"]
LIMITS = ("max_bytes", "max_age", "max_msgs", "max_msgs_per_subject")
SIGNS: Mapping[Verb, str] = {"create": "+", "update": "~", "unchanged": " ", "kept": "=", "foreign": "?"}
BY_HAND = "  (set on the server by hand, and kept; write it into `retention` to declare it)"
DELETES = "  (deletes what is stored beyond it)"


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
    is_kept: bool = False
    """Whether it stays as it is: somebody has set it on the server, and the setting has not changed since."""


class Change(msgspec.Struct, frozen=True):
    """What is to be done about one stream or consumer. Something foreign is not declared here, and is left alone; of
    what is kept, only limits differ that somebody has set by hand."""

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
                note = BY_HAND if difference.is_kept else DELETES if difference.loses else ""
                lines.append(f"      {difference.field}: {difference.actual!r} -> {difference.declared!r}{note}")
        return "\n".join(lines)

    @property
    def by_hand(self) -> tuple[str, ...]:
        """The limits that somebody has set on the server, as `STREAM.limit`."""
        return tuple(
            f"{change.name}.{each.field}" for change in self.changes for each in change.differences if each.is_kept
        )


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
        differences = _differences(name, config, there)
        kept = {each.field: each.actual for each in differences if each.is_kept}
        if len(differences) > len(kept):
            metadata = {**(there.get("metadata") or {}), **(config.get("metadata") or {})}
            with_metadata = {"metadata": metadata} if metadata else {}
            yield Change("update", kind, name, {**there, **config, **kept, **with_metadata}, differences)
        else:
            yield Change("kept" if kept else "unchanged", kind, name, config, differences)
    for name in sorted(actual.keys() - declared.keys()):
        yield Change("foreign", kind, name, actual[name])


def filters_with(consumer: Config) -> Config:
    """The consumer with its filters in one field; JetStream knows two, and takes only one of them at a time."""
    others = {field: value for field, value in consumer.items() if field != "filter_subject"}
    return {**others, "filter_subjects": filters_of(consumer)}


def without_losses(change: Change) -> Change | None:
    """The change without what deletes something, which stays as it was declared last; None where that is all of it."""
    losing = {each.field: each.actual for each in change.differences if each.loses and not each.is_kept}
    if not losing:
        return change
    left = [each for each in change.differences if each.field not in losing and not each.is_kept]
    if all(each.field == "metadata" for each in left):
        return None
    metadata, known = dict(change.config.get("metadata") or {}), _metadata_there(change)
    for field in losing:
        metadata[f"{DECLARED_AS}{field}"] = known.get(f"{DECLARED_AS}{field}", str(losing[field]))
    return msgspec.structs.replace(change, config={**change.config, **losing, "metadata": metadata})


def _metadata_there(change: Change) -> Config:
    return next((each.actual or {} for each in change.differences if each.field == "metadata"), {})


def _differences(name: str, declared: Config, actual: Config) -> tuple[Difference, ...]:
    return tuple(
        Difference(field, there, wanted, _loses(field, declared, there), _is_by_hand(name, field, wanted, actual))
        for field, wanted in declared.items()
        if not _agrees(wanted, there := actual.get(field))
    )


def _loses(field: str, declared: Config, there: Any) -> bool:
    """Whether a tighter limit deletes. A stream that refuses when it is full keeps all that it has when it shrinks."""
    if field not in LIMITS or (field == "max_bytes" and declared.get("discard") == "new"):
        return False
    return _is_tighter(declared[field], there or 0)


def _is_by_hand(name: str, field: str, wanted: Any, actual: Config) -> bool:
    """Whether the limit is neither what was declared last nor changed by a setting since: then an operator has set it.

    A stream of a time when that was not written down was declared with the defaults.
    """
    if field not in HELD_LIMITS:
        return False
    defaults = {"max_bytes": most_bytes, "max_age": lambda *given: kept_for_s(*given) * SECOND_NS}
    written = (actual.get("metadata") or {}).get(f"{DECLARED_AS}{field}")
    return str(wanted) == (written or str(defaults[field](name, DEFAULT)))


def _is_tighter(wanted: int, actual: int) -> bool:
    return wanted > 0 and (actual <= 0 or wanted < actual)


def _agrees(wanted: Any, actual: Any) -> bool:
    """Whether the server has what is wanted; it leaves out what is empty, and adds fields of its own."""
    if isinstance(wanted, dict) and isinstance(actual, dict):
        return all(_agrees(value, actual.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(actual, list):
        return len(wanted) == len(actual) and all(map(_agrees, wanted, actual))
    return bool(wanted == actual or (not wanted and not actual))
