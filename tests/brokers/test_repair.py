"""A wiped mirror and a rolled-back stream look healthy to JetStream; the facts of both ends give them away."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from nats.aio.client import Client

from tests.support.nats_fleet import STAGES, acknowledged, arrived, client_of, linked, until
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.jetstream.granting import (
    delete_mirror,
    fault_of_mirror,
    make_mirror,
    purge_ungranted,
    rewind_carrier,
)
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.jetstream.repair import read_mirror
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import RetentionSettings
from tidegate.brokers.topology.downlink import Downlink
from tidegate.brokers.topology.faults import MirrorFacts, OriginFacts, find_fault

pytestmark = pytest.mark.anyio

FAQ = Downlink(tenants=("kiosk",), collections=(("kiosk", "faq"),))
BODY = bytes(400)


def corpus(*numbers: int) -> list[str]:
    return [f"corpus.kiosk.faq.d{number}" for number in numbers]


async def store(nc: Client, subjects: list[str]) -> None:
    for subject in subjects:
        await nc.jetstream().publish(subject, BODY, headers={"Nats-Msg-Id": subject})


async def subjects_in(nc: Client, stream: str) -> list[str]:
    return [stored.subject for stored in await messages(nc, stream, ">")]


def times(sequence: int, at_ms: int) -> dict[int, int]:
    return {sequence: at_ms} if at_ms else {}


@pytest.mark.parametrize(
    ("mirror", "origin", "fault"),
    [
        pytest.param((1, 0, 0), (1, 0, 0), None, id="nothing yet"),
        pytest.param((1, 0, 0), (1, 9, 0), None, id="all of it on its way"),
        pytest.param((3, 7, 70), (3, 9, 70), None, id="the last ones on their way"),
        pytest.param((10, 9, 0), (10, 9, 0), None, id="all given up by age"),
        pytest.param((2, 7, 70), (5, 9, 70), None, id="given up by age at the origin first"),
        pytest.param((2, 7, 70), (8, 9, 0), None, id="the last one given up by age at the origin first"),
        pytest.param((8, 7, 0), (5, 9, 70), "mirror-wiped", id="the last one deleted in the mirror"),
        pytest.param((10, 9, 0), (1, 9, 90), "mirror-wiped", id="nothing there, and taken for known"),
        pytest.param((10, 12, 120), (1, 12, 120), "mirror-wiped", id="only what came since"),
        pytest.param((1, 9, 90), (1, 5, 0), "origin-rolled-back", id="the origin lost its end"),
        pytest.param((1, 9, 90), (1, 0, 0), "origin-rolled-back", id="the origin lost everything"),
        pytest.param((1, 9, 90), (1, 12, 91), "origin-rolled-back", id="the origin came past its mirror again"),
    ],
)
def test_a_fault_is_what_the_two_ends_contradict_each_other_in(
    mirror: tuple[int, int, int], origin: tuple[int, int, int], fault: str | None
) -> None:
    received = MirrorFacts(
        stream="CORPUS", messages=0, first=mirror[0], last=mirror[1], ends=times(mirror[1], mirror[2])
    )
    sent = OriginFacts(stream="CORPUS", first=origin[0], last=origin[1], ends=times(mirror[1], origin[2]))
    assert find_fault(received, sent) == fault


async def fault_between(site: Client, hub: Client) -> str | None:
    """What is wrong with CORPUS between the hub and site1."""
    return await fault_of_mirror(hub, "site1", await read_mirror(site, "CORPUS"))


async def mirror_again(site: Client, hub: Client) -> None:
    await delete_mirror(site, "CORPUS")
    await rewind_carrier(hub, "site1", "CORPUS")
    await make_mirror(site, "site1", "CORPUS", RetentionSettings())


async def test_a_site_with_a_new_disk_is_found_and_gets_everything_again(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"], {"site1": FAQ}) as all_:
        await store(all_.hub, corpus(*range(20)))
        await acknowledged(all_.hub, "CORPUS", "to-site1", 20)
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
            assert await fault_between(site, all_.hub) == "mirror-wiped"
            info = await api.call(site, "STREAM.INFO.CORPUS")
            assert (info["mirror"]["lag"], info["mirror"].get("error")) == (0, None)  # and JetStream sees nothing in it
            await mirror_again(site, all_.hub)
            await store(all_.hub, corpus(20))
            await arrived(site, "CORPUS", 21)
            assert await subjects_in(site, "CORPUS") == corpus(*range(21))
            assert await fault_between(site, all_.hub) is None


async def roll_back(server: Server, backup: Path) -> None:
    """What a backup of the disk that is restored makes of a server."""
    server.kill()
    shutil.rmtree(server.directory / "store")
    shutil.copytree(backup, server.directory / "store")
    await server.start()


@pytest.mark.parametrize("since", [0, 3, 8])
async def test_a_hub_that_was_rolled_back_is_found_and_its_mirror_goes_on(tmp_path: Path, since: int) -> None:
    async with linked(tmp_path / "fleet", ["site1"], {"site1": FAQ}) as all_:
        hub, site = all_.fleet.hub, all_.sites["site1"]
        await store(all_.hub, corpus(*range(5)))
        await arrived(site, "CORPUS", 5)
        hub.kill()
        shutil.copytree(hub.directory / "store", tmp_path / "backup")
        await hub.start()
        async with client_of(hub) as nc:
            await store(nc, corpus(*range(5, 10)))
        await arrived(site, "CORPUS", 10)
        before = (await read_mirror(site, "CORPUS")).ends
        await roll_back(hub, tmp_path / "backup")
        async with client_of(hub) as nc:
            await store(nc, corpus(*range(20, 20 + since)))
            await all_.fleet.wait_until_linked()
            facts = await read_mirror(site, "CORPUS")
            facts = msgspec.structs.replace(facts, ends={**before, **facts.ends})
            assert await fault_of_mirror(nc, "site1", facts) == "origin-rolled-back"
            await mirror_again(site, nc)
            await store(nc, corpus(40))
            await arrived(site, "CORPUS", 6 + since)
            assert await subjects_in(site, "CORPUS") == corpus(*range(5), *range(20, 20 + since), 40)
            assert await fault_between(site, nc) is None


async def test_only_what_is_not_granted_is_purged(tmp_path: Path) -> None:
    async with linked(tmp_path, [], {}) as all_:
        await store(all_.hub, ["corpus.kiosk.faq.d1", "corpus.kiosk.faqs.d1", "corpus.kiosk.rates.d1"])
        assert await purge_ungranted(all_.hub, "CORPUS", FAQ) == 2
        assert await subjects_in(all_.hub, "CORPUS") == ["corpus.kiosk.faq.d1"]
