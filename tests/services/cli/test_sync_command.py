"""`tidegate sync` in front of real servers, and of workers with real stores: what is shown, compared and decided."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.sync_parts import NOW, text
from tests.support.sync_world import SITE, SyncWorld, sync_world
from tidegate.schemas import Collection
from tidegate.services.cli import main

ASKED = Collection(tenant="kiosk", name="desk", sites_write=True, merge="ask")


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncWorld]:
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", "absent")
    with sync_world(tmp_path / "state", capsys) as world:
        yield world


def fill(world: SyncWorld, documents: int = 20) -> None:
    """As many notices, at both ends."""
    world.hub.member.author.write_all("notices", {f"d{n}": text(f"text {n}") for n in range(documents)}, NOW)
    world.call(world.hub.member.relay.take_own(NOW))  # type: ignore[union-attr]
    world.follow()


def test_status_says_what_each_domain_holds_and_what_it_may_do(world: SyncWorld) -> None:
    fill(world)
    world.site.epochs["policy", "default"] = (12, 13)
    domains = {each["domain"]: each for each in world.json("sync", "status")["domains"]}
    [at_site] = domains[SITE]["collections"]
    [at_hub] = domains["hub"]["collections"]
    assert at_site["checksum"] == at_hub["checksum"]
    assert (at_site["documents"], at_site["position"], at_site["state"]) == (20, "1.20", "following")
    shown = world.run("sync", "status")
    for part in (
        "kiosk/notices",
        "shared",
        "following",
        "yes, 2 s ago",
        "default 12 (13 offered)",
        "5 min",
        "software",
    ):
        assert part in shown
    alone = world.json("sync", "status", "--site", SITE, "--collection", "notices")
    assert [each["domain"] for each in alone["domains"]] == [SITE]


def test_status_goes_on_where_one_worker_is_missing_and_fails_where_all_are(world: SyncWorld) -> None:
    world.end_worker(SITE)
    found = world.json("sync", "status")
    assert [each["domain"] for each in found["domains"]] == ["hub"]
    assert "the sync worker of site1 does not answer" in found["problems"][0]
    error = world.json("sync", "status", "--site", SITE, expected=1)["error"]
    assert error["code"] == "sync_worker_missing"
    assert "tidegate worker sync" in error["hint"]


def test_status_where_nothing_is_up_names_what_starts_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sync", "status", "--state", str(tmp_path)])
    assert ended.value.code == 1
    assert "tidegate up" in capsys.readouterr().err


def test_the_status_of_the_fleet_shows_what_each_domain_may_do_and_names_what_stops_it(world: SyncWorld) -> None:
    fill(world)
    world.site.epochs["policy", "default"] = (12, 13)
    found = world.json("status", expected=1)
    replicas = {each["name"]: each["replica"] for each in found["domains"]}
    assert replicas[SITE]["collections"][0]["documents"] == replicas["hub"]["collections"][0]["documents"] == 20
    assert not [each for each in found["problems"] if "it is" in each], "on the first rung nothing is wrong"
    world.site.rung = "evidence-only"
    world.end_worker("hub")
    shown = world.run("status", expected=1)
    assert "problem: site1: it is evidence-only: the policy default is 2 days old" in shown
    assert "no sync worker" in shown
    assert "default 12 (13 offered)" in shown
    hub = next(each for each in world.json("status", expected=1)["domains"] if each["name"] == "hub")
    assert hub["replica"] is None


def flip_a_byte(path: Path, document_id: str) -> None:
    """What a disk does now and then."""
    with sqlite3.connect(path) as database:
        [(content,)] = database.execute("SELECT content FROM documents WHERE document_id = ?", (document_id,))
        damaged = bytes([*content[:-1], content[-1] ^ 1])
        database.execute("UPDATE documents SET content = ? WHERE document_id = ?", (damaged, document_id))
    database.close()


def test_verify_finds_a_flipped_byte_and_repair_heals_it_and_says_why(world: SyncWorld) -> None:
    fill(world)
    assert "kiosk/notices: nothing differs" in world.run("sync", "verify")
    flip_a_byte(world.paths[SITE].replica("kiosk"), "d7")
    found = world.json("sync", "verify", expected=1)
    assert found["domain"] == SITE
    assert [each["documents"] for each in found["outcomes"]] == [{"disk": ["d7"]}]
    printed = world.run("sync", "repair", "--collection", "notices")
    assert "1 documents repaired (disk: the disk gave back other bytes than were written): d7" in printed
    assert "bytes over the link)" in printed
    assert "nothing differs" in world.run("sync", "verify")
    error = world.json("sync", "verify", "--collection", "nothing", expected=1)["error"]
    assert error["code"] == "unknown_collection"


def make_conflict(world: SyncWorld, rules: Collection = ASKED) -> None:
    """The hub and the site edit one document while they are apart."""
    world.hub.member.store.put_collection(rules)
    world.site.member.join(rules)  # type: ignore[union-attr]
    world.hub.member.author.write("desk", "queue", text("Take a ticket.", "Queue"), NOW)
    world.call(world.hub.member.relay.take_own(NOW))  # type: ignore[union-attr]
    world.follow()
    world.site.member.author.write("desk", "queue", text("Ask at the desk.", "Queue"), NOW + 1)
    world.hub.member.author.write("desk", "queue", text("Take two tickets.", "Queue"), NOW + 2)
    world.call(world.hub.member.relay.take_own(NOW))  # type: ignore[union-attr]
    world.follow()


def test_a_conflict_is_listed_with_its_versions_and_decided_by_one_of_them(world: SyncWorld) -> None:
    assert "there is no conflict" in world.run("sync", "conflicts", "list")
    make_conflict(world)
    printed = world.run("sync", "conflicts", "list", "--open")
    assert "kiosk/desk queue: open: a person has to decide" in printed
    assert "Queue: Ask at the desk." in printed
    [conflict] = world.json("sync", "conflicts", "list")["conflicts"]
    versions = {each["text"]: "{}:{}".format(*each["dot"]) for each in conflict["versions"]}
    assert set(versions) == {"Ask at the desk.", "Take two tickets."}
    code = world.json("sync", "conflicts", "resolve", "desk", "queue", "--keep", "site9@1:1", expected=1)["error"][
        "code"
    ]
    assert code == "unknown_version"
    resolved = world.run("sync", "conflicts", "resolve", "desk", "queue", "--keep", versions["Ask at the desk."])
    assert "replaces 2 versions" in resolved
    assert "there is no conflict" in world.run("sync", "conflicts", "list")
    assert world.site.member.texts("desk") == {"queue": "Ask at the desk."}  # type: ignore[union-attr]


def test_a_conflict_that_its_rule_decides_is_listed_and_not_open(world: SyncWorld) -> None:
    make_conflict(world, msgspec.structs.replace(ASKED, merge="last-writer"))
    assert "decided by the rule last-writer" in world.run("sync", "conflicts", "list")
    assert world.json("sync", "conflicts", "list", "--open") == {"conflicts": []}


def test_a_conflict_may_be_decided_by_deleting_the_document(world: SyncWorld) -> None:
    make_conflict(world)
    world.run("sync", "conflicts", "resolve", "desk", "queue", "--delete")
    assert world.site.member.texts("desk") == {}  # type: ignore[union-attr]
    assert world.json("sync", "conflicts", "resolve", "desk", "queue", "--delete", expected=1)["error"]["hint"]


@pytest.mark.parametrize("wrong", [(), ("--keep", "site1@1:4", "--delete"), ("--keep", "site1"), ("--keep", "x@0:0")])
def test_a_decision_that_is_none_is_a_wrong_call(
    wrong: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sync", "conflicts", "resolve", "desk", "queue", *wrong, "--state", str(tmp_path)])
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
