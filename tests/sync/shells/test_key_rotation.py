"""A site on a machine of its own exchanges its keys with the hub while both run, and signs with them at once."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.nats_fleet import until
from tests.support.sync_samples import OPERATION
from tests.support.trust_fleet import TrustFleet, trust_fleet
from tidegate.schemas import KeysRotated, RotateKeys, SignedOperation, decode, encode, replace
from tidegate.schemas.replica import ReplicaFault
from tidegate.schemas.subjects import HUB, replica_request
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.revocation import revoke_fleet_site
from tidegate.services.fleet.site_bundle import install_bundle, read_bundle, write_bundle
from tidegate.services.fleet.trust_site import SiteTrust, SiteTrustPorts, open_site_trust
from tidegate.services.settings import Settings
from tidegate.sync.shells.machine import wall_ms
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.site_records import SiteRecords

pytestmark = pytest.mark.anyio
DAY_MS = 86_400_000
ALL = RotateKeys(overlap_s=86_400)


def settle_elsewhere(fleet: TrustFleet, directory: Path) -> Settings:
    """Have site1 be on another machine, with a disk of its own."""
    write_bundle(fleet.settings_of(HUB), "site1", directory / "site1.bundle")
    settings = replace(fleet.settings_of("site1"), state_dir=str(directory / "machine"))
    install_bundle(settings, read_bundle(directory / "site1.bundle"))
    return settings


@contextlib.asynccontextmanager
async def open_elsewhere(fleet: TrustFleet, settings: Settings) -> AsyncIterator[SiteTrust]:
    ports = SiteTrustPorts(boot_id=secrets.token_hex(8))
    async with open_site_trust(settings, fleet.buses["site1"], ports) as site:
        yield site


async def rotate(fleet: TrustFleet, asked: RotateKeys = ALL) -> KeysRotated | ReplicaFault:
    """What the site's sync worker says."""
    data = await fleet.buses["site1"].request(replica_request("rotate"), encode(asked), timeout_s=10.0)
    return decode(data, KeysRotated, ReplicaFault)  # type: ignore[no-any-return]


def hub_keys(fleet: TrustFleet) -> KeyStore:
    return KeyStore(StatePaths(fleet.settings_of(HUB)).keys)


def signed_by(settings: Settings, key_id: str) -> SignedOperation:
    payload = encode(replace(OPERATION, signer=key_id))
    signer = KeyStore(StatePaths(settings).keys).signer(key_id, wall_ms())
    signature = bytes.fromhex(signer.sign(b"tidegate/document-operation/v1\0" + payload).signature)
    return SignedOperation(payload=payload, signature=signature)


async def test_a_site_exchanges_its_keys_and_both_are_good_for_the_overlap(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path, timestamp_every_s=0.5) as fleet:
        settings = settle_elsewhere(fleet, tmp_path)
        async with fleet.open_hub() as hub, open_elsewhere(fleet, settings) as site:

            async def is_leased() -> bool:
                return site.is_leased

            await until(is_leased)
            old = site.signer.key_id
            rotated = await rotate(fleet)
            assert isinstance(rotated, KeysRotated)
            new = {key.role: key.key_id for key in rotated.keys}
            assert set(new) == {"device", "author"}
            assert {key.role for key in rotated.before} == {"device", "author"}
            assert site.signer.key_id == new["author"] != old

            known = {key.key_id: key for key in hub_keys(fleet).register().keys}
            assert not any(hub_keys(fleet).has_private(key_id) for key_id in new.values())
            assert abs(known[old].expires_at_ms - wall_ms() - DAY_MS) < 60_000
            assert (await site.attester.attest()).code == ""
            record = SiteRecords(StatePaths(fleet.settings_of(HUB)).site_records).load("site1")
            assert record.device_key == new["device"]
            for key_id in (old, new["author"]):
                signed = signed_by(settings, key_id)
                assert hub.verifier.is_signed("site1", key_id, signed, wall_ms())
            ended = signed_by(settings, old)
            assert not hub.verifier.is_signed("site1", old, ended, wall_ms() + 2 * DAY_MS)

            async def is_published() -> bool:
                signed = signed_by(settings, new["author"])
                return site.verifier.is_signed("site1", new["author"], signed, wall_ms())

            await until(is_published)


async def test_an_exchange_that_was_cut_goes_on_with_the_same_key(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet:
        settings = settle_elsewhere(fleet, tmp_path)
        waiting = KeyStore(StatePaths(settings).trust / "next-keys")
        async with open_elsewhere(fleet, settings) as site:
            old = site.signer.key_id
            refused = await rotate(fleet, RotateKeys(roles=("author",)))
            assert isinstance(refused, ReplicaFault)
            assert refused.code == "unreachable"
            assert site.signer.key_id == old, "what nobody admitted signs nothing"
            [made] = waiting.good("author", "site1", wall_ms())
            async with fleet.open_hub():
                answers: list[KeysRotated] = []

                async def is_done() -> bool:  # the leaf hears of who answers a moment later
                    answer = await rotate(fleet, RotateKeys(roles=("author",)))
                    answers.extend([answer] if isinstance(answer, KeysRotated) else [])
                    return bool(answers)

                await until(is_done)
                assert [key.key_id for key in answers[0].keys] == [made.key_id]
                assert site.signer.key_id == made.key_id
                assert not waiting.has_private(made.key_id)


async def test_a_revoked_site_gets_no_new_key(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet:
        settings = settle_elsewhere(fleet, tmp_path)
        async with fleet.open_hub(), open_elsewhere(fleet, settings) as site:

            async def is_leased() -> bool:
                return site.is_leased

            await until(is_leased)
            revoke_fleet_site(StatePaths(fleet.settings_of(HUB)), "site1", "stolen", wall_ms())
            refused = await rotate(fleet)
            assert isinstance(refused, ReplicaFault)
            assert refused.code == "revoked_site"
            assert "stolen" in refused.reason
