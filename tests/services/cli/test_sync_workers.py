"""The commands of sync against real sync workers: a hub, two sites over leaves, and one that no link leads to."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.paths import MODELS
from tests.support.sync_parts import text
from tests.support.worker_world import ISLAND, SITES, WorkerWorld, now_ms, worker_world
from tidegate.schemas import Collection
from tidegate.services.fleet.audit_spool import EventSpool

KEY = "---\nid: key\ntitle: Spare key\nlanguage: en\n---\n\nThe spare key lies below the third flowerpot.\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerWorld]:
    with worker_world(tmp_path_factory.mktemp("world") / "state") as world:
        yield world


@pytest.fixture
def world(
    running: WorkerWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[WorkerWorld]:
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", str(MODELS))
    running.capsys = capsys
    yield running
    running.capsys = None


def put(world: WorkerWorld, name: str, **rules: Any) -> None:
    """Have a collection of a name that no other test uses, at the hub and the sites that it is for."""
    whole: dict[str, Any] = {"sites": () if rules.get("owner") == "hub" else SITES, **rules}
    rule = Collection(tenant="kiosk", name=name, **whole)
    world.call(world.workers["hub"].put_collection(rule))
    world.know(name, *(site for site in SITES if site in rule.sites))


def note(folder: Path, name: str, body: str) -> str:
    """A document in a file."""
    (folder / f"{name}.md").write_text(f"---\nid: {name}\nlanguage: en\n---\n\n{body}\n")
    return str(folder / f"{name}.md")


def collections(world: WorkerWorld, collection: str) -> dict[str, dict[str, Any]]:
    """What `sync status` says of a collection, by domain."""
    domains = world.json("sync", "status", "--collection", collection)["domains"]
    return {each["domain"]: each["collections"][0] for each in domains if each.get("collections")}


def test_what_is_published_is_at_the_sites_when_the_command_returns(world: WorkerWorld, tmp_path: Path) -> None:
    put(world, "faq")
    files = [note(tmp_path, "hours", "We open at nine."), note(tmp_path, "fees", "A card costs £4.")]
    report = world.json("publish", "document", *files, "--collection", "faq", "--wait", "--within", "30")
    assert set(report["sites"]) == {*SITES, ISLAND}
    held = collections(world, "faq")
    assert held.keys() == {"hub", *SITES}
    assert {(each["checksum"], each["position"], each.get("lag", 0)) for each in held.values()} == {
        (held["hub"]["checksum"], "1.2", 0)
    }
    assert {each["state"] for each in held.values()} == {"following"}
    assert "kiosk/faq" in world.run("sync", "status")
    assert world.texts("site2", "faq") == {"hours": "We open at nine.", "fees": "A card costs £4."}


def test_a_site_shares_what_it_writes_and_keeps_what_is_its_own(world: WorkerWorld, tmp_path: Path) -> None:
    put(world, "desk", sites_write=True)
    added = world.json("index", "add", note(tmp_path, "ticket", "Take a ticket."), "--collection", "desk")
    assert added["collection"] == "desk"
    world.agree("desk", {"ticket": "Take a ticket."})
    own = tmp_path / "key.md"
    own.write_text(KEY)
    assert world.json("index", "add", str(own), "--site", "site1")["collection"] == "local"
    [own_change] = world.stores["site1"].changes_since("local", 0).documents
    content = own_change.resolved.content
    assert content is not None
    assert content.vectors is not None
    assert (content.text[:13], content.meta["scope"]) == ("The spare key", "site")
    found = world.json("index", "delete", "ticket", "nothing", "--site", "site1", expected=1)
    assert found == {"deleted": [], "unknown": ["nothing"], "elsewhere": {"ticket": "desk"}}
    printed = world.run("index", "delete", "ticket", "--site", "site1", expected=1)
    assert "ticket is in desk, to be deleted with --collection" in printed
    taken = world.json("index", "add", str(own), "--collection", "desk", "--site", "site1", expected=1)["error"]
    assert taken["code"] == "document_id_taken"
    rate = note(tmp_path, "rate", "The rate is 4 %.")
    error = world.json("index", "add", rate, "--collection", "faqs-of-nobody", expected=1)["error"]
    assert error["code"] == "collection_unknown"
    put(world, "rates")
    error = world.json("index", "add", rate, "--collection", "rates", expected=1)["error"]
    assert (error["code"], "written by the hub" in error["reason"]) == ("not_owned", True)
    assert world.json("index", "delete", "key", "--site", "site1")["deleted"] == ["key"]
    assert world.json("index", "delete", "ticket", "--site", "site2", "--collection", "desk")["deleted"] == ["ticket"]
    world.agree("desk", {})
    for name in ("hub", "site2"):
        files = [path for path in world.paths[name].home.rglob("*") if path.is_file()]
        assert not [path for path in files if b"flowerpot" in path.read_bytes()]


def test_what_the_hub_writes_for_itself_is_at_no_site(world: WorkerWorld, tmp_path: Path) -> None:
    added = world.json("index", "add", note(tmp_path, "board", "The chair is Ann Lee."), "--site", "hub")
    assert added["collection"] == "hub-documents"
    assert world.texts("hub", "hub-documents") == {"board": "The chair is Ann Lee."}
    for name in SITES:
        files = [path for path in world.paths[name].home.rglob("*") if path.is_file()]
        assert not [path for path in files if b"Ann Lee" in path.read_bytes()]
    assert world.json("index", "delete", "board", "--site", "hub")["deleted"] == ["board"]


def test_without_its_worker_a_site_writes_alone_and_the_hub_gets_it_later(world: WorkerWorld, tmp_path: Path) -> None:
    put(world, "alone", sites_write=True)
    world.end_worker("site1")
    try:
        added = world.json("index", "add", note(tmp_path, "lift", "The lift is out of order."), "--collection", "alone")
        assert added["collection"] == "alone"
        taken = world.json("index", "add", note(tmp_path, "lift", "Other."), expected=1)["error"]
        assert taken["code"] == "document_id_taken"
        error = world.json("sync", "status", "--site", "site1", expected=1)["error"]
        assert error["code"] == "sync_worker_missing"
    finally:
        world.start_worker("site1")
    world.agree("alone", {"lift": "The lift is out of order."})


async def write_apart(world: WorkerWorld, collection: str) -> None:
    """The hub and site1 edit one document, and neither knows of the other's edit: nothing is sent in between."""
    for number, name in enumerate(("hub", "site1")):
        tenant = world.workers[name].tenants["kiosk"]
        tenant.author.write(collection, "queue", text(f"Version of {name}.", "Queue"), now_ms() + number)
    for name in ("hub", "site1"):
        world.workers[name].written("kiosk")


def until_apart(world: WorkerWorld, collection: str) -> None:
    """Return when every domain knows of one conflict: the text of the later version may be there before the other."""
    deadline_s = time.monotonic() + 30
    while {each.get("conflicts", 0) for each in collections(world, collection).values()} != {1}:
        assert time.monotonic() < deadline_s, collections(world, collection)


def test_a_conflict_is_listed_and_decided_at_any_site(world: WorkerWorld) -> None:
    put(world, "asked", sites_write=True, merge="ask")
    world.call(write_apart(world, "asked"))
    until_apart(world, "asked")
    world.agree("asked", {"queue": "Version of site1."})
    for site in ("site2", "hub"):
        [conflict] = world.json("sync", "conflicts", "list", "--site", site, "--collection", "asked")["conflicts"]
        assert (conflict["is_open"], len(conflict["versions"])) == (True, 2)
    [kept] = [each["dot"] for each in conflict["versions"] if each["author"] == "hub"]
    assert collections(world, "asked")["site2"]["conflicts"] == 1
    decided = ("asked", "queue", "--keep", "{}:{}".format(*kept), "--site", "site2")
    assert "replaces 2 versions" in world.run("sync", "conflicts", "resolve", *decided)
    events = [each.event for each in EventSpool(world.paths["site2"].audit_events).waiting(100)]
    assert [each.act.about for each in events if each and each.kind == "conflict_resolved"] == ["asked/queue"]
    world.agree("asked", {"queue": "Version of hub."})
    assert world.json("sync", "conflicts", "list", "--collection", "asked", "--site", "hub") == {"conflicts": []}
    assert world.json("sync", "conflicts", "resolve", *decided, expected=1)["error"]["code"] == "unknown_version"


def test_a_flipped_byte_is_found_and_healed_and_the_disk_is_named(world: WorkerWorld, tmp_path: Path) -> None:
    put(world, "heal")
    files = [note(tmp_path, f"n{number}", f"Note {number}.") for number in range(4)]
    world.run("publish", "document", *files, "--collection", "heal", "--wait", "--within", "30")
    which = ("--collection", "heal", "--site", "site1")
    assert "kiosk/heal: nothing differs" in world.run("sync", "verify", *which)
    with sqlite3.connect(world.paths["site1"].replica("kiosk")) as database:
        [(content,)] = database.execute("SELECT content FROM documents WHERE document_id = 'n2'")
        database.execute(
            "UPDATE documents SET content = ? WHERE document_id = 'n2'", (bytes([*content[:-1], content[-1] ^ 1]),)
        )
    database.close()
    found = world.json("sync", "verify", *which, expected=1)
    assert [each["documents"] for each in found["outcomes"]] == [{"disk": ["n2"]}]
    world.run("sync", "repair", *which)  # or the worker itself, which has seen it by now
    assert "nothing differs" in world.run("sync", "verify", *which)
    assert collections(world, "heal")["site1"]["last_repair"]["documents"] == {"disk": ["n2"]}
    assert world.texts("site1", "heal")["n2"] == "Note 2."


def lease(world: WorkerWorld, collection: str) -> None:
    """Have the island know of a collection, and hold a lease, which a sensitive one needs."""
    with world.stores["hub"].reading() as reader:
        rules = reader.record(collection).collection
    world.stores[ISLAND].put_collection(rules)
    world.workers[ISLAND].tenants["kiosk"].note_lease(True)


def test_a_collection_is_carried_to_an_island_with_its_worker_and_without(world: WorkerWorld, tmp_path: Path) -> None:
    put(world, "carried", sites=(*SITES, ISLAND))
    files = [note(tmp_path, f"c{number}", f"Page {number}.") for number in range(3)]
    world.run("publish", "document", *files, "--collection", "carried")
    file = tmp_path / "carried.bundle"
    first = world.json("sync", "export", "carried", str(file))
    assert (first["documents"], first["deltas"], first["position"]) == (3, 0, "1.3")
    lease(world, "carried")
    printed = world.run("sync", "import", str(file), "--site", ISLAND)
    assert "kiosk/carried is at 1.3: 3 documents, as of " in printed
    world.run("publish", "document", note(tmp_path, "c3", "Page 3."), "--collection", "carried")
    second = world.json("sync", "export", "carried", str(file))
    assert (second["documents"], second["deltas"]) == (4, 1)
    world.end_worker(ISLAND)
    try:
        joined = world.json("sync", "import", str(file), "--site", ISLAND)
        assert (joined["position"], joined["documents"]) == ("1.4", 4)
        again = world.json("sync", "import", str(file), "--site", ISLAND)
        assert again["is_new"] is False
    finally:
        world.start_worker(ISLAND)
    assert world.texts(ISLAND, "carried") == {f"c{number}": f"Page {number}." for number in range(4)}
    elsewhere = tmp_path / "elsewhere"
    there = CommandLine(str(elsewhere))
    there.capsys = world.capsys
    assert there.json("sync", "import", str(file), expected=1)["error"]["code"] == "not_provisioned"
    assert not elsewhere.exists(), "a site that was never provisioned is left as it was"
    damaged = bytearray(file.read_bytes())
    damaged[-100] ^= 1
    file.write_bytes(damaged)
    assert world.json("sync", "import", str(file), "--site", ISLAND, expected=1)["error"]["code"] == "bundle_refused"


def test_what_cannot_be_carried_is_named_and_leaves_no_file(world: WorkerWorld, tmp_path: Path) -> None:
    file = tmp_path / "none.bundle"
    put(world, "own-of-hub", owner="hub")
    for name, code in (("nothing", "collection_unknown"), ("own-of-hub", "not_carried")):
        assert world.json("sync", "export", name, str(file), expected=1)["error"]["code"] == code
    assert not list(tmp_path.iterdir())
