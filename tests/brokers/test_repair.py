"""A wiped site and a rolled-back origin look healthy to JetStream; they are found, and mended with nothing lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.support.nats_fleet import STAGES, arrived, client_of, count, linked, until
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.declare import connect_site_to_hub, declare_site
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.jetstream.repair import (
    delete_stream,
    mirror_again,
    read_mirror,
    read_origin,
    read_sourced,
    restart_origin,
    restore_lost,
)
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.topology.downlink import Downlink
from tidegate.brokers.topology.faults import OriginFacts, ReceiverFacts, find_fault
from tidegate.brokers.topology.plan import hub_topology, site_topology

pytestmark = pytest.mark.anyio

FAQ = Downlink(tenants=("kiosk",), collections=(("kiosk", "faq"),))
BODY = bytes(400)


def corpus(*numbers: int) -> list[str]:
    return [f"corpus.kiosk.faq.d{number}" for number in numbers]


def edits(*numbers: int) -> list[str]:
    return [f"edits.site1.kiosk.faq.d{number}" for number in numbers]


async def store(nc: Client, subjects: list[str]) -> None:
    for subject in subjects:
        await nc.jetstream().publish(subject, BODY, headers={"Nats-Msg-Id": subject})


async def subjects_in(nc: Client, stream: str) -> list[str]:
    return [stored.subject for stored in await messages(nc, stream, ">")]


async def acknowledged(nc: Client, stream: str, to: str, sequence: int) -> None:
    async def is_acknowledged() -> bool:
        return (await read_origin(nc, stream, to)).acknowledged >= sequence

    await until(is_acknowledged)


@pytest.mark.parametrize(
    ("receiver", "origin", "fault"),
    [
        pytest.param((1, 0), (1, 0), None, id="nothing yet"),
        pytest.param((1, 0), (1, 9), None, id="all of it on its way"),
        pytest.param((3, 7), (3, 9), None, id="the last ones on their way"),
        pytest.param((10, 9), (10, 9), None, id="all given up by age"),
        pytest.param((2, 7), (5, 9), None, id="given up by age at the origin first"),
        pytest.param((10, 9), (1, 9), "receiver-wiped", id="nothing there, and taken for known"),
        pytest.param((10, 12), (1, 12), "receiver-wiped", id="only what came since"),
        pytest.param((1, 9), (1, 5), "origin-rolled-back", id="the origin lost its end"),
        pytest.param((1, 9), (1, 0), "origin-rolled-back", id="the origin lost everything"),
    ],
)
def test_a_fault_is_what_the_two_ends_contradict_each_other_in(
    receiver: tuple[int, int], origin: tuple[int, int], fault: str | None
) -> None:
    received = ReceiverFacts(stream="CORPUS", messages=0, first=receiver[0], last=receiver[1])
    sent = OriginFacts(stream="CORPUS", first=origin[0], last=origin[1], acknowledged=0)
    assert find_fault(received, sent) == fault


async def fault_between(site: Client, hub: Client, stream: str) -> str | None:
    """What is wrong with a stream between site1 and the hub."""
    if stream == "EDITS":
        return find_fault(await read_sourced(hub, stream, "site1"), await read_origin(site, stream, "hub"))
    return find_fault(await read_mirror(site, stream), await read_origin(hub, stream, "site1"))


async def test_a_site_with_a_new_disk_is_found_and_gets_everything_again(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"], {"site1": FAQ}) as all_:
        await store(all_.hub, corpus(*range(20)))
        await acknowledged(all_.hub, "CORPUS", "site1", 20)
        server = all_.fleet.sites["site1"]
        server.kill()
        shutil.rmtree(server.directory / "store")
        await server.start()
        await all_.fleet.wait_until_linked()
        async with client_of(server) as site:
            await declare_site(site, "site1", STAGES)  # as its service does when it starts

            async def hears_of_the_hub() -> bool:
                return (await read_mirror(site, "CORPUS")).silent_s is not None

            await until(hears_of_the_hub)
            assert (await read_mirror(site, "CORPUS")).messages == 0
            assert await fault_between(site, all_.hub, "CORPUS") == "receiver-wiped"
            info = await api.call(site, "STREAM.INFO.CORPUS")
            assert (info["mirror"]["lag"], info["mirror"].get("error")) == (0, None)  # and JetStream sees nothing in it
            await mirror_again(all_.hub, site, "site1", "CORPUS")
            await store(all_.hub, corpus(20))
            await arrived(site, "CORPUS", 21)
            assert await subjects_in(site, "CORPUS") == corpus(*range(21))
            assert await fault_between(site, all_.hub, "CORPUS") is None


async def roll_back(server: Server, backup: Path) -> None:
    """What a backup of the disk that is restored makes of a server."""
    server.kill()
    shutil.rmtree(server.directory / "store")
    shutil.copytree(backup, server.directory / "store")
    await server.start()


async def back_up(server: Server, backup: Path) -> None:
    server.kill()
    shutil.copytree(server.directory / "store", backup)
    await server.start()


async def test_a_site_that_was_rolled_back_is_found_and_what_it_wrote_since_reaches_the_hub(tmp_path: Path) -> None:
    async with linked(tmp_path / "fleet", ["site1"]) as all_:
        server = all_.fleet.sites["site1"]
        await store(all_.sites["site1"], edits(*range(5)))
        await arrived(all_.hub, "EDITS", 5)
        await back_up(server, tmp_path / "backup")
        async with client_of(server) as site:
            await store(site, edits(*range(5, 15)))
        await arrived(all_.hub, "EDITS", 15)
        await roll_back(server, tmp_path / "backup")
        await all_.fleet.wait_until_linked()
        async with client_of(server) as site:
            sourced = await read_sourced(all_.hub, "EDITS", "site1")
            assert sourced.last == 15
            assert await fault_between(site, all_.hub, "EDITS") == "origin-rolled-back"
            await store(site, edits(*range(20, 24)))
            known = {stored.headers["Nats-Msg-Id"] for stored in await messages(all_.hub, "EDITS", ">")}
            declared = site_topology("site1", STAGES)
            assert (
                await restart_origin(
                    site, declared, "EDITS", sourced.last + 1, lambda stored: stored.headers["Nats-Msg-Id"] in known
                )
                == 4
            )
            assert "SALVAGE_EDITS" not in await api.streams(site)
            await store(site, edits(24))
            await arrived(all_.hub, "EDITS", 20)
            assert await subjects_in(all_.hub, "EDITS") == edits(*range(15), *range(20, 25))
            assert await fault_between(site, all_.hub, "EDITS") is None


async def test_a_hub_that_was_rolled_back_is_found_and_its_mirrors_go_on(tmp_path: Path) -> None:
    async with linked(tmp_path / "fleet", ["site1"], {"site1": FAQ}) as all_:
        hub, site = all_.fleet.hub, all_.sites["site1"]
        await store(all_.hub, corpus(*range(5)))
        await arrived(site, "CORPUS", 5)
        await back_up(hub, tmp_path / "backup")
        async with client_of(hub) as nc:
            await store(nc, corpus(*range(5, 10)))
        await arrived(site, "CORPUS", 10)
        await roll_back(hub, tmp_path / "backup")
        await all_.fleet.wait_until_linked()
        async with client_of(hub) as nc:
            mirror = await read_mirror(site, "CORPUS")
            assert await fault_between(site, nc, "CORPUS") == "origin-rolled-back"
            declared = hub_topology(["site1"], STAGES, {"site1": FAQ})
            await restart_origin(nc, declared, "CORPUS", mirror.last + 1, lambda _: True)
            await store(nc, corpus(*range(20, 23)))
            await arrived(site, "CORPUS", 13)
            assert await subjects_in(site, "CORPUS") == corpus(*range(10), *range(20, 23))


async def test_a_repair_that_was_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    async with linked(tmp_path, []) as all_:
        nc, declared = all_.hub, hub_topology([], STAGES)
        await store(nc, corpus(1, 2, 3))
        salvage = {"name": "SALVAGE_CORPUS", "mirror": {"name": "CORPUS"}, "allow_direct": True}
        await api.put_stream(nc, salvage, is_new=True)
        await arrived(nc, "SALVAGE_CORPUS", 3)
        await delete_stream(nc, "CORPUS")  # and here it was cut
        assert await restart_origin(nc, declared, "CORPUS", 101, lambda stored: stored.sequence == 2) == 2
        assert [(stored.sequence, stored.subject) for stored in await messages(nc, "CORPUS", ">")] == [
            (101, corpus(1)[0]),
            (102, corpus(3)[0]),
        ]
        assert await restart_origin(nc, declared, "CORPUS", 101, lambda _: False) == 0
        assert await count(nc, "CORPUS") == 2


async def test_a_hub_that_lost_what_it_had_of_a_site_is_found(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"]) as all_:
        site = all_.sites["site1"]
        await store(site, edits(*range(3)))
        await acknowledged(site, "EDITS", "hub", 3)
        assert await fault_between(site, all_.hub, "EDITS") is None
        declared = (await api.streams(all_.hub))["EDITS"]
        await delete_stream(all_.hub, "EDITS")
        await api.put_stream(all_.hub, declared, is_new=True)  # as a declaration that does not rewind would

        await store(site, edits(3))
        await arrived(all_.hub, "EDITS", 1)  # this one, and none of those before
        assert await fault_between(site, all_.hub, "EDITS") == "receiver-wiped"
        await delete_stream(all_.hub, "EDITS")
        await connect_site_to_hub(all_.hub, site, "site1", STAGES)
        await arrived(all_.hub, "EDITS", 4)
        assert await fault_between(site, all_.hub, "EDITS") is None


async def test_an_edit_that_the_hub_acknowledged_and_lost_is_stored_again_under_its_id(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"]) as all_:
        site = all_.sites["site1"]
        await store(site, edits(*range(4)))
        await acknowledged(site, "EDITS", "hub", 4)
        declared = (await api.streams(all_.hub))["EDITS"]
        await delete_stream(all_.hub, "EDITS")
        await api.put_stream(all_.hub, declared, is_new=True)
        assert await restore_lost(site, all_.hub, "EDITS", "site1") == 4
        assert await subjects_in(all_.hub, "EDITS") == edits(*range(4))
        assert await restore_lost(site, all_.hub, "EDITS", "site1") == 0
