"""Limits are settings: what an operator sets on the server by hand is kept, and no start is refused for a limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats.js.errors
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from tests.support.nats_fleet import STAGES, client_of, count
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.declare import (
    DataLossError,
    declare_fleet,
    declare_site,
    delete_older,
    plan_site,
    read_topology,
)
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import RetentionSettings, StreamSizes
from tidegate.brokers.topology.plan import hub_topology, plan, site_topology, without_losses
from tidegate.brokers.topology.streams import MIB
from tidegate.schemas.subjects import ANSWERS, ASKS, DEAD, PIPE

pytestmark = pytest.mark.anyio


@pytest.fixture
async def nc(tmp_path: Path) -> AsyncIterator[Client]:
    """A site's server with its streams."""
    async with Server("site1", tmp_path) as server, client_of(server) as client:
        await declare_site(client, "site1", STAGES)
        yield client


def sized(**sizes: int) -> RetentionSettings:
    return RetentionSettings(sizes=StreamSizes(**sizes))


async def set_by_hand(nc: Client, stream: str, **fields: Any) -> None:
    config = (await read_topology(nc)).streams[stream]
    await api.put_stream(nc, {**config, **fields}, is_new=False)


async def limit(nc: Client, stream: str) -> int:
    return int((await read_topology(nc)).streams[stream]["max_bytes"])


@pytest.mark.parametrize("name", StreamSizes.__struct_fields__)
def test_the_size_of_each_stream_is_a_setting_of_its_own(name: str) -> None:
    def sizes(**given: int) -> dict[str, int]:
        retention = sized(**given)
        both = (site_topology("site1", STAGES, retention), hub_topology(["site1"], STAGES, None, retention))
        return {stream: config["max_bytes"] for each in both for stream, config in each.streams.items()}

    before, after = sizes(), sizes(**{name: 7})
    changed = {stream for stream, size in after.items() if size != before[stream]}
    assert {stream.lower() for stream in changed} == {name.removesuffix("_mib")}
    assert {after[stream] for stream in changed} == {7 * MIB}


def test_which_streams_give_up_the_oldest_is_a_setting() -> None:
    kept = site_topology("site1", STAGES, RetentionSettings(oldest_make_room=("DEAD",))).streams
    assert (kept[DEAD]["discard"], kept[PIPE]["discard"]) == ("old", "new")


@given(before=st.integers(1, 9), by_hand=st.integers(1, 9), now=st.integers(1, 9))
@settings(max_examples=200, derandomize=True)
def test_a_limit_follows_its_setting_and_else_who_set_it_by_hand(before: int, by_hand: int, now: int) -> None:
    def wanted(mib: int) -> Any:
        return site_topology("site1", STAGES, sized(asks_mib=mib, pipe_mib=mib))

    there, declared = wanted(before), wanted(now)
    for stream in (ASKS, PIPE):
        there.streams[stream]["max_bytes"] = by_hand * MIB
    todo = plan("site1", declared, there)
    changes = {change.name: change for change in todo.changes if change.name in (ASKS, PIPE)}
    stays = now == before
    for stream, change in changes.items():
        assert change.verb == ("unchanged" if by_hand == now == before else "kept" if stays else "update")
        after = change.config["max_bytes"] if change.verb == "update" else there.streams[stream]["max_bytes"]
        assert after == (by_hand if stays else now) * MIB
    loses = not stays and now < by_hand
    assert [any(each.loses and not each.is_kept for each in changes[name].differences) for name in (ASKS, PIPE)] == [
        False,
        loses,
    ]
    kept = without_losses(changes[PIPE])
    assert (kept is None) == loses
    assert without_losses(changes[ASKS]) == changes[ASKS]


async def test_what_is_set_by_hand_is_said_and_kept_until_the_setting_changes(nc: Client) -> None:
    await set_by_hand(nc, ANSWERS, max_bytes=16 << 30)
    await set_by_hand(nc, ASKS, max_bytes=64 * MIB)
    todo = await plan_site(nc, "site1", STAGES)
    assert todo.steps == ()
    assert set(todo.by_hand) == {"ANSWERS.max_bytes", "ASKS.max_bytes"}
    assert "= kept stream ASKS (kept for 3 days)\n      max_bytes: 67108864 -> 4294967296  (set on the server" in str(
        todo
    )
    await declare_site(nc, "site1", STAGES)
    assert (await limit(nc, ANSWERS), await limit(nc, ASKS)) == (16 << 30, 64 * MIB)
    await declare_site(nc, "site1", STAGES, sized(answers_mib=32 << 10, asks_mib=128))
    assert (await limit(nc, ANSWERS), await limit(nc, ASKS)) == (32 << 30, 128 * MIB)
    assert (await plan_site(nc, "site1", STAGES, sized(answers_mib=32 << 10, asks_mib=128))).changes[
        0
    ].verb == "unchanged"


async def test_streams_of_before_limits_were_written_down_keep_what_differs_from_the_default(nc: Client) -> None:
    for stream in (ANSWERS, ASKS):
        await set_by_hand(nc, stream, metadata={}, **({"max_bytes": 16 << 30} if stream == ANSWERS else {}))
    await declare_site(nc, "site1", STAGES)
    assert await limit(nc, ANSWERS) == 16 << 30
    assert (await plan_site(nc, "site1", STAGES)).steps == ()
    await declare_site(nc, "site1", STAGES, sized(asks_mib=5000))
    assert await limit(nc, ASKS) == 5000 * MIB


async def test_a_stream_that_refuses_when_full_may_shrink_and_loses_nothing(nc: Client) -> None:
    jetstream = nc.jetstream()
    for n in range(4):
        await jetstream.publish(f"asks.kiosk.r{n}", bytes(400_000))
    await declare_site(nc, "site1", STAGES, sized(asks_mib=1))
    assert await count(nc, ASKS) == 4
    with pytest.raises(nats.js.errors.ServiceUnavailableError, match="maximum bytes exceeded"):
        await jetstream.publish("asks.kiosk.r9", b"x")
    await declare_site(nc, "site1", STAGES, sized(asks_mib=2))
    await jetstream.publish("asks.kiosk.r9", b"x")


async def test_one_that_gives_up_the_oldest_shrinks_only_when_a_person_says_so_and_never_at_a_start(nc: Client) -> None:
    jetstream, smaller = nc.jetstream(), sized(pipe_mib=1)
    for n in range(4):
        await jetstream.publish(f"pipe.kiosk.screened.r{n}", bytes(400_000))
    with pytest.raises(DataLossError, match="PIPE: a tighter limit"):
        await declare_site(nc, "site1", STAGES, smaller)
    await declare_site(nc, "site1", STAGES, smaller, keeps=True)
    assert (await count(nc, PIPE), await limit(nc, PIPE)) == (4, 8192 * MIB)
    todo = await plan_site(nc, "site1", STAGES, smaller)
    assert [step.name for step in todo.steps] == [PIPE]  # it was not applied, and is still said
    assert await delete_older(nc, todo) == (PIPE,)
    await declare_site(nc, "site1", STAGES, smaller)
    assert (await count(nc, PIPE), await limit(nc, PIPE)) == (2, MIB)


async def test_a_fleet_starts_whatever_limits_its_streams_have(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, ("site1",)) as servers:
        await declare_fleet(servers, STAGES)
        async with client_of(servers.sites["site1"]) as site:
            await set_by_hand(site, ANSWERS, max_bytes=200 << 30)
            await set_by_hand(site, ASKS, max_bytes=MIB)
    async with open_fleet(tmp_path, ("site1",)) as servers:
        await declare_fleet(servers, STAGES, retention=RetentionSettings(answers_s=3600, sizes=StreamSizes(pipe_mib=1)))
        async with client_of(servers.sites["site1"]) as site:
            streams = (await read_topology(site)).streams
    assert (streams[ANSWERS]["max_bytes"], streams[ANSWERS]["max_age"], streams[ASKS]["max_bytes"]) == (
        200 << 30,
        0,
        MIB,
    )
