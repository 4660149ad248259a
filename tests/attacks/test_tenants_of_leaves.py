"""A site's leaf asks the hub at once for the tenants that it serves, and for no other's, whatever runs behind it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.support.intruders import intruder
from tests.support.nats_fleet import nats_of, until
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.credentials import load_credential
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB, inbox_of
from tidegate.schemas.verification_subjects import (
    ANY_WORKER,
    fast_lane,
    older_fast_lane,
    older_verification_session,
    verification_session,
)
from tidegate.services.fleet.deployment import open_servers
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.roles import roles_of
from tidegate.services.settings import Settings
from tidegate.sync.trust.site_records import SiteRecords

pytestmark = pytest.mark.anyio


async def answering_everything(hub: Client) -> None:
    """Answer as a hub's verifier whatever is asked at once."""

    async def answer(msg: Msg) -> None:
        await msg.respond(msg.subject.encode())

    started = (verification_session("*", "*"), older_verification_session("*"))
    goes_on = (verification_session("*", "*", "w1"), older_verification_session("*", "w1"))
    for subject in (fast_lane("*", "*"), older_fast_lane("*"), *started, *goes_on):
        await hub.subscribe(subject, cb=answer)
    await hub.flush()


async def answers(site: Client, subject: str) -> bool:
    """Whether the hub answers a client of the site."""
    try:
        return (await site.request(subject, b"x", timeout=1.0)).data == subject.encode()
    except nats.errors.NoRespondersError:
        return False


@pytest.mark.parametrize("tenants", [("bank", "kiosk"), ()], ids=["some", "all"])
async def test_the_hub_s_server_carries_a_tenant_s_questions_from_its_own_sites_only(
    tmp_path: Path, tenants: tuple[str, ...]
) -> None:
    operator, leaf = load_credential(tmp_path / "operator.nk"), load_credential(tmp_path / "leaf.nk")
    [role] = [role for role in roles_of(HUB, ["site1"]) if role.name == "cloud-verifier"]
    verifier = load_credential(tmp_path / "verifier.nk")
    settings = conf.hub(
        operator.public, {"site1": leaf.public}, [role.user(HUB, verifier.public)], tenants={"site1": tenants}
    )
    hub = Server(HUB, tmp_path / HUB, settings, admits_leaves=True, operator_seed=verifier.seed_file)
    async with hub:
        own = conf.site("site1", operator.public, hub.leaf_url, leaf.seed())
        site = Server("site1", tmp_path / "site1", own, operator_seed=operator.seed_file)
        async with (
            site,
            intruder(hub.nats, inbox_of(HUB)) as answering,
            intruder(site.nats, inbox_of("site1")) as asking,
        ):
            await answering_everything(answering.client)
            is_answered = partial(answers, asking.client)
            await until(lambda: is_answered(fast_lane("site1", "kiosk")))
            assert await is_answered(fast_lane("site1", "bank"))
            assert await is_answered(older_fast_lane("site1")), "or it would not hear what is wrong"
            assert await is_answered(fast_lane("site1", "stranger")) == (not tenants)
            assert not await is_answered(fast_lane("site2", "kiosk"))
            for worker in (ANY_WORKER, "w1"):
                assert await is_answered(verification_session("site1", "kiosk", worker))
                assert await is_answered(verification_session("site1", "stranger", worker)) == (not tenants)
                assert not await is_answered(verification_session("site2", "kiosk", worker))
            assert await is_answered(older_verification_session("site1")), "or it would not hear what is wrong"
            assert await is_answered(older_verification_session("site1", "w1")) == (not tenants)


async def test_what_up_starts_carries_a_tenant_s_questions_from_its_own_sites_only(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path), tenants=("bank", "kiosk"))
    records = SiteRecords(StatePaths(replace(settings, site=HUB)).site_records)
    records.provision("site1", 1, "00" * 32, ("kiosk",))
    async with (
        open_servers(settings, ("site1", "site2")) as fleet,
        intruder(nats_of(fleet, HUB, "cloud-verifier"), inbox_of(HUB)) as answering,
        intruder(fleet.sites["site1"].nats, inbox_of("site1")) as narrow,
        intruder(fleet.sites["site2"].nats, inbox_of("site2")) as wide,
    ):
        await answering_everything(answering.client)
        await until(lambda: answers(narrow.client, fast_lane("site1", "kiosk")))
        await until(lambda: answers(wide.client, fast_lane("site2", "bank")))
        for of_tenant in (fast_lane, verification_session):
            assert await answers(narrow.client, of_tenant("site1", "kiosk"))
            assert not await answers(narrow.client, of_tenant("site1", "bank"))
            assert await answers(wide.client, of_tenant("site2", "bank")), "nobody has provisioned it"
