"""`tidegate index` at a site with replicas: the site is the author, with its sync worker or, where none runs, alone."""

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


def test_the_sync_worker_writes_what_is_the_site_s_own_and_it_never_leaves_it(world: SyncWorld) -> None:
    added = add(world, "key.md")
    assert (added["collection"], [each["id"] for each in added["documents"]]) == ("local", ["key"])
    [operation] = operations(world)["local/key"]
    assert operation.author == SITE
    assert operation.content is not None
    assert operation.content.vectors is not None
    assert operation.content.meta["scope"] == "site"
    assert world.site.member.store.record("local").collection.owner == "site"
    with reading_store(world.paths[SITE].replica("kiosk")) as reader:
        assert reader.pending() == ()
    files = [path for path in world.paths["hub"].home.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"flowerpot" in path.read_bytes()]
    assert world.json("index", "delete", "key", "--site", SITE)["deleted"] == ["key"]
    assert [each.content for each in operations(world)["local/key"]] == [None]


def test_what_a_site_shares_is_on_its_way_to_the_hub(world: SyncWorld) -> None:
    assert add(world, "queue.md", "--collection", "desk")["collection"] == "desk"
    with reading_store(world.paths[SITE].replica("kiosk")) as reader:
        assert [(each.stream, each.collection) for each in reader.pending()] == [("EDITS", "desk")]
    site: Any = world.site.member
    assert world.call(site.send(world.hub.member)) == "relayed"
    assert [each.author for each in operations(world, "hub")["desk/queue"]] == [SITE]
    error = add(world, "key.md", "--collection", "notices-of-the-hub", expected=1)["error"]
    assert error["code"] == "collection_unknown"
    world.site.member.store.put_collection(Collection(tenant="kiosk", name="fees"))
    error = add(world, "key.md", "--collection", "fees", expected=1)["error"]
    assert (error["code"], "written by the hub" in error["reason"]) == ("not_owned", True)


def test_a_document_of_another_collection_is_not_deleted_and_named(world: SyncWorld) -> None:
    add(world, "queue.md", "--collection", "desk")
    found = world.json("index", "delete", "queue", "nothing", "--site", SITE, expected=1)
    assert found == {"deleted": [], "unknown": ["nothing"], "elsewhere": {"queue": "desk"}}
    printed = world.run("index", "delete", "queue", "--site", SITE, expected=1)
    assert "queue is in desk, to be deleted with --collection" in printed
    assert world.json("index", "delete", "queue", "--collection", "desk", "--site", SITE)["deleted"] == ["queue"]


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
