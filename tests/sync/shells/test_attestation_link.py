"""Attestation over the leaf: leases that are forged, sites that are cloned or changed, keys that are exchanged."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.nats_fleet import until
from tests.support.sync_samples import DIGEST
from tests.support.trust_fleet import TENANT, TrustFleet, trust_fleet
from tidegate.schemas import (
    Collection,
    DocumentsRequest,
    RangeRequest,
    SignedLease,
    SiteLease,
    TidegateError,
    decode,
    encode,
    replace,
)
from tidegate.schemas.lease import AttestationRequest, NonceReply, NonceRequest
from tidegate.schemas.subjects import HUB, lease_of
from tidegate.services.fleet.hub_keys import KeyPlaces
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.provision import provision_site
from tidegate.services.fleet.revocation import revoke_fleet_site
from tidegate.services.fleet.trust_hub import HubTrust
from tidegate.services.fleet.trust_site import SiteTrust
from tidegate.sync.hub_client import HubState
from tidegate.sync.leasing import NoLeaseError
from tidegate.sync.rules.ownership import NotOwnedError
from tidegate.sync.shells import attestation_link
from tidegate.sync.shells.lease_requests import HubRefusedError, ask_hub
from tidegate.sync.shells.machine import wall_ms
from tidegate.sync.store import ReplicaStore
from tidegate.sync.trust.leases import sign_lease
from tidegate.sync.trust.live_keys import LiveKeys
from tidegate.sync.trust.site_records import RevokedSiteError

pytestmark = pytest.mark.anyio


async def is_leased(site: SiteTrust) -> None:
    async def is_so() -> bool:
        return site.is_leased

    await until(is_so)


def places(fleet: TrustFleet) -> KeyPlaces:
    paths = StatePaths(fleet.settings_of(HUB))
    return KeyPlaces.of(paths.keys, paths.repository, wall_ms())


async def test_a_forged_lease_is_refused_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sits between may answer as he likes; he does not have the hub's device key."""
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub(), fleet.open_site("site1") as site:
        await is_leased(site)
        keys = LiveKeys(StatePaths(fleet.settings).keys, "site1")
        ask = ask_hub

        def forge(change: Callable[[SignedLease], SignedLease]) -> None:
            async def answer(*asked: Any) -> Any:
                reply = await ask(*asked)
                return change(reply) if isinstance(reply, SignedLease) else reply

            monkeypatch.setattr(attestation_link, "ask_hub", answer)

        def resigned(signed: SignedLease) -> SignedLease:
            longer = replace(decode(signed.payload, SiteLease), lasts_s=999_999)
            return sign_lease(longer, keys.newest("device", wall_ms()))

        older = [SignedLease(payload=b"", signer=DIGEST, signature=bytes(64))]

        def replayed(signed: SignedLease) -> SignedLease:
            older.append(signed)
            return older[-2]

        for change, code in (
            (resigned, "wrong_key"),
            (lambda signed: replace(resigned(signed), signer=signed.signer), "bad_signature"),
            (replayed, "unknown_key"),
            (replayed, "wrong_lease"),
        ):
            forge(change)
            before = site.attester._lease
            report = await site.attester.attest()
            assert (report.code, bool(report.hint)) == (code, True)
            assert site.attester._lease is before


async def test_a_cloned_site_is_fenced_whichever_machine_speaks_and_comes_back_as_the_next_incarnation(
    tmp_path: Path,
) -> None:
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub() as hub:
        trust = StatePaths(fleet.settings_of("site1")).trust
        async with fleet.open_site("site1") as site:
            await is_leased(site)
            shutil.copytree(trust, tmp_path / "clone")
            await site.attester.attest()
        shutil.rmtree(trust)
        shutil.copytree(tmp_path / "clone", trust)
        async with fleet.open_site("site1") as site:

            async def is_refused() -> bool:
                return site.attester.report.code == "cloned_site"

            await until(is_refused)
            assert not hub.gate.is_leased("site1", wall_ms())
            assert provision_site(fleet.settings, "site1").identity.incarnation == 2
        async with fleet.open_site("site1") as site:
            await is_leased(site)
            assert site.attester.report.incarnation == 2


async def test_a_site_that_runs_something_else_gets_no_lease_until_it_is_accepted(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub(), fleet.open_site("site1") as site:
        await is_leased(site)
        (Path(fleet.settings.models_dir) / "reader.onnx").write_bytes(b"other weights")
        report = await site.attester.attest()
        assert (report.code, "models" in report.reason) == ("unexpected_digest", True)
        from tidegate.sync.trust.leases import unpin_site
        from tidegate.sync.trust.site_records import SiteRecords

        unpin_site(SiteRecords(StatePaths(fleet.settings_of(HUB)).site_records), "site1")
        assert (await site.attester.attest()).code == ""
        assert (await site.attester.attest()).code == ""


async def test_a_statement_of_another_site_and_an_answered_nonce_are_refused(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path, ("site1", "site2")) as fleet, fleet.open_hub(), fleet.open_site("site1") as site:
        await is_leased(site)
        sent: list[bytes] = []
        request = fleet.buses["site1"].request

        async def listening(subject: str, data: bytes, *, timeout_s: float) -> bytes:
            sent.append(data)
            return await request(subject, data, timeout_s=timeout_s)

        fleet.buses["site1"].request = listening  # type: ignore[method-assign]
        await site.attester.attest()
        statement = decode(sent[-1], AttestationRequest)
        for domain, reason in (("site1", "answered already"), ("site2", "statement of site1")):
            with pytest.raises(HubRefusedError, match=reason):
                await ask_hub(fleet.buses[domain], lease_of(domain), statement, SignedLease)
        with pytest.raises(HubRefusedError, match="no DSSE"):
            await ask_hub(fleet.buses["site2"], lease_of("site2"), AttestationRequest(envelope=b"x"), SignedLease)
        assert await ask_hub(fleet.buses["site2"], lease_of("site2"), NonceRequest(), NonceReply)


async def test_keys_are_exchanged_while_a_site_runs_and_no_state_of_it_is_refused(tmp_path: Path) -> None:
    """`tidegate keys rotate` and `revoke` are other processes; the site sees each state that the hub signs."""
    async with (
        trust_fleet(tmp_path, timestamp_every_s=0.5) as fleet,
        fleet.open_hub() as hub,
        fleet.open_site("site1") as site,
    ):
        await is_leased(site)
        await sees(site, hub)

        async def is_well() -> bool:
            return site.faults() == ()

        await until(is_well)
        first_author = site.signer.key_id
        faults: set[str] = set()

        async def watch() -> None:
            while True:
                faults.update(site.faults())
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        for role in ("timestamp", "snapshot", "targets"):
            await exchange(fleet, role, site, hub)
        for owner in (HUB, "site1"):
            for role in ("device", "author"):
                await exchange_own(fleet, role, owner, site, hub)
        watching.cancel()
        assert faults == set()
        assert site.signer.key_id != first_author


async def test_a_lease_of_a_key_that_is_here_and_not_read_yet_is_accepted(tmp_path: Path) -> None:
    """A generation is stored before its keys are read; the hub signs with the new key from then on."""
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub() as hub, fleet.open_site("site1") as site:
        await is_leased(site)
        before = site.artefacts.keyring
        places(fleet).generate("device", HUB, lambda _: None)
        await asyncio.to_thread(places(fleet).publish_register)
        await sees(site, hub)
        read = []

        async def read_keyring() -> None:
            await site.artefacts.read_keyring()
            read.append(site.artefacts.keyring)

        site.attester._ports = replace(
            site.attester._ports, keyring=lambda: [before, *read][-1], read_keyring=read_keyring
        )
        assert ((await site.attester.attest()).code, len(read)) == ("", 1)


async def exchange(fleet: TrustFleet, role: Any, site: SiteTrust, hub: HubTrust) -> None:
    """What `tidegate keys rotate ROLE` and `revoke` do for a role of the repository."""
    where = places(fleet)
    old = where.store.good(role, HUB, wall_ms())[0]
    key = where.generate(role, HUB, lambda _: None)
    await asyncio.to_thread(where.repository.rotate, role, key, where.signers(), wall_ms())
    await sees(site, hub)
    where = places(fleet)
    await asyncio.to_thread(where.repository.revoke, old.key_id, where.signers(), wall_ms())
    where.store.revoke(old.key_id, wall_ms(), "exchanged")
    await sees(site, hub)


async def exchange_own(fleet: TrustFleet, role: Any, owner: str, site: SiteTrust, hub: HubTrust) -> None:
    """What they do for a key of the hub or a site, after which the site gets leases all the same."""
    old = places(fleet).store.good(role, owner, wall_ms())[0]
    for is_over in (False, True):
        if is_over:
            places(fleet).store.expire(old.key_id, wall_ms())
        else:
            places(fleet).generate(role, owner, lambda _: None)
        await asyncio.to_thread(places(fleet).publish_register)
        await sees(site, hub)
        assert (await site.attester.attest()).code == ""


async def sees(site: SiteTrust, hub: HubTrust) -> None:
    """Return when the site has the state that the hub has now."""
    version = hub.repository.repository.state().timestamp.version

    async def is_there() -> bool:
        return bool(site.artefacts._generation) and site.client.generation().version >= version

    await until(is_there)


STAFF = Collection(tenant=TENANT, name="staff", is_sensitive=True)
OWN = Collection(tenant=TENANT, name="own", owner="site")


async def test_who_has_no_lease_and_who_was_revoked_reads_nothing_and_a_site_s_own_is_nobody_else_s(
    tmp_path: Path,
) -> None:
    async with trust_fleet(tmp_path, ("site1", "site2")) as fleet, fleet.open_hub() as hub:
        store = ReplicaStore(tmp_path / "hub.sqlite", HUB, "ab" * 8)
        for collection in (STAFF, OWN, replace(STAFF, name="open", is_sensitive=False)):
            store.put_collection(collection)
        state = HubState(store, hub.gate)
        which = {"tenant": TENANT, "collection": "staff"}

        def ask(site: str, name: str) -> list[type[TidegateError] | None]:
            asked = {**which, "collection": name}
            found: list[type[TidegateError] | None] = []
            for call in (
                lambda: state.head(site, name, wall_ms()),
                lambda: state.ranges(site, RangeRequest(**asked, ranges=("",))),
                lambda: state.documents(site, DocumentsRequest(**asked, document_ids=("d1",))),
            ):
                try:
                    call()
                    found.append(None)
                except TidegateError as error:
                    found.append(type(error))
            return found

        assert ask("site1", "staff") == [NoLeaseError] * 3
        async with fleet.open_site("site1") as site:
            await is_leased(site)
            assert ask("site1", "staff") == [None] * 3
            assert ask("site2", "staff") == [NoLeaseError] * 3
            revoke_fleet_site(StatePaths(fleet.settings_of(HUB)), "site1", "stolen", wall_ms())
            assert ask("site1", "staff") == ask("site1", "open") == [RevokedSiteError] * 3
        for reader in (HUB, "site2"):
            assert ask(reader, "own") == [NotOwnedError] * 3
        assert encode(OWN)
