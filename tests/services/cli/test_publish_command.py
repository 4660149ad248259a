"""`tidegate publish` at a hub whose sync worker has real stores and a real repository: once, again, and interrupted."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import read_line, start_tidegate
from tests.support.paths import MODELS
from tests.support.small_pack import pack_at
from tests.support.sync_parts import NOW, text
from tests.support.sync_world import SITE, SyncWorld, sync_world
from tidegate.schemas import PublishArtefact, WriteDocuments
from tidegate.services.fleet.publishing import BATCH

SECRET = "The spare key of the branch lies below the third flowerpot."
OWN = f"---\nid: spare-key\ntitle: Spare key\nlanguage: en\nscope: site\n---\n\n{SECRET}\n"
QUEUE = "---\nid: queue\ntitle: Queue\nlanguage: en\n---\n\nTake a ticket.\n"


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncWorld]:
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", str(MODELS))
    with sync_world(tmp_path / "state", capsys) as world:
        yield world


def texts(world: SyncWorld, collection: str) -> dict[str, str]:
    """What the hub holds of a collection, as readers get it."""
    changes = world.hub.member.store.changes_since(collection, 0)
    return {each.document_id: each.resolved.content.text for each in changes.documents if each.resolved.content}


def by_name(report: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    """Of each collection what was written, deleted and left as it was."""
    return {each["name"]: (each["written"], each["deleted"], each["unchanged"]) for each in report["collections"]}


def test_a_pack_is_published_once_and_then_what_changed_of_it(world: SyncWorld, tmp_path: Path) -> None:
    pack = pack_at(tmp_path, **{"documents/queue.md": QUEUE})
    queue = pack / "documents" / "queue.md"
    report = world.json("publish", "pack", str(pack))
    assert by_name(report) == {"documents": (2, 0, 0), "hub-documents": (1, 0, 0)}
    assert texts(world, "documents") == {"hours": "We open at 09:30.", "queue": "Take a ticket."}
    assert texts(world, "hub-documents") == {"board": "The chair is Ann Lee."}
    parts = {(each["kind"], each["name"]): (each["epoch"], each.get("is_new", True)) for each in report["artefacts"]}
    assert parts["policy", "safe"] == (1, True)
    assert parts["intents", "intents"] == (1, True)
    contents = [each.resolved.content for each in world.hub.member.store.changes_since("documents", 0).documents]
    assert all(content and content.vectors and content.meta["pack"] == pack.name for content in contents)

    again = world.json("publish", "pack", str(pack))
    assert by_name(again) == {"documents": (0, 0, 2), "hub-documents": (0, 0, 1)}
    assert {each["is_new"] for each in again["artefacts"]} == {False}

    queue.write_text(QUEUE.replace("title: Queue", "title: Tickets"))
    assert by_name(world.json("publish", "pack", str(pack)))["documents"] == (1, 0, 1)
    queue.unlink()
    assert by_name(world.json("publish", "pack", str(pack)))["documents"] == (0, 1, 1)
    assert texts(world, "documents") == {"hours": "We open at 09:30."}
    queue.write_text(QUEUE)  # what was deleted with the pack may come back with it
    assert by_name(world.json("publish", "pack", str(pack)))["documents"] == (1, 0, 1)
    assert texts(world, "documents")["queue"] == "Take a ticket."


def test_a_document_that_moves_to_another_collection_is_in_one_at_a_time(world: SyncWorld, tmp_path: Path) -> None:
    pack = pack_at(tmp_path, **{"documents/queue.md": QUEUE.replace("language: en", "language: en\nscope: hub")})
    world.run("publish", "pack", str(pack))
    assert "queue" in texts(world, "hub-documents")
    (pack / "documents" / "queue.md").write_text(QUEUE)
    world.hub.requests.clear()
    assert by_name(world.json("publish", "pack", str(pack))) == {"documents": (1, 0, 1), "hub-documents": (0, 1, 1)}
    written = [each for _, each in world.hub.requests if isinstance(each, WriteDocuments)]
    assert [(each.collection, [*each.documents], each.deleted) for each in written] == [
        ("hub-documents", [], ("queue",)),
        ("documents", ["queue"], ()),
    ]


def test_a_document_of_a_site_is_named_and_no_byte_of_it_is_at_the_hub(world: SyncWorld, tmp_path: Path) -> None:
    pack = pack_at(tmp_path, **{"documents/own.md": OWN})
    printed = world.run("publish", "pack", str(pack))
    assert "not published, as they never leave their site" in printed
    assert "tidegate index add --site NAME" in printed
    assert "spare-key" in printed
    files = [path for path in Path(world.settings.state_dir).rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"flowerpot" in path.read_bytes()]
    code = world.json("publish", "document", str(pack / "documents" / "own.md"), expected=1)["error"]["code"]
    assert code == "site_documents"


def test_what_a_site_edited_since_is_kept_until_it_is_to_be_overwritten(world: SyncWorld, tmp_path: Path) -> None:
    rules = {"collections.yaml": "- name: desk\n  sites_write: true\n  merge: last-writer\n"}
    pack = pack_at(tmp_path, **rules, **{"documents/desk/queue.md": QUEUE})
    world.site.followed = world.hub
    world.json("publish", "pack", str(pack), "--wait")
    site: Any = world.site.member
    site.author.write("desk", "queue", text("Ask at the desk.", "Queue"), NOW + 1000)
    assert world.call(site.send(world.hub.member, NOW + 1000)) == "relayed"
    (pack / "documents" / "desk" / "queue.md").write_text(QUEUE.replace("a ticket", "two tickets"))
    kept = world.json("publish", "pack", str(pack))
    [desk] = [each for each in kept["collections"] if each["name"] == "desk"]
    assert (desk["written"], desk["kept"]) == (0, ["queue"])
    assert texts(world, "desk") == {"queue": "Ask at the desk."}
    assert "edited or deleted at a site since" in world.run("publish", "pack", str(pack))
    world.json("publish", "pack", str(pack), "--overwrite")
    assert texts(world, "desk") == {"queue": "Take two tickets."}


def test_whoever_waits_hears_how_long_each_site_took_or_what_it_lacks(world: SyncWorld, tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    error = world.json("publish", "pack", str(pack), "--wait", "--within", "1", expected=1)["error"]
    assert error["code"] == "not_arrived"
    assert error["reason"] == "after 1 s site1 lacks documents 1.1"
    world.site.followed = world.hub
    world.site.is_indexed = False
    error = world.json("publish", "pack", str(pack), "--wait", "--within", "1", expected=1)["error"]
    assert error["reason"] == "after 1 s site1 lacks the index of documents"
    world.site.is_indexed = True
    assert world.json("publish", "pack", str(pack), "--wait")["sites"][SITE] < 10
    assert "site1 has it after" in world.run("publish", "pack", str(pack), "--wait")


def test_documents_go_where_their_scope_or_the_call_has_them(world: SyncWorld, tmp_path: Path) -> None:
    folder = pack_at(tmp_path) / "documents"
    report = world.json("publish", "document", str(folder))
    assert by_name(report) == {"documents": (1, 0, 0), "hub-documents": (1, 0, 0)}
    assert by_name(world.json("publish", "document", str(folder)))["documents"] == (0, 0, 1)
    (tmp_path / "queue.md").write_text(QUEUE)
    named = world.json("publish", "document", str(tmp_path / "queue.md"), "--collection", "notices")
    assert by_name(named) == {"notices": (1, 0, 0)}
    assert texts(world, "notices") == {"queue": "Take a ticket."}
    error = world.json("publish", "document", str(folder), "--collection", "nothing", expected=1)["error"]
    assert error["code"] == "collection_unknown"


def test_many_documents_are_written_batch_by_batch(world: SyncWorld, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(BATCH * 2 + 1):
        (folder / f"d{number}.md").write_text(f"---\nlanguage: en\n---\n\nNote {number}.\n")
    assert by_name(world.json("publish", "document", str(folder))) == {"documents": (2 * BATCH + 1, 0, 0)}
    assert [verb for verb, _ in world.hub.requests].count("write") == 3
    assert len(texts(world, "documents")) == 2 * BATCH + 1


def test_a_policy_is_checked_before_it_is_published_and_counted_in_epochs(world: SyncWorld, tmp_path: Path) -> None:
    policy = pack_at(tmp_path) / "policies" / "safe.yaml"
    terms = ("--critical", "--hard-s", "900000", "--at-hard", "closed")
    first = world.json("publish", "policy", str(policy), *terms)
    assert [(each["name"], each["epoch"]) for each in first["artefacts"]] == [("safe", 1)]
    [asked] = [each for _, each in world.hub.requests if isinstance(each, PublishArtefact)]
    assert (asked.is_critical, asked.hard_s, asked.at_hard) == (True, 900_000, "closed")
    assert world.json("publish", "policy", str(policy), *terms)["artefacts"][0]["is_new"] is False
    policy.write_text(policy.read_text().replace("0.8", "0.9"))
    assert "policy other: epoch 1, " in world.run("publish", "policy", str(policy), "--name", "other")
    assert world.json("publish", "policy", str(policy))["artefacts"][0]["epoch"] == 2
    count = len(world.hub.requests)
    policy.write_text("policy_id: p1\nallow: [nonsense]\n")
    assert world.json("publish", "policy", str(policy), expected=1)["error"]["code"] == "policy"
    (tmp_path / "empty.prompt").write_text(" \n")
    assert (
        world.json("publish", "prompt", str(tmp_path / "empty.prompt"), expected=1)["error"]["code"]
        == "prompt_unusable"
    )
    assert len(world.hub.requests) == count
    (tmp_path / "branch.prompt").write_text("Be brief.")
    assert world.json("publish", "prompt", str(tmp_path / "branch.prompt"))["artefacts"][0]["kind"] == "prompt"


def test_weights_are_one_file_whose_bytes_follow_from_the_folder(world: SyncWorld, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 4000)
    (folder / "sub" / "config.json").write_text("{}")
    base = "ab" * 32
    [first] = world.json("publish", "adapter", str(folder), "--base", base)["artefacts"]
    assert (first["kind"], first["name"], first["epoch"]) == ("adapter", "adapter", 1)
    asked = world.hub.requests[-1][1]
    assert isinstance(asked, PublishArtefact)
    assert asked.base_digests == (base,)
    (folder / "weights.bin").touch()
    [again] = world.json("publish", "adapter", str(folder))["artefacts"]
    assert (again["digest"], again["is_new"]) == (first["digest"], False)
    [model] = world.json("publish", "model", str(folder), "--name", "small")["artefacts"]
    assert (model["kind"], model["name"]) == ("model", "small")
    assert not list(world.paths["hub"].home.glob(".publishing-*"))
    (folder / "link").symlink_to("weights.bin")
    assert world.json("publish", "model", str(folder), expected=1)["error"]["code"] == "weights_folder"
    assert not list(world.paths["hub"].home.glob(".publishing-*"))
    assert world.json("publish", "model", str(folder / "sub"), "--name", "sub")["artefacts"][0]["epoch"] == 1


def test_ctrl_c_leaves_nothing_behind(world: SyncWorld, tmp_path: Path) -> None:
    world.hub.may_publish.clear()
    pack = pack_at(tmp_path)
    arguments = ("publish", "pack", str(pack), "--state", world.settings.state_dir)
    process = start_tidegate(*arguments, environ={"TIDEGATE_MODELS_DIR": str(MODELS)}, together=True)
    try:
        while b"publishing policies" not in read_line(process):
            assert process.poll() is None
        home = world.paths["hub"].home
        until_s = time.monotonic() + 30
        while not list(home.glob(".publishing-*/*")):
            assert time.monotonic() < until_s
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert not list(home.glob(".publishing-*"))
        assert "hours" in texts(world, "documents"), "what came before stays published"
    finally:
        process.kill()
        assert process.stdout is not None
        process.stdout.close()
        world.call(let(world))


async def let(world: SyncWorld) -> None:
    """Have the worker go on with what it was asked."""
    world.hub.may_publish.set()
