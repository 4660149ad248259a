"""What a replica brought is quoted with its signer and its age, from the retriever to the citation, and at the hub."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from tests.support.corpus import BRANCH
from tests.support.escalation_site import fact, prepared, routed
from tests.support.sync_parts import Keys
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Collection, Escalated, Passage, Retrieved
from tidegate.services.fleet.machine_clock import open_freshness
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.knowledge.replica.authoring import contents_of
from tidegate.services.knowledge.replica.index_follower import IndexFollower
from tidegate.services.settings import Settings
from tidegate.services.stages import retriever
from tidegate.services.stages.cloud_verifier.hub_corpus import HubCorpus
from tidegate.sync.author import Author
from tidegate.sync.rules.replica import Replica
from tidegate.sync.store import ReplicaStore

pytestmark = pytest.mark.anyio

QUESTION = "What does a banker's draft cost?"
SIGNER = f"site1/{Keys('site1').key_id[:16]}"


def fed(settings: Settings) -> ReplicaStore:
    """A site whose index comes from a replica, which it wrote itself for once."""
    paths = StatePaths(settings)
    paths.replicas.mkdir(parents=True)
    store = ReplicaStore(paths.replica("kiosk"), settings.site, "a" * 16)
    store.put_collection(Collection(tenant="kiosk", name="documents", sites_write=True, fresh_within_s=600))
    with store.writing() as writer:  # it is whole, as after a snapshot
        writer.put_record(msgspec.structs.replace(writer.record("documents"), replica=Replica(generation=1)))
    embedder = UnitReader.load(paths.models).embedder
    Author(store, Keys("site1")).write_all("documents", dict(contents_of(BRANCH, embedder)), 1)
    index = HybridIndex.open(paths.index("kiosk"), embedder)
    IndexFollower(store, index).start("documents")
    index.close()
    return store


def hear(store: ReplicaStore, at_ms: int) -> None:
    """What the worker of sync stores when the hub said that nothing is lacking."""
    with store.writing() as writer:
        writer.put_record(msgspec.structs.replace(writer.record("documents"), known_at_ms=at_ms))


async def test_passages_and_citations_say_who_signed_and_how_old_they_may_be(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(prepared(), state_dir=str(tmp_path))
    store = fed(settings)
    now_ms = int(time.time() * 1000)
    units = UnitReader.load(StatePaths(settings).models)
    reader = Reader(units, Calibration.load(StatePaths(prepared()).calibration))
    index = HybridIndex.open(StatePaths(settings).index("kiosk"), units.embedder)
    async with retriever.open(settings, MemoryBus("site1")) as handle:
        for known_at_ms, is_fresh in ((0, False), (now_ms, True), (now_ms - 601_000, False)):
            hear(store, known_at_ms)
            [found] = await handle(routed(QUESTION))
            assert isinstance(found, Retrieved)
            wanted = ("documents", SIGNER, known_at_ms, is_fresh)
            assert {source_of(each) for each in found.passages} == {wanted}
            answer = reader.rank_spans(QUESTION, "en", found.passages, index).answer
            assert [each.document_id for each in answer.citations] == ["fees"] * len(answer.citations)
            assert {(each.collection, each.signer, each.known_at_ms, each.is_fresh) for each in answer.citations} == {
                wanted
            }


def source_of(passage: Passage) -> tuple[str, str, int, bool]:
    return passage.collection, passage.signer, passage.known_at_ms, passage.is_fresh


async def test_the_hub_knows_its_documents_as_they_are(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(prepared(), state_dir=str(tmp_path), site="hub")
    fed(settings)
    paths = StatePaths(settings)
    embedder = UnitReader.load(paths.models).embedder
    indexes = TenantIndexes(("kiosk",), paths.index, embedder, exact_below=15_000)
    corpus = HubCorpus(indexes, open_freshness(settings))
    escalated = fact(Escalated, QUESTION, reason="low_confidence", edge_confidence=0.1)
    passages, _ = corpus.find(escalated)
    assert passages
    assert all(each.is_fresh and abs(each.known_at_ms - time.time() * 1000) < 60_000 for each in passages)
    assert {each.signer for each in corpus.suggest(escalated)} == {SIGNER.replace("site1", "hub")}
