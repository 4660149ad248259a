"""The sync worker of a domain is asked over a real server: what is too large is split, what is refused is raised."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.sync_parts import NOTICES, text
from tests.support.sync_party import SyncParty, hub_party
from tests.support.sync_party_messages import TENANT
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import Collection, Dot, WriteDocuments
from tidegate.sync.author import DocumentTooLargeError
from tidegate.sync.shells.replica_client import (
    MOST_BATCH_DOCUMENTS,
    ReplicaClient,
    ReplicaRefusedError,
    SyncWorkerMissingError,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[JetStreamBus]:
    async with (
        Server("hub", tmp_path / "nats") as server,
        JetStreamBus.open(server.nats, "hub") as bus,
    ):
        yield bus


@pytest.fixture
async def hub(bus: JetStreamBus, tmp_path: Path) -> AsyncIterator[SyncParty]:
    party = hub_party(tmp_path / "replicas")
    await party.serve(bus)
    yield party
    party.close()


async def test_documents_are_written_in_requests_that_a_server_takes(bus: JetStreamBus, hub: SyncParty) -> None:
    client, stored = ReplicaClient(bus), list[str]()
    await client.put_collection(NOTICES)
    large = {f"d{number}": text(f"{number} " * 100_000) for number in range(7)}
    small = {f"s{number}": text("short") for number in range(MOST_BATCH_DOCUMENTS + 1)}
    written = await client.write(TENANT, "notices", large | small, on_document=stored.append)
    assert set(written.dots) == large.keys() | small.keys()
    assert stored == [*large, *small]
    sizes = [len(each.documents) for _, each in hub.requests if isinstance(each, WriteDocuments)]
    assert sizes == [4, MOST_BATCH_DOCUMENTS, 4], "four of 200 kB fit one request, and no more than so many"
    [status] = (await client.status(collection="notices")).collections
    assert (status.documents, status.position) == (508, "1.508")
    gone = await client.write(TENANT, "notices", {"new": text("new")}, ["s1", "s2", "never-held"])
    assert set(gone.dots) == {"new", "s1", "s2"}


async def test_what_fits_no_request_is_refused_before_anything_is_sent(bus: JetStreamBus, hub: SyncParty) -> None:
    client = ReplicaClient(bus)
    await client.put_collection(NOTICES)
    with pytest.raises(DocumentTooLargeError, match="huge takes 1000"):
        await client.write(TENANT, "notices", {"fine": text("fine"), "huge": text("x" * 1_000_000)})
    assert [verb for verb, _ in hub.requests] == ["collection"]


async def test_a_refusal_comes_with_the_worker_s_own_code_and_hint(bus: JetStreamBus, hub: SyncParty) -> None:
    client = ReplicaClient(bus)
    with pytest.raises(ReplicaRefusedError, match="fees is not a collection") as refused:
        await client.write(TENANT, "fees", {"a": text("a")})
    assert (refused.value.code, "publish the collection" in refused.value.hint) == ("collection_unknown", True)
    await client.put_collection(Collection(tenant=TENANT, name="own", owner="site"))
    with pytest.raises(ReplicaRefusedError) as refused:
        await client.write(TENANT, "own", {"a": text("a")})
    assert refused.value.code == "not_owned"
    assert hub.member.store.record("own").documents == 0


async def test_a_conflict_is_decided_by_the_version_that_stays(bus: JetStreamBus, hub: SyncParty) -> None:
    client = ReplicaClient(bus)
    await client.put_collection(NOTICES)
    await client.write(TENANT, "notices", {"hours": text("nine")})
    assert await client.conflicts(TENANT) == ()
    written = await client.resolve(TENANT, "notices", "hours", Dot("hub@1", 1))
    assert written.dots == {"hours": Dot("hub@1", 2)}
    assert (await client.resolve(TENANT, "notices", "hours", None)).dots == {"hours": Dot("hub@1", 3)}
    assert await client.verify(TENANT, "notices") == (await client.verify(TENANT))
    await client.snapshot(TENANT, "notices")
    assert hub.requests[-1][0] == "snapshot"


async def test_where_no_sync_worker_runs_it_says_what_starts_one(bus: JetStreamBus) -> None:
    with pytest.raises(SyncWorkerMissingError, match="the sync worker of hub does not answer") as missing:
        await ReplicaClient(bus).status()
    assert "tidegate worker sync" in missing.value.hint
