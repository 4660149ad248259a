"""What a site is sent follows its lease and its link: nothing sensitive without a lease, all of it with one."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from tests.support.nats_fleet import until
from tests.support.trust_fleet import TENANT, TrustFleet, trust_fleet
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.granting import Carrier, read_carriers
from tidegate.brokers.jetstream.history import messages
from tidegate.schemas import Collection, DownlinkRequest, replace
from tidegate.schemas.lease import DownlinkReply
from tidegate.schemas.subjects import HUB, corpus, lease_of
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.revocation import revoke_fleet_site
from tidegate.sync.shells.lease_requests import HubRefusedError, ask_hub
from tidegate.sync.shells.machine import wall_ms
from tidegate.sync.shells.site_grants import BEHIND_FOR_S, UNWANTED_FOR_S, is_same_pause, plan_pauses

pytestmark = pytest.mark.anyio
FAQ = Collection(tenant=TENANT, name="faq")
STAFF = Collection(tenant=TENANT, name="staff", is_sensitive=True)
ELSEWHERE = Collection(tenant=TENANT, name="elsewhere", sites=("site2",))
HERS = Collection(tenant=TENANT, name="hers", owner="site")


async def store(fleet: TrustFleet, *names: str) -> None:
    for name in names:
        collection, _, document = name.partition("/")
        await fleet.all_.hub.jetstream().publish(corpus(TENANT, collection, document), b"x")


async def held(client: Client) -> list[str]:
    return [".".join(each.subject.split(".")[2:]) for each in await messages(client, "CORPUS", ">")]


async def holds(client: Client, *names: str) -> None:
    async def is_so() -> bool:
        try:
            return await held(client) == list(names)
        except Exception:  # noqa: BLE001 - the mirror is being made anew
            return False

    await until(is_so)


async def test_a_sensitive_collection_comes_with_the_lease_and_no_more_when_it_is_over(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path, lease_lasts_s=3) as fleet:
        fleet.collections += [FAQ, STAFF, ELSEWHERE, HERS]
        site1 = fleet.all_.sites["site1"]
        async with fleet.open_hub() as hub:
            await hub.grants.apply_all()
            await store(fleet, "faq/1", "staff/1", "elsewhere/1", "hers/1", "faq/2", "staff/2")
            await holds(site1, "faq.1", "faq.2")
            async with fleet.open_site("site1") as site:
                await holds(site1, "faq.1", "staff.1", "faq.2", "staff.2")
                await store(fleet, "staff/3")
                await holds(site1, "faq.1", "staff.1", "faq.2", "staff.2", "staff.3")
                assert set(site.downlink.granted.collections) == {(TENANT, "faq"), (TENANT, "staff")}
            # it is gone, and its lease ends

            async def is_over() -> bool:
                return (TENANT, "staff") not in hub.grants.downlink("site1").collections

            await until(is_over)
            await hub.grants.apply_all()
            await store(fleet, "staff/4", "faq/3")
            await holds(site1, "faq.1", "staff.1", "faq.2", "staff.2", "staff.3", "faq.3")


async def test_a_revoked_site_is_sent_nothing_new(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path, ("site1", "site2")) as fleet:
        fleet.collections += [FAQ]
        async with fleet.open_hub() as hub:
            await hub.grants.apply_all()
            await store(fleet, "faq/1")
            for client in fleet.all_.sites.values():
                await holds(client, "faq.1")
            revoke_fleet_site(StatePaths(fleet.settings_of(HUB)), "site1", "stolen", wall_ms())
            await hub.grants.apply_all()
            await store(fleet, "faq/2")
            await holds(fleet.all_.sites["site2"], "faq.1", "faq.2")
            assert await held(fleet.all_.sites["site1"]) == ["faq.1"]
            carriers = await read_carriers(fleet.all_.hub, "site1")
            assert all(
                "nothing" in str(each.config.get("filter_subject") or each.config["filter_subjects"])
                for each in carriers.values()
            )


async def test_a_mirror_is_made_anew_only_for_what_it_lacks(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet:
        fleet.collections += [FAQ]
        site1 = fleet.all_.sites["site1"]
        async with fleet.open_hub() as hub, fleet.open_site("site1") as site:
            await store(fleet, "faq/1", "late/1")

            async def is_known() -> bool:
                return site.downlink.granted.collections == ((TENANT, "faq"),)

            await until(is_known)
            await holds(site1, "faq.1")
            created = (await site1.jetstream().stream_info("CORPUS")).created
            fleet.collections += [replace(FAQ, name="new")]
            await store(fleet, "new/1")
            await holds(site1, "faq.1", "new.1")
            fleet.collections += [replace(FAQ, name="late")]
            await holds(site1, "faq.1", "late.1", "new.1")
            assert (await site1.jetstream().stream_info("CORPUS")).created != created
            fleet.collections[:] = [FAQ]
            await holds(site1, "faq.1")
            assert hub.faults() == ()


async def test_a_mirror_that_is_gone_is_made_anew_with_all_that_it_held(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet:
        fleet.collections += [FAQ]
        site1 = fleet.all_.sites["site1"]
        async with fleet.open_hub(), fleet.open_site("site1"):
            await store(fleet, "faq/1", "faq/2")
            await holds(site1, "faq.1", "faq.2")
            await site1.jetstream().delete_stream("CORPUS")
            await holds(site1, "faq.1", "faq.2")


async def test_a_site_asks_for_itself_only(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path, ("site1", "site2")) as fleet, fleet.open_hub():
        replies: list[DownlinkReply] = []

        async def is_answered() -> bool:  # the leaf hears of who answers a moment later
            with contextlib.suppress(UnreachableError):
                replies.append(await ask_hub(fleet.buses["site1"], lease_of("site1"), DownlinkRequest(), DownlinkReply))
            return bool(replies)

        await until(is_answered)
        assert replies[0].tenants == (TENANT,)
        with pytest.raises(UnreachableError):
            await ask_hub(fleet.buses["site1"], lease_of("site2"), DownlinkRequest(), DownlinkReply)
        with pytest.raises(HubRefusedError, match="was provisioned"):
            await ask_hub(fleet.buses[HUB], lease_of("site9"), DownlinkRequest(), DownlinkReply)


def carriers(**pending: int) -> dict[str, Carrier]:
    return {
        f"OBJ_{bucket}": Carrier({}, 0, pending.get(bucket, 0))
        for bucket in ("policy", "prompt", "adapter", "index", "weights")
    }


def behind(*buckets: str) -> dict[str, float]:
    return dict.fromkeys(buckets, BEHIND_FOR_S)


WANTED = {"wants_weights": True}
AT_NIGHT = {"bulk_hours": ("22:00-06:00",)}
NIGHT = 23 * 3600.0
NOON = 12 * 3600.0


@pytest.mark.parametrize(
    ("link", "pending", "now_s", "expected"),
    [
        ({}, {"index": 5}, NOON, {"weights": UNWANTED_FOR_S}),
        (WANTED, {"index": 5, "weights": 5}, NOON, {}),
        ({"kbit_s": 1000, **WANTED}, {"index": 5, "weights": 5}, NOON, behind("adapter", "weights")),
        ({"kbit_s": 1000, **WANTED}, {"weights": 5}, NOON, behind("adapter", "index")),
        ({"kbit_s": 1000, **WANTED}, {}, NOON, {}),
        ({**AT_NIGHT, **WANTED}, {"index": 5}, NOON, dict.fromkeys(("adapter", "index", "weights"), 36_000.0)),
        ({**AT_NIGHT, **WANTED}, {"index": 5}, NIGHT, {}),
    ],
)  # fmt: skip
def test_what_is_held_back(
    link: dict[str, Any], pending: dict[str, int], now_s: float, expected: dict[str, float]
) -> None:
    pauses = plan_pauses(carriers(**pending), DownlinkRequest(**link), now_s)
    assert {bucket: until_s - now_s for bucket, until_s in pauses.items() if until_s} == expected


def test_a_pause_that_goes_on_is_not_set_each_second() -> None:
    assert is_same_pause(0.0, 0.0, 100.0)
    assert is_same_pause(0.0, 99.0, 100.0)
    assert is_same_pause(1000.0, 1020.0, 100.0)
    assert not is_same_pause(1000.0, 1040.0, 100.0)
    assert is_same_pause(100.0 + UNWANTED_FOR_S, UNWANTED_FOR_S, 100.0)
    assert not is_same_pause(100.0 + UNWANTED_FOR_S, 200.0, 100.0)
    assert not is_same_pause(0.0, 200.0, 100.0)
