"""Critical policies over the wire: the hub is killed at every step, sites are cut off, and no site runs ahead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.nats_fleet import until
from tests.support.trust_fleet import TENANT, TrustFleet, linked_trust_fleet, publish_at, trust_fleet
from tests.support.trust_link import bus_of
from tidegate.brokers.jetstream.publisher import Publisher
from tidegate.brokers.process.tasks import end_tasks
from tidegate.schemas import ActivationVote, ArtefactDescriptor, DecideActivation, encode
from tidegate.schemas.replica import Done
from tidegate.schemas.subjects import activation_vote
from tidegate.services.fleet.trust_hub import HubTrust
from tidegate.services.fleet.trust_site import SiteTrust
from tidegate.sync.rules.staleness import standing
from tidegate.sync.shells import activation_hub
from tidegate.sync.shells.activation_hub import SPLIT_BRAIN
from tidegate.sync.shells.artefact_publishing import ActivationAbortedError, PublishOptions
from tidegate.sync.shells.hub_repository import HubRepository
from tidegate.sync.shells.lease_requests import HubRefusedError, ask_hub
from tidegate.sync.trust.files import replace_file

pytestmark = pytest.mark.anyio
CRITICAL = PublishOptions(is_critical=True, soft_s=1, hard_s=4)


class Killed(BaseException):
    """The hub's process ends here."""


class Mortal:
    """Ends the hub's life at one of its steps, before or after something of it is stored, published or sent."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.passed = 0
        self.dead = asyncio.Event()

    def step(self) -> None:
        if self.dead.is_set():
            raise Killed
        if self.passed == self.at:
            self.dead.set()
            raise Killed
        self.passed += 1


class Killing:
    """Has the steps of an activation be counted by whoever lives now."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.life: Mortal | None = None
        for owner, name in ((Publisher, "publish"), (HubRepository, "publish")):
            monkeypatch.setattr(owner, name, self._mortal(getattr(owner, name)))
        store = replace_file

        def mortal(*arguments: Any) -> None:
            self.step()
            store(*arguments)
            self.step()

        monkeypatch.setattr(activation_hub, "replace_file", mortal)

    def step(self) -> None:
        if self.life is not None:
            self.life.step()

    def _mortal(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def mortal(*arguments: Any, **named: Any) -> Any:
            self.step()
            result = await function(*arguments, **named)
            self.step()
            return result

        return mortal


@contextlib.asynccontextmanager
async def hub_life(fleet: TrustFleet) -> AsyncIterator[HubTrust]:
    """One process of the hub: what it knew is on its disk, and nowhere else."""
    async with bus_of(fleet.all_.fleet.hub) as bus, fleet.open_hub(bus, activation_timeout_ms=3000) as hub:
        yield hub


def policy_file(fleet: TrustFleet, number: int) -> Path:
    file = Path(fleet.settings.state_dir) / "policy"
    file.write_text(f"policy: {number}\n")
    return file


def in_force(site: SiteTrust) -> int:
    return next((row.epoch for row in site.status() if row.name == "default"), 0)


async def are_leased(hub: HubTrust, *sites: str) -> None:
    async def is_so() -> bool:
        return hub.gate.leased(TENANT, hub.repository.now_ms()) == set(sites)

    await until(is_so)


async def settled(hub: HubTrust, *sites: SiteTrust) -> None:
    """Return when nothing is being activated, and all sites have in force what the hub decided."""

    async def is_so() -> bool:
        known = hub.coordinators.coordinator(TENANT, "default")
        return known.phase != "preparing" and all(in_force(site) == known.in_force for site in sites)

    await until(is_so)


async def hold(epoch: int, *sites: SiteTrust) -> None:
    """Return when all of them have this epoch in force."""

    async def is_so() -> bool:
        return all(in_force(site) == epoch for site in sites)

    await until(is_so)


def split_s() -> float:
    """For how long sites have had different policies in force, by the hub's metric."""
    return float(SPLIT_BRAIN.labels(TENANT, "default")._value.get())


async def test_a_coordinator_that_is_killed_at_any_step_goes_on_and_all_sites_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killing, epochs = Killing(monkeypatch), dict[str, list[int]]()

    def heard(site: str) -> Callable[[str], Any]:
        async def activate(_: str) -> None:
            epochs.setdefault(site, []).append(in_force(sites[site]))

        return activate

    async with contextlib.AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(trust_fleet(tmp_path, ("site1", "site2")))
        sites: dict[str, SiteTrust] = {}
        for name in ("site1", "site2"):
            sites[name] = await stack.enter_async_context(fleet.open_site(name, activate=heard(name)))
        steps, committed, is_over = 0, 0, False
        while not is_over:
            async with hub_life(fleet) as hub:  # it goes on where the life before it was ended
                await are_leased(hub, "site1", "site2")
                await settled(hub, *sites.values())
                assert hub.coordinators.coordinator(TENANT, "default").in_force >= committed
                committed = hub.coordinators.coordinator(TENANT, "default").in_force
                killing.life = life = Mortal(steps)
                asked = publish_at(hub, TENANT, "policy", "default", policy_file(fleet, steps), CRITICAL)
                ends = [asyncio.ensure_future(asked), asyncio.ensure_future(life.dead.wait())]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                is_over = not life.dead.is_set()
                await end_tasks(*ends)
            killing.life = None
            steps += 1
        assert steps > 10
        for seen in epochs.values():
            assert seen == sorted(seen)


class KeptStandings:
    """The last standing that a site without a link has written."""

    rung = ""

    def keep(self, held: Any, time: Any) -> None:
        self.rung = standing(held, time, is_linked=False).rung


async def test_a_site_that_is_cut_off_keeps_the_old_policy_until_its_hard_budget_and_holds_up_nobody(
    tmp_path: Path,
) -> None:
    standings = KeptStandings()
    async with (
        linked_trust_fleet(tmp_path, ("site1", "site2"), lease_lasts_s=3, timestamp_every_s=0.5) as fleet,
        fleet.open_hub() as hub,
        fleet.open_site("site1") as one,
        fleet.open_site("site2", write_standing=standings.keep) as two,
    ):
        await are_leased(hub, "site1", "site2")
        await publish_at(hub, TENANT, "policy", "default", policy_file(fleet, 1), CRITICAL)

        await hold(1, one, two)
        fleet.links["site2"].cut()
        done = await publish_at(hub, TENANT, "policy", "default", policy_file(fleet, 2), CRITICAL)
        assert done.epoch == 2  # once the lease of the other ran out

        async def is_evidence_only() -> bool:
            return standings.rung == "evidence-only"

        await until(is_evidence_only)
        assert (in_force(one), in_force(two)) == (2, 1)

        async def is_measured() -> bool:
            return split_s() > 0.5

        await until(is_measured)
        fleet.links["site2"].heal()
        await hold(2, one, two)

        async def is_back() -> bool:
            return two.is_leased and standings.rung == "local-only"

        await until(is_back)
        before = split_s()
        await asyncio.sleep(0.6)
        assert split_s() <= before + 0.5


async def test_a_site_that_holds_no_lease_and_never_votes_is_not_waited_for_and_one_that_has_one_is(
    tmp_path: Path,
) -> None:
    async with trust_fleet(tmp_path, ("site1", "site2")) as fleet, fleet.open_hub(activation_timeout_ms=700) as hub:
        first = await publish_at(hub, TENANT, "policy", "default", policy_file(fleet, 1), CRITICAL)
        assert first.epoch == 1
        async with fleet.open_site("site1") as one:
            await are_leased(hub, "site1")
            one.feed._subjects.clear()  # it hears of nothing any more
            with pytest.raises(ActivationAbortedError):
                await publish_at(hub, TENANT, "policy", "default", policy_file(fleet, 2), CRITICAL)
            assert in_force(one) == 1


async def test_a_vote_is_its_site_s_own(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path, ("site1",)) as fleet, fleet.open_hub():
        vote = ActivationVote(tenant=TENANT, name="default", site="site2", epoch=1, digest="0" * 64)
        bus = fleet.buses["site1"]

        async def is_linked() -> bool:
            with contextlib.suppress(ConnectionError):
                return bool(await bus.request(activation_vote("site1"), encode(vote), timeout_s=1.0))
            return False

        await until(is_linked)
        with pytest.raises(HubRefusedError, match="votes as site2"):
            await ask_hub(bus, activation_vote("site1"), vote, Done)


async def test_what_was_not_published_is_not_activated_whoever_says_that_it_was_decided(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub() as hub, fleet.open_site("site1") as site:
        await are_leased(hub, "site1")
        await publish_at(hub, TENANT, "policy", "default", policy_file(fleet, 1), CRITICAL)
        artefact = site.client.generation().artefacts or {}

        async def is_first() -> bool:
            return in_force(site) == 1

        await until(is_first)
        assert all(isinstance(each, ArtefactDescriptor) for each in artefact.values())
        forged = DecideActivation(tenant=TENANT, name="default", epoch=9, digest="0" * 64, outcome="commit")
        await hub.coordinators._send(TENANT, "default", forged, "forged")
        await asyncio.sleep(0.8)
        assert in_force(site) == 1
