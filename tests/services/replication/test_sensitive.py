"""Sensitive documents from the hub's store to a site's, with real trust, replicas and servers: by lease, or not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.support.nats_fleet import until
from tests.support.sync_parts import text
from tests.support.trust_fleet import TENANT, TrustFleet, trust_fleet
from tidegate.brokers.base import UnreachableError
from tidegate.schemas import Collection, Message, decode, encode
from tidegate.schemas.replica import DocumentsWritten, Done, PutCollection, ReplicaFault, WriteDocuments
from tidegate.schemas.subjects import HUB, replica_request
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.revocation import revoke_and_cut
from tidegate.services.fleet.trust_hub import HubTrust
from tidegate.services.fleet.trust_site import SiteTrust
from tidegate.services.replication.composition import ReplicationParts, open_replication
from tidegate.services.replication.hub import RecordedSites
from tidegate.services.replication.site import TenantSnapshots
from tidegate.sync.shells.hub_shell import HubPorts
from tidegate.sync.shells.site_shell import SiteSync
from tidegate.sync.trust.site_records import SiteRecords

pytestmark = pytest.mark.anyio
STAFF = Collection(tenant=TENANT, name="staff", is_sensitive=True)
SECRET = "the alarm code is 4711-0815"


class Leased:
    """See `site_shell.LeaseState`."""

    def __init__(self, trust: SiteTrust) -> None:
        self._trust = trust

    def has_lease(self) -> bool:
        return self._trust.is_leased


@contextlib.asynccontextmanager
async def hub_worker(fleet: TrustFleet) -> AsyncIterator[HubTrust]:
    async with fleet.open_hub() as trust:
        records = SiteRecords(StatePaths(fleet.settings_of(HUB)).site_records)
        parts = ReplicationParts(
            signer=trust.signer,
            verifier=trust.verifier,
            hub=HubPorts(
                blobs=trust.snapshots,
                admission=RecordedSites(records, (TENANT,)),
                grants=trust.grants,
                gate=trust.gate,
            ),
        )
        async with open_replication(fleet.settings_of(HUB), fleet.buses[HUB], parts):
            yield trust


@contextlib.asynccontextmanager
async def site_worker(fleet: TrustFleet, site: str) -> AsyncIterator[tuple[SiteTrust, SiteSync]]:
    async with fleet.open_site(site) as trust:
        parts = ReplicationParts(
            signer=trust.signer, verifier=trust.verifier, snapshots=TenantSnapshots(trust), lease=Leased(trust)
        )
        async with open_replication(fleet.settings_of(site), fleet.buses[site], parts) as worker:
            assert isinstance(worker, SiteSync)
            yield trust, worker


async def ask_hub_worker(fleet: TrustFleet, verb: str, request: Message, reply: type[Message]) -> Message:
    """What the hub's sync worker answers, once it does."""
    answers: list[Message] = []

    async def is_answered() -> bool:
        with contextlib.suppress(UnreachableError):
            data = await fleet.buses[HUB].request(replica_request(verb), encode(request), timeout_s=10.0)
            answers.append(decode(data, reply, ReplicaFault))
        return bool(answers) and not isinstance(answers[-1], ReplicaFault)

    await until(is_answered)
    return answers[-1]


async def write(fleet: TrustFleet, **documents: str) -> None:
    written = WriteDocuments(
        tenant=TENANT, collection="staff", documents={name: text(body) for name, body in documents.items()}
    )
    await ask_hub_worker(fleet, "write", written, DocumentsWritten)


def held(worker: SiteSync) -> set[str]:
    """The documents that a site holds."""
    with worker.tenants[TENANT].store.reading() as reader:
        return {each.document_id for each in reader.documents("staff")} if "staff" in reader.collections() else set()


def is_on_disk(directory: Path) -> bool:
    """Whether any file below it has the secret, in a message, a chunk, a store, or the log of one."""
    return any(SECRET.encode() in path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def test_only_a_site_with_a_lease_gets_what_is_sensitive_and_no_byte_of_it_is_at_any_other(
    tmp_path: Path,
) -> None:
    async with trust_fleet(tmp_path, ("site1", "site2")) as fleet:
        records = SiteRecords(StatePaths(fleet.settings_of(HUB)).site_records)
        changed = msgspec.structs.replace(records.load("site2"), pinned={"models": "0" * 64})
        records.store(changed)  # what site2 runs is not what it was accepted with
        fleet.collections.append(STAFF)
        fleet.make_known()
        async with (
            hub_worker(fleet),
            site_worker(fleet, "site1") as (one, first),
            site_worker(fleet, "site2") as (two, second),
        ):
            await ask_hub_worker(fleet, "collection", PutCollection(collection=STAFF), Done)
            await write(fleet, alarm=SECRET, doors="they open at 8")

            async def is_there() -> bool:
                return held(first) == {"alarm", "doors"}

            await until(is_there)
            assert one.is_leased
            assert two.attester.report.code == "unexpected_digest"
            assert held(second) == set()
            home = Path(fleet.settings.state_dir)
            assert is_on_disk(home / "site1")
            assert not is_on_disk(home / "site2")

            _, why_not = await revoke_and_cut(fleet.settings, "site1", "stolen")
            assert why_not == ""
            await write(fleet, keys="in the blue box")

            async def is_named() -> bool:
                return (await one.attester.attest()).code == "revoked_site"

            await until(is_named)
            assert held(first) == {"alarm", "doors"}
