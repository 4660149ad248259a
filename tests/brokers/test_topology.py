"""A topology is data: planned by comparing, declared twice without effect, never at the cost of what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import nats.js.errors
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from tests.support.nats_fleet import STAGES, client_of
from tidegate.brokers.jetstream import api as jetstream_api
from tidegate.brokers.jetstream.declare import (
    DataLossError,
    apply,
    declare_hub,
    declare_site,
    delete_older,
    plan_site,
    read_topology,
)
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import RetentionSettings
from tidegate.brokers.stage import Retry, Stage
from tidegate.brokers.topology.plan import Topology, hub_topology, plan, site_topology
from tidegate.brokers.topology.streams import DOWN, OBJECTS, SECOND_NS, filters_of, stage_consumers, stream_in_memory
from tidegate.schemas import Drafted, Escalated, Verified
from tidegate.schemas.subjects import (
    ANSWERS,
    ARTEFACTS,
    ASKS,
    CLAIMS,
    DEAD,
    EDITS,
    ESCALATIONS,
    HUB,
    LOCAL,
    PIPE,
    SITE_STREAMS,
    TOKENS,
    VERDICTS,
    sources_of,
)

pytestmark = pytest.mark.anyio

SITE = Topology({"PIPE": {"name": "PIPE", "subjects": ["pipe.>"], "max_bytes": 10, "sources": []}})


@pytest.fixture
async def nc(tmp_path: Path) -> AsyncIterator[Client]:
    """A site's server that has nothing yet."""
    async with Server("site1", tmp_path) as server, client_of(server) as client:
        yield client


def of_pipe(**fields: Any) -> Topology:
    return Topology({"PIPE": {**SITE.streams["PIPE"], **fields}})


@pytest.mark.parametrize(
    ("actual", "verb", "differing", "loses"),
    [
        pytest.param(Topology(), "create", (), False, id="nothing there"),
        pytest.param(SITE, "unchanged", (), False, id="all as declared"),
        pytest.param(of_pipe(sources=None), "unchanged", (), False, id="empty is absent"),
        pytest.param(of_pipe(metadata={"_nats.ver": "2.15"}, num_replicas=3), "unchanged", (), False, id="more than"),
        pytest.param(of_pipe(subjects=["pipe.>", "x"]), "update", ("subjects",), False, id="other subjects"),
        pytest.param(of_pipe(max_bytes=5), "update", ("max_bytes",), False, id="a wider limit"),
        pytest.param(of_pipe(max_bytes=20), "update", ("max_bytes",), True, id="a tighter limit"),
        pytest.param(of_pipe(max_bytes=-1), "update", ("max_bytes",), True, id="a first limit"),
    ],
)
def test_a_plan_has_what_is_to_be_done(actual: Topology, verb: str, differing: tuple[str, ...], loses: bool) -> None:
    (change,) = plan("site1", SITE, actual).changes
    assert (change.verb, tuple(difference.field for difference in change.differences)) == (verb, differing)
    assert any(difference.loses for difference in change.differences) == loses


def test_what_is_not_declared_is_named_as_foreign_and_is_no_step() -> None:
    todo = plan("site1", Topology(), SITE)
    assert [(change.verb, change.name) for change in todo.changes] == [("foreign", "PIPE")]
    assert todo.steps == ()


@given(site=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True), others=st.sets(st.just("site9")))
@settings(max_examples=30, derandomize=True)
def test_a_domain_that_is_as_declared_needs_nothing(site: str, others: set[str]) -> None:
    for declared in (site_topology(site, STAGES), hub_topology({site, *others}, STAGES)):
        assert plan(site, declared, declared).steps == ()


@pytest.mark.parametrize("domain", ["site1", HUB])
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_has_a_consumer_for_every_source_that_it_reads_and_only_on_its_side(stage: Stage, domain: str) -> None:
    filters = {
        (name.split("/")[0], subject)
        for name, consumer in stage_consumers(STAGES, domain).items()
        if name.endswith(f"/{stage.name}")
        for subject in filters_of(consumer)
    }
    is_home = (stage.side == "hub") == (domain == HUB)
    wanted = {(source.stream, source.filter) for kind in stage.accepts for source in sources_of(kind, domain)}
    assert filters == (wanted if is_home else set())


def test_a_consumer_never_stops_delivering_what_its_stage_has_not_brought_to_an_end() -> None:
    stage = Stage("policy", (Drafted, Verified), (), "x:y", retry=Retry(attempts=3))
    consumers = stage_consumers([stage], "site1")
    assert {name: consumer["max_deliver"] for name, consumer in consumers.items()} == {
        "PIPE/policy": -1,
        "VERDICTS/policy": -1,
    }
    assert consumers["PIPE/policy"]["filter_subjects"] == ["pipe.*.drafted.*", "pipe.*.verified.*"]
    assert consumers["VERDICTS/policy"]["filter_subjects"] == ["verdicts.site1.>"]


def test_every_stream_of_a_domain_refuses_when_full_but_the_hops_and_the_log() -> None:
    declared = {**site_topology("site1", STAGES).streams, **hub_topology(["site1"], STAGES).streams}
    assert {name for name, config in declared.items() if config["discard"] == "old"} == {PIPE, TOKENS, CLAIMS}
    assert {name for name, config in declared.items() if config["storage"] == "memory"} == {TOKENS, CLAIMS}
    kept = {ANSWERS, DEAD, EDITS, LOCAL, ARTEFACTS, *OBJECTS}
    assert {name for name, config in declared.items() if config["max_age"] == 0} == kept
    assert all(config["allow_direct"] and config["max_bytes"] > 0 for config in declared.values())


def test_a_hub_of_several_servers_has_every_stream_on_them_and_one_alone_is_left_as_it_is() -> None:
    three = hub_topology(["site1"], STAGES, None, RetentionSettings(hub_replicas=3))
    assert {config["num_replicas"] for config in three.streams.values()} == {3}
    assert stream_in_memory(CLAIMS, RetentionSettings(hub_replicas=3))["num_replicas"] == 3
    by_hand = Topology(
        {name: {**config, "num_replicas": 3} for name, config in hub_topology([], STAGES).streams.items()}
    )
    assert not any(change.kind == "stream" for change in plan(HUB, hub_topology([], STAGES), by_hand).steps)
    at_a_site = site_topology("site1", STAGES, RetentionSettings(hub_replicas=3))
    assert not any("num_replicas" in config for config in at_a_site.streams.values())


async def test_declaring_twice_changes_nothing_the_second_time(nc: Client, tmp_path: Path) -> None:
    first = await declare_site(nc, "site1", STAGES)
    assert {change.verb for change in first.changes} == {"create"}
    assert (await declare_site(nc, "site1", STAGES)).steps == ()
    assert set((await read_topology(nc)).streams) == {*SITE_STREAMS, *OBJECTS, TOKENS}
    async with Server(HUB, tmp_path / HUB) as server, client_of(server) as hub:
        await declare_hub(hub, ["site1", "site2"], STAGES)
        assert (await declare_hub(hub, ["site2", "site1"], STAGES)).steps == ()
        assert set((await read_topology(hub)).streams) == {ESCALATIONS, DEAD, EDITS, LOCAL, CLAIMS, *DOWN}


async def test_drift_is_printed_and_mended(nc: Client) -> None:
    await declare_site(nc, "site1", STAGES)
    streams = (await read_topology(nc)).streams
    await jetstream_api.put_stream(nc, {**streams[ASKS], "discard": "old", "subjects": ["asks.>", "x"]}, is_new=False)
    consumers = await jetstream_api.consumers(nc, PIPE)
    await jetstream_api.put_consumer(nc, PIPE, {**consumers["PIPE/router"], "max_deliver": 99}, is_new=False)
    todo = await plan_site(nc, "site1", STAGES)
    printed = str(todo)
    assert "site1: 2 to change, of 28" in printed
    assert "~ update stream ASKS (kept for 3 days)\n      subjects: ['asks.>', 'x'] -> ['asks.>']\n" in printed
    assert "discard: 'old' -> 'new'" in printed
    assert "~ update consumer PIPE/router\n      max_deliver: 99 -> -1" in printed
    assert [change.name for change in todo.steps] == ["ASKS", "PIPE/router"]
    await apply(nc, todo)
    assert (await plan_site(nc, "site1", STAGES)).steps == ()


async def test_a_filter_that_another_tool_wrote_in_the_other_field_is_the_same_filter(nc: Client) -> None:
    await jetstream_api.put_stream(nc, site_topology("site1", STAGES).streams[PIPE], is_new=True)
    theirs = {"durable_name": "router", "name": "router", "ack_policy": "explicit", "max_deliver": 2}
    await jetstream_api.put_consumer(nc, PIPE, {**theirs, "filter_subject": "pipe.*.screened.*"}, is_new=True)
    (router,) = [change for change in (await plan_site(nc, "site1", STAGES)).changes if change.name == "PIPE/router"]
    assert {difference.field for difference in router.differences} == {"max_deliver", "max_ack_pending", "ack_wait"}
    await declare_site(nc, "site1", STAGES)
    assert (await plan_site(nc, "site1", STAGES)).steps == ()


async def test_what_others_declared_and_what_an_operator_added_stays(nc: Client) -> None:
    await jetstream_api.put_stream(nc, {"name": "THEIRS", "subjects": ["theirs.>"]}, is_new=True)
    await declare_site(nc, "site1", STAGES)
    pipe = (await read_topology(nc)).streams[PIPE]
    await jetstream_api.put_stream(nc, {**pipe, "description": "ours", "discard": "new"}, is_new=False)
    done = await declare_site(nc, "site1", STAGES)
    assert [(change.verb, change.name) for change in done.changes if change.verb != "unchanged"] == [
        ("update", "PIPE"),
        ("foreign", "THEIRS"),
    ]
    after = (await read_topology(nc)).streams
    assert "THEIRS" in after
    assert (after[PIPE]["description"], after[PIPE]["discard"]) == ("ours", "old")


async def test_a_limit_that_deletes_is_not_tightened_and_nothing_else_is_done(nc: Client) -> None:
    await declare_site(nc, "site1", STAGES)
    wanted = site_topology("site1", STAGES)
    wanted.streams[ASKS]["description"] = "changed"
    wanted.streams[PIPE]["max_bytes"] = 4096
    todo = plan("site1", wanted, await read_topology(nc))
    with pytest.raises(DataLossError, match="PIPE: a tighter limit"):
        await apply(nc, todo)
    assert "description" not in (await read_topology(nc)).streams[ASKS]


HOUR = 3600
STREAMS_KEPT = tuple(
    name
    for name in RetentionSettings.__struct_fields__
    if name.endswith("_s") and name not in ("archive_answers_after_s", "audit_s")
)
"""The ages that are those of streams."""


@pytest.mark.parametrize("name", STREAMS_KEPT)
def test_the_retention_of_each_stream_is_a_setting_of_its_own(name: str) -> None:
    def ages(**kept: Any) -> dict[str, int]:
        retention = RetentionSettings(**kept)
        site = site_topology("site1", STAGES, retention).streams
        hub = hub_topology(["site1"], STAGES, None, retention).streams
        assert site[VERDICTS]["max_age"] == hub[VERDICTS]["max_age"]
        return {stream: config["max_age"] for stream, config in {**hub, **site}.items()}

    before, after = ages(), ages(**{name: 7 * HOUR})
    changed = {stream for stream, age in after.items() if age != before[stream]}
    assert changed == (set(OBJECTS) if name == "objects_s" else {name.removesuffix("_s").upper()})
    assert {after[stream] for stream in changed} == {7 * HOUR * SECOND_NS}


@pytest.mark.parametrize(("name", "shortest_s"), [("asks_s", 3600), ("tokens_s", 60)])
def test_what_is_too_short_for_a_request_is_no_retention(name: str, shortest_s: int) -> None:
    def keep(kept_s: int) -> RetentionSettings:
        return msgspec.structs.replace(RetentionSettings(), **{name: kept_s})

    keep(shortest_s)
    keep(0)
    with pytest.raises(ValueError, match=name):
        keep(shortest_s - 1)


async def test_a_shorter_retention_is_applied_when_a_person_says_so(nc: Client) -> None:
    await declare_site(nc, "site1", STAGES)
    shorter = RetentionSettings(answers_s=30 * 24 * HOUR, pipe_s=6 * 24 * HOUR, tokens_s=90)
    with pytest.raises(DataLossError, match="ANSWERS, TOKENS: a tighter limit") as refused:
        await declare_site(nc, "site1", STAGES, shorter)
    assert "--delete-older" in refused.value.hint
    todo = await plan_site(nc, "site1", STAGES, shorter)
    assert "~ update stream ANSWERS (kept for 30 days)" in str(todo)
    assert "stream DEAD (kept for ever)" in str(todo)
    assert "stream TOKENS (kept for 1.5 minutes)" in str(todo)
    assert set(await delete_older(nc, todo)) == {ANSWERS, TOKENS}
    await declare_site(nc, "site1", STAGES, shorter)
    assert (await plan_site(nc, "site1", STAGES, shorter)).steps == ()


async def test_a_full_site_refuses_new_requests_and_lets_accepted_ones_pass(nc: Client) -> None:
    await declare_site(nc, "site1", STAGES)
    declared = (await read_topology(nc)).streams
    for stream in (ASKS, PIPE):
        await jetstream_api.put_stream(nc, {**declared[stream], "max_bytes": 4096}, is_new=False)
    jetstream = nc.jetstream()
    for n in range(3):
        await jetstream.publish(f"asks.kiosk.r{n}", bytes(1000))
        await jetstream.publish(f"pipe.kiosk.screened.r{n}", bytes(1000))
    with pytest.raises(nats.js.errors.ServiceUnavailableError, match="maximum bytes exceeded"):
        await jetstream.publish("asks.kiosk.r9", bytes(1500))
    assert (await jetstream.publish("pipe.kiosk.screened.r9", bytes(1500))).seq == 4


async def test_an_answer_and_a_dead_letter_are_received_live_the_moment_they_are_stored(nc: Client) -> None:
    await declare_site(nc, "site1", STAGES)
    received = await nc.subscribe("live.>")
    for subject in ("answers.kiosk.r1", "dead.router.r1"):
        await nc.jetstream().publish(subject, b"x")
        message = await received.next_msg(timeout=5)
        assert message.headers is not None
        assert (message.subject, message.headers["Nats-Sequence"]) == (f"live.{subject}", "1")


async def test_a_change_that_jetstream_cannot_make_is_an_error(nc: Client) -> None:
    verdicts = {**site_topology("site1", STAGES).streams[VERDICTS], "subjects": ["verdicts.>"]}
    del verdicts["mirror"]
    await jetstream_api.put_stream(nc, verdicts, is_new=True)
    with pytest.raises(jetstream_api.JetStreamApiError, match=r"^STREAM\.UPDATE\.VERDICTS: .*mirror"):
        await declare_site(nc, "site1", STAGES)


def test_the_carriers_of_a_site_take_only_its_own_subjects() -> None:
    consumers = hub_topology(["site1", "site10"], STAGES).consumers
    assert fnmatchcase("verdicts.site1.kiosk.r1", filters_of(consumers["VERDICTS/to-site1"])[0].replace(">", "*"))
    assert not fnmatchcase("verdicts.site10.kiosk.r1", filters_of(consumers["VERDICTS/to-site1"])[0].replace(">", "*"))
    assert {kind for stage in STAGES if stage.side == "hub" for kind in stage.accepts} == {Escalated}
