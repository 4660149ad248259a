"""What a site tries of the hub in sync and attestation: refused under a name, with an entry of the hub's audit log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tests.support.audited_refusals import entry_of
from tests.support.lease_lab import BOOT, MEASURED, OLD_CODE, OTHER_BOOT, POLICY, Lab
from tests.support.trust_hub import NOW
from tidegate.schemas import encode
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.following import FollowRequest, HeadRequest, SendOperations
from tidegate.schemas.lease import AttestationRequest, DownlinkReply, DownlinkRequest, NonceRequest
from tidegate.schemas.message import decode
from tidegate.schemas.replica import ReplicaFault
from tidegate.schemas.subjects import comparison, lease_of
from tidegate.services.fleet.refusal_counts import RefusalCounts
from tidegate.services.fleet.refused_sites import RefusedSites
from tidegate.services.replication.hub import RecordedSites
from tidegate.sync.shells.hub_endpoints import HubEndpoints
from tidegate.sync.shells.lease_link import LeasePorts, LeaseServer
from tidegate.sync.trust.allowed import AllowedDigests
from tidegate.sync.trust.leases import revoke_site
from tidegate.sync.trust.live_keys import LiveKeys

pytestmark = pytest.mark.anyio


class HubUnderAttack:
    """The hub's ends of attestation and sync, over the records of two sites."""

    def __init__(self, directory: Path) -> None:
        self.lab = Lab(directory)
        self.counts = RefusalCounts()
        on_refused = RefusedSites(self.counts).on_refused
        allowed = AllowedDigests(directory / "allowed.json")
        allowed.allow(dict(MEASURED))
        ports = LeasePorts(
            keys=LiveKeys(directory / "keys", "hub"),
            records=self.lab.records,
            allowed=allowed,
            epochs=lambda: POLICY.epochs,
            now_ms=lambda: NOW,
            publish_register=self._publish,
            on_refused=on_refused,
        )
        self.leases = LeaseServer(ports, self._downlink)
        admission = RecordedSites(self.lab.records, ("kiosk", "bank"))
        self.endpoints = HubEndpoints({}, self, lambda: NOW, admission, on_refused)

    async def nonce(self, site: str = "site1") -> str:
        reply = await self.leases.answer(lease_of(site), encode(NonceRequest()))
        return str(msgspec.to_builtins(reply)["nonce"])

    async def attest(self, envelope: bytes, site: str = "site1") -> None:
        await self.leases.answer(lease_of(site), encode(AttestationRequest(envelope=envelope)))

    async def follow(self, site: str, request: FollowRequest) -> None: ...

    def taking(self, tenant: str, operations: int, *, is_settled: bool) -> None: ...

    def damaged(self, tenant: str, collection: str) -> None: ...

    async def _publish(self) -> None: ...

    async def _downlink(self, _: str, __: DownlinkRequest) -> DownlinkReply:
        return DownlinkReply()


Attack = Callable[[HubUnderAttack], Awaitable[object]]


async def statement_of_another(hub: HubUnderAttack) -> None:
    await hub.attest(hub.lab.envelope(hub.lab.statement("site2", nonce=await hub.nonce("site2"))))


async def nonce_of_another(hub: HubUnderAttack) -> None:
    await hub.attest(hub.lab.envelope(hub.lab.statement(nonce=await hub.nonce("site2"))))


async def nonce_made_up(hub: HubUnderAttack) -> None:
    await hub.attest(hub.lab.envelope(hub.lab.statement(nonce="ab" * 32)))


async def statement_again(hub: HubUnderAttack) -> None:
    envelope = hub.lab.envelope(hub.lab.statement(nonce=await hub.nonce()))
    await hub.attest(envelope)
    await hub.attest(envelope)


async def other_code(hub: HubUnderAttack) -> None:
    measured = {**MEASURED, "code": OLD_CODE}
    await hub.attest(hub.lab.envelope(hub.lab.statement(nonce=await hub.nonce()), measured))


async def nothing_measured(hub: HubUnderAttack) -> None:
    measured = {"other": OLD_CODE}
    await hub.attest(hub.lab.envelope(hub.lab.statement(nonce=await hub.nonce()), measured))


async def old_policy(hub: HubUnderAttack) -> None:
    await hub.attest(hub.lab.envelope(hub.lab.statement(nonce=await hub.nonce(), epochs={"default": 2})))


async def key_of_another(hub: HubUnderAttack) -> None:
    statement = hub.lab.statement(nonce=await hub.nonce())
    await hub.attest(hub.lab.envelope(statement, key=hub.lab.site_keys["site2"]))


async def changed_envelope(hub: HubUnderAttack) -> None:
    envelope = hub.lab.envelope(hub.lab.statement(nonce=await hub.nonce()))
    await hub.attest(envelope.replace(b'"sig": "', b'"sig": "00').replace(b'"sig":"', b'"sig":"00'))


async def no_envelope(hub: HubUnderAttack) -> None:
    await hub.attest(b'{"payload": "aGk=", "payloadType": "text/plain", "signatures": []}')


async def endless_envelope(hub: HubUnderAttack) -> None:
    await hub.leases.answer(lease_of("site1"), encode(AttestationRequest(envelope=b"x" * (1 << 19))))


async def noise(hub: HubUnderAttack) -> None:
    await hub.leases.answer(lease_of("site1"), b"\xc1")


async def two_copies(hub: HubUnderAttack) -> None:
    for boot in (BOOT, OTHER_BOOT):
        await hub.attest(hub.lab.envelope(hub.lab.statement(nonce=await hub.nonce(), boot_id=boot, counter=4)))


async def an_older_disk(hub: HubUnderAttack) -> None:
    for boot, counter in ((BOOT, 9), (OTHER_BOOT, 3)):
        statement = hub.lab.statement(nonce=await hub.nonce(), boot_id=boot, counter=counter)
        await hub.attest(hub.lab.envelope(statement))


async def after_revocation(hub: HubUnderAttack) -> None:
    revoke_site(hub.lab.records, "site1", NOW, "stolen")
    await hub.nonce()


async def downlink_after_revocation(hub: HubUnderAttack) -> None:
    revoke_site(hub.lab.records, "site1", NOW, "stolen")
    await hub.leases.answer(lease_of("site1"), encode(DownlinkRequest()))


async def never_provisioned(hub: HubUnderAttack) -> None:
    await hub.nonce("site9")


ATTESTATION: dict[Attack, str] = {
    statement_of_another: "wrong_lease",
    nonce_of_another: "stale_nonce",
    nonce_made_up: "stale_nonce",
    statement_again: "stale_nonce",
    other_code: "unexpected_digest",
    nothing_measured: "unexpected_digest",
    old_policy: "behind_epoch",
    key_of_another: "wrong_key",
    changed_envelope: "bad_signature",
    no_envelope: "unreadable",
    endless_envelope: "unreadable",
    noise: "unreadable",
    two_copies: "cloned_site",
    an_older_disk: "cloned_site",
    after_revocation: "revoked_site",
    downlink_after_revocation: "revoked_site",
    never_provisioned: "unknown_site_record",
}


@pytest.mark.parametrize(("attack", "code"), ATTESTATION.items(), ids=lambda value: getattr(value, "__name__", None))
async def test_no_lease_is_had_by_another_way_than_the_one(tmp_path: Path, attack: Attack, code: str) -> None:
    hub = HubUnderAttack(tmp_path)
    with pytest.raises(TidegateError) as refused:
        await attack(hub)
    assert (refused.value.code, bool(refused.value.hint)) == (code, True)
    entry, act = entry_of(code, hub.counts)
    site = "site9" if attack is never_provisioned else "site1"
    assert entry.kind == ("site_fenced" if code == "cloned_site" else "refused")
    assert act.by == f"site:{site}"


OF_SITE1 = "site1@1"


@pytest.mark.parametrize(
    ("site", "sent", "code"),
    [
        ("site1", encode(FollowRequest(tenant="other", actor=OF_SITE1)), "not_owned"),
        ("site9", encode(FollowRequest(tenant="kiosk", actor=OF_SITE1)), "unknown_site_record"),
        ("site2", encode(FollowRequest(tenant="bank", actor="site2@1")), "not_owned"),
        ("site2", encode(HeadRequest(tenant="bank", collection="faq")), "not_owned"),
        ("site2", encode(SendOperations(tenant="bank", actor=OF_SITE1)), "not_owned"),
        ("site1", b"\xc1", "unreadable"),
        ("site1", encode(NonceRequest()), "unreadable"),
    ],
    ids=["another tenant", "nobody", "a tenant of others", "its heads", "its edits", "noise", "another question"],
)
async def test_a_site_is_told_nothing_of_what_it_does_not_serve(
    tmp_path: Path, site: str, sent: bytes, code: str
) -> None:
    hub = HubUnderAttack(tmp_path)
    hub.lab.records.store(msgspec.structs.replace(hub.lab.records.load("site2"), tenants=("kiosk",)))
    fault = decode(await hub.endpoints.answer(comparison(site), sent), ReplicaFault)
    assert (fault.code, bool(fault.hint)) == (code, True)
    entry, act = entry_of(code, hub.counts)
    assert (entry.kind, act.by) == ("refused", f"site:{site}")


async def test_a_revoked_or_fenced_site_is_told_nothing_at_all(tmp_path: Path) -> None:
    hub = HubUnderAttack(tmp_path)
    asked = encode(FollowRequest(tenant="kiosk", actor=OF_SITE1))
    records = hub.lab.records
    records.store(msgspec.structs.replace(records.load("site1"), fenced="it was cloned"))
    assert decode(await hub.endpoints.answer(comparison("site1"), asked), ReplicaFault).code == "not_owned"
    assert entry_of("not_owned", hub.counts)[0].kind == "refused"
    revoke_site(records, "site1", NOW, "stolen")
    assert decode(await hub.endpoints.answer(comparison("site1"), asked), ReplicaFault).code == "revoked_site"
    assert entry_of("revoked_site", hub.counts)[0].kind == "refused"
