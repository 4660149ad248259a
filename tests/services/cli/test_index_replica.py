"""`tidegate index` at a site with replicas whose sync worker does not run; with it: test_sync_workers.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import MODELS
from tests.support.sync_world import SITE, SyncWorld, sync_world
from tidegate.schemas import Collection, DocumentOperation
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.sync.records import held_of
from tidegate.sync.shells.lock import lock_replicas
from tidegate.sync.store import reading_store
from tidegate.sync.trust.authors import KeyringVerifier
from tidegate.sync.trust.keyring import Keyring

DESK = Collection(tenant="kiosk", name="desk", sites_write=True)
KEY = "---\nid: key\ntitle: Spare key\nlanguage: en\n---\n\nThe spare key lies below the third flowerpot.\n"


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncWorld]:
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", str(MODELS))
    (tmp_path / "key.md").write_text(KEY)
    (tmp_path / "queue.md").write_text("---\nlanguage: en\n---\n\nTake a ticket.\n")
    with sync_world(tmp_path / "state", capsys) as world:
        for party in world.parties.values():
            party.member.store.put_collection(DESK)
        yield world


def operations(world: SyncWorld, site: str = SITE) -> dict[str, list[DocumentOperation]]:
    """What a domain holds of each document, by collection and id."""
    with reading_store(world.paths[site].replica("kiosk")) as reader:
        return {
            f"{collection}/{document.document_id}": [each.operation for each in held_of(document).siblings.versions]
            for collection in reader.collections()
            for document in reader.documents(collection)
        }


def add(world: SyncWorld, name: str, *arguments: str, expected: int = 0) -> Any:
    file = Path(world.settings.state_dir).parent / name
    return world.json("index", "add", str(file), "--site", SITE, *arguments, expected=expected)


def indexed(world: SyncWorld) -> frozenset[str]:
    """The documents in the site's own index."""
    index = HybridIndex.open(world.paths[SITE].index("kiosk"), Embedder.load(MODELS))
    try:
        return index.document_ids()
    finally:
        index.close()


def test_without_a_sync_worker_the_site_writes_under_its_lock_and_signs_with_its_key(world: SyncWorld) -> None:
    world.end_worker(SITE)
    before = operations(world)
    error = add(world, "key.md", expected=1)["error"]
    assert error["code"] == "author_key_missing"
    assert "tidegate site add" in error["hint"]
    assert operations(world) == before
    world.run("keys", "init", "--owner", SITE)
    add(world, "key.md")
    add(world, "queue.md", "--collection", "desk")
    written = operations(world)
    [first], [second] = written["local/key"], written["desk/queue"]
    assert (first.dot.counter, second.dot.counter) == (1, 2)
    assert first.boot_id != second.boot_id
    keyring = Keyring.of(world.trust.keys.register())
    with reading_store(world.paths[SITE].replica("kiosk")) as reader:
        signed = reader.pending()[0].operation
    assert KeyringVerifier(lambda: keyring).is_signed(SITE, second.signer, signed, 0)
    assert indexed(world) == {"key", "queue"}
    assert world.json("index", "delete", "key", "--site", SITE)["deleted"] == ["key"]
    assert [each.content for each in operations(world)["local/key"]] == [None]
    assert indexed(world) == {"queue"}


def test_a_worker_that_holds_the_replicas_and_does_not_answer_is_named(world: SyncWorld) -> None:
    world.run("keys", "init", "--owner", SITE)
    world.end_worker(SITE)
    with lock_replicas(world.paths[SITE].replicas):
        error = add(world, "key.md", expected=1)["error"]
    assert error["code"] == "sync_worker_missing"
    assert not operations(world)


def test_an_index_without_replicas_takes_documents_as_before_and_has_no_collections(
    world: SyncWorld, tmp_path: Path
) -> None:
    world.state = str(tmp_path / "plain")
    added = add(world, "key.md")
    assert "collection" not in added
    assert not (tmp_path / "plain" / SITE / "replicas").exists()
    assert add(world, "key.md", "--collection", "desk", expected=1)["error"]["code"] == "no_replicas"
    assert world.json("index", "delete", "key")["deleted"] == ["key"]
