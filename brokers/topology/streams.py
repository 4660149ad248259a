"""The streams and consumers of a domain, as the data that JetStream's API takes. Pure.

Next: plan.py, which compares them with what a server has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tidegate.brokers.stage import ACK_WAIT_S, Stage
from tidegate.schemas.subjects import (
    ANSWERS,
    ASKS,
    DEAD,
    ESCALATIONS,
    HUB,
    PIPE,
    TOKENS,
    VERDICTS,
    source_down,
    source_up,
)

# Every stream keeps by limits, so that it replays, and on files. A full stream refuses (`discard: new`): what was
# accepted is never thrown away to make room. PIPE lets the oldest go: everything in it follows from a request that ASKS
# still holds, and refusing a hop in mid-pipeline would strand a request that was accepted; the gateway is where to
# refuse. TOKENS lets the oldest go too and is the one stream in memory: what was shown of an answer can be sent again
# from the answer, so that it costs no flush, and a restart of the server costs a client one retraction at most.
Config = dict[str, Any]

UP = (ESCALATIONS,)
"""The streams that a site sends to the hub."""
DOWN = (VERDICTS,)
"""The streams that the hub sends to a site."""
UP_CONSUMER = f"to-{HUB}"
"""A site's consumer that carries a stream to the hub."""

GIB = 1 << 30
SECOND_NS = 1_000_000_000
KEPT_FOR_S = 3 * 24 * 3600
DUPLICATE_WINDOW_S = 600
MAX_ACK_PENDING = 512
MAX_BYTES: Mapping[str, int] = {
    ASKS: 4 * GIB,
    PIPE: 8 * GIB,
    ESCALATIONS: 2 * GIB,
    VERDICTS: 2 * GIB,
    ANSWERS: 8 * GIB,
    DEAD: GIB,
    TOKENS: GIB >> 2,
}
SHOWN_FOR_S = 900
"""How long a client may go on with a stream by its log; afterwards it gets the answer."""


def down_consumer(site: str) -> str:
    """The hub's consumer that carries a stream to `site`."""
    return f"to-{site}"


def site_streams(site: str) -> dict[str, Config]:
    """The streams of a site, by name."""
    return {
        ASKS: _stream(ASKS, ["asks.>"]),
        PIPE: _stream(PIPE, ["pipe.>"], discard="old"),
        ESCALATIONS: _stream(ESCALATIONS, ["escalations.>"]),
        VERDICTS: _stream(
            VERDICTS, mirror=_sourced_stream(VERDICTS, HUB, down_consumer(site), source_down(site, VERDICTS))
        ),
        ANSWERS: _stream(ANSWERS, ["answers.>"], max_age=0, republish=_live("answers.>")),
        DEAD: _stream(DEAD, ["dead.>"], max_age=0, republish=_live("dead.>")),
        TOKENS: tokens_stream(),
    }


def tokens_stream() -> Config:
    """The log of what was shown: a server that was restarted has lost it, with its configuration."""
    return _stream(
        TOKENS,
        ["tokens.>"],
        storage="memory",
        discard="old",
        max_age=SHOWN_FOR_S * SECOND_NS,
        duplicate_window=60 * SECOND_NS,
        republish=_live("tokens.>"),
    )


def hub_streams(sites: Iterable[str]) -> dict[str, Config]:
    """The streams of the hub, by name. ESCALATIONS has a subject of its own too: there a dead letter is replayed."""
    sources = [
        _sourced_stream(ESCALATIONS, site, UP_CONSUMER, source_up(site, ESCALATIONS)) for site in sorted(set(sites))
    ]
    return {
        ESCALATIONS: _stream(ESCALATIONS, ["escalations.>"], sources=sources),
        VERDICTS: _stream(VERDICTS, ["verdicts.>"]),
        DEAD: _stream(DEAD, ["dead.>"], max_age=0, republish=_live("dead.>")),
    }


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


def sourcing_consumers(domain: str, sites: Iterable[str]) -> dict[str, Config]:
    """The durable consumers that carry streams over the leaf, on the side where the streams begin (NATS ADR-60)."""
    if domain == HUB:
        return {
            f"{stream}/{down_consumer(site)}": _sourcing_consumer(
                down_consumer(site), source_down(site, stream), [f"{stream.lower()}.{site}.>"]
            )
            for site in sites
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
    return {
        "name": name,
        "subjects": subjects or [],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_age": KEPT_FOR_S * SECOND_NS,
        "max_bytes": MAX_BYTES[name],
        "duplicate_window": DUPLICATE_WINDOW_S * SECOND_NS,
        "allow_direct": True,
        **more,
    }


def _live(subject: str) -> Config:
    return {"src": subject, "dest": f"live.{subject}"}


def _sourced_stream(stream: str, domain: str, consumer: str, subject: str) -> Config:
    return {
        "name": stream,
        "external": {"api": f"$JS.{domain}.API", "deliver": ""},
        "consumer": {"name": consumer, "deliver_subject": subject},
    }


def _sourcing_consumer(name: str, subject: str, filters: list[str]) -> Config:
    return _consumer(
        name, filters, deliver_subject=subject, ack_policy="flow_control", flow_control=True, idle_heartbeat=SECOND_NS
    )


def _consumer(name: str, filters: list[str], **more: Any) -> Config:
    common = {"durable_name": name, "name": name, "filter_subjects": filters, "deliver_policy": "all"}
    return {**common, "max_deliver": -1, **more}
