"""What sync sends over the leaf: to each site what it was granted, from each site what is its own, and LOCAL never."""

from __future__ import annotations

from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.support.nats_fleet import STAGES, arrived, client_of, count, linked, send_lost, until
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.declare import plan_hub
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.topology.downlink import Downlink, downlink_of
from tidegate.brokers.topology.plan import downlinks_of, hub_topology
from tidegate.brokers.topology.streams import DOWN, filters_of
from tidegate.schemas.subjects import SITE_ONLY

pytestmark = pytest.mark.anyio

FAQ = Downlink(tenants=("kiosk",), collections=(("kiosk", "faq"),))
BOTH = Downlink(tenants=("kiosk",), collections=(("kiosk", "faq"), ("kiosk", "rates")), rates={"weights": 8_000_000})


async def store(nc: Client, *subjects: str, data: bytes = bytes(400)) -> None:
    for subject in subjects:
        await nc.jetstream().publish(subject, data, headers={"Nats-Msg-Id": subject})


async def subjects_in(nc: Client, stream: str) -> list[str]:
    return [stored.subject for stored in await messages(nc, stream, ">")]


def test_a_site_without_a_downlink_is_sent_nothing_and_never_everything() -> None:
    for stream, filters in ((stream, Downlink().filters(stream)) for stream in DOWN[1:]):
        assert len(filters) == 1
        assert filters[0].endswith(".nothing"), stream
        assert "*" not in filters[0]


@pytest.mark.parametrize("downlink", [Downlink(), FAQ, BOTH])
def test_a_downlink_is_read_back_from_the_consumers_that_it_made(downlink: Downlink) -> None:
    hub = hub_topology(["site1", "site10"], STAGES, {"site1": downlink})
    assert downlinks_of(hub) == {"site1": downlink, "site10": Downlink()}
    there = {stream: hub.consumers[f"{stream}/to-site1"] for stream in DOWN}
    assert downlink_of({stream: filters_of(config) for stream, config in there.items()}, there) == downlink


async def test_a_hub_that_is_declared_again_keeps_what_its_sites_were_granted(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"], {"site1": BOTH}) as all_:
        assert (await plan_hub(all_.hub, ["site1"], STAGES)).steps == ()
        assert (await plan_hub(all_.hub, ["site1"], STAGES, {"site1": BOTH})).steps == ()
        narrowed = await plan_hub(all_.hub, ["site1"], STAGES, {"site1": FAQ})
        assert [change.name for change in narrowed.steps] == ["CORPUS/to-site1", "OBJ_index/to-site1"]


async def test_a_site_receives_what_it_was_granted_and_a_spy_at_another_site_nothing(tmp_path: Path) -> None:
    granted = {"site1": BOTH, "site2": FAQ}
    async with linked(tmp_path, downlinks=granted) as all_:
        spied: list[str] = []
        for domain, nc in (("hub", all_.hub), ("site2", all_.sites["site2"])):
            await spy(nc, domain, spied)
        await store(all_.sites["site1"], "local.kiosk.notes.n1", data=b"LOCAL-BYTES")
        await store(all_.hub, "corpus.kiosk.rates.r1", "corpus.kiosk.faq.f1", "corpus.other.faq.f1")
        await store(all_.hub, "artefacts.kiosk.policy.p1", "artefacts.other.policy.p1")
        await store(all_.hub, "$O.index.M.kiosk.rates.s1", "$O.index.M.kiosk.faq.s1", "$O.policy.M.kiosk.p1")
        await store(all_.sites["site1"], "edits.site1.kiosk.faq.f2")
        wanted = {
            "site1": ["corpus.kiosk.rates.r1", "corpus.kiosk.faq.f1"],
            "site2": ["corpus.kiosk.faq.f1"],
        }
        for site, corpus in wanted.items():
            await arrived(all_.sites[site], "CORPUS", len(corpus))
            await arrived(all_.sites[site], "OBJ_index", len(corpus))
            await arrived(all_.sites[site], "OBJ_policy", 1)
            await arrived(all_.sites[site], "ARTEFACTS", 1)
        await arrived(all_.hub, "EDITS", 1)
        for site, corpus in wanted.items():
            assert await subjects_in(all_.sites[site], "CORPUS") == corpus
            assert await subjects_in(all_.sites[site], "ARTEFACTS") == ["artefacts.kiosk.policy.p1"]
        assert await subjects_in(all_.sites["site2"], "OBJ_index") == ["$O.index.M.kiosk.faq.s1"]
        # Under the subject that carries it JetStream shows the original one: a site's own mirrors, nothing else.
        assert not [news for news in spied if "local." in news or "site2 corpus.kiosk.rates" in news]
        assert not [news for news in spied if news.startswith("site2 edits.")]
        assert not store_bytes(tmp_path / "hub", b"LOCAL-BYTES")
        assert not store_bytes(tmp_path / "site2", b"LOCAL-BYTES")
        assert store_bytes(tmp_path / "site1", b"LOCAL-BYTES")


async def spy(nc: Client, domain: str, spied: list[str]) -> None:
    async def receive(message: Msg) -> None:
        spied.append(f"{domain} {message.subject}")

    for pattern in (*SITE_ONLY, ">"):
        await nc.subscribe(pattern, cb=receive)
    await nc.flush()


def store_bytes(directory: Path, wanted: bytes) -> list[Path]:
    """The files below that hold these bytes."""
    return [path for path in directory.rglob("*") if path.is_file() and wanted in path.read_bytes()]


async def test_an_edit_in_the_name_of_another_site_arrives_in_the_name_of_its_own(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"]) as all_:
        site = all_.sites["site1"]
        declared = (await api.streams(site))["EDITS"]
        await api.put_stream(site, {**declared, "subjects": ["edits.>"]}, is_new=False)  # as a site that lies would
        await store(site, "edits.site2.kiosk.faq.forged", "edits.site1.kiosk.faq.own")
        await arrived(all_.hub, "EDITS", 2)
        assert await subjects_in(all_.hub, "EDITS") == ["edits.site1.kiosk.faq.forged", "edits.site1.kiosk.faq.own"]


async def test_what_is_published_is_in_the_mirror_once_in_order_whatever_is_killed(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"], {"site1": FAQ}) as all_:
        down = [f"corpus.kiosk.faq.d{n}" for n in range(60)]
        up = [f"edits.site1.kiosk.faq.d{n}" for n in range(60)]
        hub, site = all_.fleet.hub, all_.fleet.sites["site1"]
        await store(all_.hub, *down[:20])
        await store(all_.sites["site1"], *up[:20])
        hub.kill()
        await store(all_.sites["site1"], *up[10:40])  # half of them for the second time
        await hub.start()
        async with client_of(hub) as nc:
            here = all_.sites["site1"]

            async def has_all() -> bool:  # what nats-server acknowledged and lost is stored again: decision 0025
                return bool(await send_lost(here, nc, "site1")) or await count(nc, "EDITS") >= 40

            await until(has_all)
        site.kill()
        async with client_of(hub) as nc:
            await store(nc, *down[10:60])
            await site.start()
            async with client_of(site) as there:
                await store(there, *up[30:60])
                await arrived(there, "CORPUS", 60)
                await arrived(nc, "EDITS", 60)
                assert await subjects_in(there, "CORPUS") == down
                assert sorted(await subjects_in(nc, "EDITS")) == sorted(up)
