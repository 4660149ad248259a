"""The streams and consumers of a domain, as the data that JetStream's API takes. Pure.

Next: plan.py, which compares them with what a server has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tidegate.brokers.settings import RetentionSettings
from tidegate.brokers.stage import ACK_WAIT_S, Stage
from tidegate.brokers.topology.downlink import Downlink
from tidegate.schemas.subjects import (
    ANSWERS,
    ARTEFACTS,
    ASKS,
    BUCKETS,
    CLAIMS,
    CORPUS,
    DEAD,
    EDITS,
    ESCALATIONS,
    HUB,
    LOCAL,
    PIPE,
    TOKENS,
    VERDICTS,
    artefacts,
    object_stream,
    source_down,
    source_up,
)

# Every stream keeps by limits, so that it replays, and on files. A full stream refuses (`discard: new`): what was
# accepted is never thrown away to make room. PIPE lets the oldest go where nothing else is set: everything in it
# follows from a request that ASKS still holds, and refusing a hop in mid-pipeline would make a request that was
# accepted wait; the gateway is where to refuse. TOKENS lets the oldest go too and is in memory: what
# was shown of an answer can be sent again from the answer, so that it costs no flush, and a restart of the server
# costs a client one retraction at most. So does CLAIMS, at the hub: what is lost of it is worked out again.
#
# How long a stream keeps what it has, and how much, are settings. What was declared is written into the metadata of
# the stream, so that a limit which an operator has set by hand is told from a setting that was changed. By default
# what sync stores is not given up by age, where it may be the only copy: an edit that waits for a link, a document
# that stays at home, an artefact. CORPUS is the exception: a replica that was away for longer than its log takes a
# snapshot, and is told so. ARTEFACTS keeps the last versions under each name.
Config = dict[str, Any]

UP = (ESCALATIONS, EDITS)
"""The streams that a site sends to the hub."""
OBJECTS = tuple(map(object_stream, BUCKETS))
DOWN = (VERDICTS, CORPUS, ARTEFACTS, *OBJECTS)
"""The streams that the hub sends to a site."""
UP_CONSUMER = f"to-{HUB}"
"""A site's consumer that carries a stream to the hub."""
SYNC_CONSUMER = "sync"
"""The consumer of a domain's sync worker: edits at the hub, the log and collections at a site, as they arrive."""

DEFAULT = RetentionSettings()
MIB = 1 << 20
SECOND_NS = 1_000_000_000
DUPLICATE_WINDOW_S = 600
MAX_ACK_PENDING = 512
SYNC_ACK_WAIT_S = 30
"""A worker that is killed with a batch in hand has applied it or not; its successor reads the log itself first."""
HELD_LIMITS = ("max_bytes", "max_age")
"""The limits that are settings, and that an operator may set on the server instead."""
DECLARED_AS = "tidegate."
"""What stands before the name of a limit in the metadata of a stream, which say what was declared last."""
COMPRESSED = frozenset({PIPE, ESCALATIONS, VERDICTS, ANSWERS})
"""Streams of facts, in which each repeats what the request has been through: a block that is full (8 MiB) takes a fifth
from then on. What is sealed and what is an object would not get smaller."""
VERSIONS_KEPT = 64
"""Of each artefact, by name."""


def down_consumer(site: str) -> str:
    """The hub's consumer that carries a stream to `site`."""
    return f"to-{site}"


def site_streams(site: str, retention: RetentionSettings = DEFAULT) -> dict[str, Config]:
    """The streams of a site, by name."""
    streams = _site_streams(site)
    return {name: _kept(config, retention) for name, config in streams.items()}


def _site_streams(site: str) -> dict[str, Config]:
    return {
        ASKS: _stream(ASKS, ["asks.>"]),
        PIPE: _stream(PIPE, ["pipe.>"]),
        ESCALATIONS: _stream(ESCALATIONS, ["escalations.>"]),
        **{
            stream: {**config, "subjects": [], "mirror": _sourced_stream(stream, HUB, down_consumer(site), carried)}
            for stream, config in _hub_written().items()
            for carried in (source_down(site, stream),)
        },
        EDITS: _stream(EDITS, [f"edits.{site}.>"]),
        LOCAL: _stream(LOCAL, ["local.>"]),
        ANSWERS: _stream(ANSWERS, ["answers.>"], republish=_live("answers.>")),
        DEAD: _stream(DEAD, ["dead.>"], republish=_live("dead.>")),
        TOKENS: _streams_in_memory()[TOKENS],
    }


def stream_in_memory(name: str, retention: RetentionSettings = DEFAULT) -> Config:
    """What was shown of answers (TOKENS), or what is being worked at (CLAIMS): a server that was restarted has lost
    it, with its configuration."""
    config = _kept(_streams_in_memory()[name], retention)
    return _replicated(config, retention) if name == CLAIMS else config


def _streams_in_memory() -> dict[str, Config]:
    rules = {"storage": "memory", "discard": "old", "duplicate_window": 60 * SECOND_NS}
    return {
        TOKENS: _stream(TOKENS, ["tokens.>"], **rules, republish=_live("tokens.>")),
        CLAIMS: _stream(CLAIMS, ["claims.>"], **rules, max_msgs_per_subject=1),
    }


def hub_streams(sites: Iterable[str], retention: RetentionSettings = DEFAULT) -> dict[str, Config]:
    """The streams of the hub, by name. ESCALATIONS and EDITS have subjects of their own too: there is stored again what
    died, or what the link lost."""
    sites = sorted(set(sites))
    streams = {
        ESCALATIONS: _stream(ESCALATIONS, ["escalations.>"], sources=_sources(ESCALATIONS, sites)),
        EDITS: _stream(EDITS, ["edits.>"], sources=_sources(EDITS, sites)),
        LOCAL: _stream(LOCAL, ["local.>"]),
        DEAD: _stream(DEAD, ["dead.>"], republish=_live("dead.>")),
        CLAIMS: _streams_in_memory()[CLAIMS],
        **_hub_written(),
    }
    return {name: _replicated(_kept(config, retention), retention) for name, config in streams.items()}


def kept_for_s(stream: str, retention: RetentionSettings) -> int:
    """How long a stream keeps what is stored in it, in seconds; 0: for ever."""
    name = "objects" if stream in OBJECTS else stream.lower()
    return int(getattr(retention, f"{name}_s"))


def most_bytes(stream: str, retention: RetentionSettings) -> int:
    """How much a stream holds, in bytes."""
    return int(getattr(retention.sizes, f"{stream.lower()}_mib")) * MIB


def stage_consumers(stages: Iterable[Stage], domain: str) -> dict[str, Config]:
    """One durable pull consumer per stage and stream, by `STREAM/stage`; only of the stages at home in `domain`."""
    consumers = {}
    for stage in stages:
        if (stage.side == "hub") != (domain == HUB):
            continue
        for stream, filters in _by_stream(stage, domain).items():
            consumers[f"{stream}/{stage.name}"] = _consumer(
                stage.name,
                filters,
                ack_policy="explicit",
                ack_wait=int(ACK_WAIT_S * SECOND_NS),
                max_ack_pending=MAX_ACK_PENDING,
            )
    return consumers


def sync_consumers(domain: str) -> dict[str, Config]:
    """The durable pull consumers of a domain's sync worker. What it lacks it asks for: they only say what is new."""
    filters = {EDITS: []} if domain == HUB else {CORPUS: [], ARTEFACTS: [artefacts("*", "collection", "*")]}
    return {
        f"{stream}/{SYNC_CONSUMER}": _consumer(
            SYNC_CONSUMER,
            wanted,
            ack_policy="explicit",
            ack_wait=int(SYNC_ACK_WAIT_S * SECOND_NS),
            max_ack_pending=MAX_ACK_PENDING,
        )
        for stream, wanted in filters.items()
    }


def sourcing_consumers(domain: str, downlinks: Mapping[str, Downlink]) -> dict[str, Config]:
    """The durable consumers that carry streams over the leaf, on the side where the streams begin (NATS ADR-60).

    At the hub those to each site, with the filters and the rates of its downlink.
    """
    if domain == HUB:
        return {
            f"{stream}/{down_consumer(site)}": _sourcing_consumer(
                down_consumer(site),
                source_down(site, stream),
                [f"verdicts.{site}.>"] if stream == VERDICTS else downlink.filters(stream),
                **downlink.limits(stream),
            )
            for site, downlink in downlinks.items()
            for stream in DOWN
        }
    return {f"{stream}/{UP_CONSUMER}": _sourcing_consumer(UP_CONSUMER, source_up(domain, stream), []) for stream in UP}


def filters_of(consumer: Mapping[str, Any]) -> list[str]:
    """A consumer's filters, however the server wrote them down."""
    single = consumer.get("filter_subject")
    return [single] if single else sorted(consumer.get("filter_subjects") or [])


def _by_stream(stage: Stage, domain: str) -> dict[str, list[str]]:
    sources = stage.sources(domain)
    return {
        stream: sorted(source.filter for source in sources if source.stream == stream)
        for stream in sorted({source.stream for source in sources})
    }


def _stream(name: str, subjects: list[str] | None = None, **more: Any) -> Config:
    compression = {"compression": "s2"} if name in COMPRESSED else {}
    return {
        "name": name,
        "subjects": subjects or [],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "duplicate_window": DUPLICATE_WINDOW_S * SECOND_NS,
        "allow_direct": True,
        **compression,
        **more,
    }


def _kept(config: Config, retention: RetentionSettings) -> Config:
    name = config["name"]
    limits = {"max_bytes": most_bytes(name, retention), "max_age": kept_for_s(name, retention) * SECOND_NS}
    written = {f"{DECLARED_AS}{limit}": str(limits[limit]) for limit in HELD_LIMITS}
    discard = {"discard": "old" if name in retention.oldest_make_room else "new"} if name in (PIPE, DEAD) else {}
    return {**config, **limits, **discard, "metadata": written}


def _replicated(config: Config, retention: RetentionSettings) -> Config:
    """The stream on as many servers as the settings say. One is what a server does by itself: it is not declared, so
    that what an operator has set by hand stands."""
    return {**config, "num_replicas": retention.hub_replicas} if retention.hub_replicas > 1 else config


def _hub_written() -> dict[str, Config]:
    """The streams that only the hub writes, and that sites mirror."""
    buckets = {
        object_stream(bucket): _stream(
            object_stream(bucket), [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"], allow_rollup_hdrs=True
        )
        for bucket in BUCKETS
    }
    return {
        VERDICTS: _stream(VERDICTS, ["verdicts.>"]),
        CORPUS: _stream(CORPUS, ["corpus.>"]),
        ARTEFACTS: _stream(ARTEFACTS, ["artefacts.>"], max_msgs_per_subject=VERSIONS_KEPT),
        **buckets,
    }


def _sources(stream: str, sites: Iterable[str]) -> list[Config]:
    """What comes up takes the name of the site that it came from, whatever subject the site had stored it under: a site
    writes its own streams as it likes, and what it wrote in another's name must not pass for that one's."""
    first = stream.lower()
    return [
        {
            **_sourced_stream(stream, site, UP_CONSUMER, source_up(site, stream)),
            "subject_transforms": [{"src": f"{first}.*.>", "dest": f"{first}.{site}.>"}],
        }
        for site in sites
    ]


def _live(subject: str) -> Config:
    return {"src": subject, "dest": f"live.{subject}"}


def _sourced_stream(stream: str, domain: str, consumer: str, subject: str) -> Config:
    return {
        "name": stream,
        "external": {"api": f"$JS.{domain}.API", "deliver": ""},
        "consumer": {"name": consumer, "deliver_subject": subject},
    }


def _sourcing_consumer(name: str, subject: str, filters: list[str], **limits: Any) -> Config:
    carried = {"deliver_subject": subject, "ack_policy": "flow_control", "flow_control": True}
    return _consumer(name, filters, idle_heartbeat=SECOND_NS, **carried, **limits)


def _consumer(name: str, filters: list[str], **more: Any) -> Config:
    common = {"durable_name": name, "name": name, "filter_subjects": filters, "deliver_policy": "all"}
    return {**common, "max_deliver": -1, **more}
