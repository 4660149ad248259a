"""`tidegate evidence-only` at a hub with a real repository: on, off, listed, and shown where somebody looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.small_pack import GOOD
from tests.support.sync_world import SITE, SyncWorld, sync_world
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.packs.parts import PackPart

WHY = ("--why", "fees are wrong")


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[SyncWorld]:
    with sync_world(tmp_path / "state", capsys) as world:
        world.site.followed = world.hub
        yield world


def test_each_scope_is_put_on_and_off_by_itself_and_keeps_its_epochs(world: SyncWorld) -> None:
    assert "evidence-only is on for kiosk: epoch 1" in world.run("evidence-only", "on", *WHY)
    assert "on for kiosk at site1 for fees: epoch 1" in world.run(
        "evidence-only", "on", "--site", SITE, "--class", "fees", *WHY
    )
    done = world.json("evidence-only", "off", *WHY, "--wait", "--within", "20")
    assert (done["switch"]["is_on"], done["artefact"]["epoch"], [*done["sites"]]) == (False, 2, [SITE])
    found = {
        (each["switch"].get("site", ""), each["switch"].get("class_name", "")): each["switch"]["is_on"]
        for each in world.json("evidence-only", "list")["switches"]
    }
    assert found == {("", ""): False, (SITE, "fees"): True}
    for shown in (world.run("evidence-only", "list"), world.run("sync", "status")):
        assert "kiosk at site1 for fees" in shown
        assert "fees are wrong" in shown
    [replica] = [each["replica"] for each in world.json("status", expected=1)["domains"] if each["name"] == SITE]
    assert {each["switch"]["is_on"] for each in replica["switches"]} == {False, True}
    assert "evidence-only is on" in world.run("status", expected=1)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--why", " "), "length >= 1"),
        (("--site", "No site", *WHY), "regex"),
        (("--class", "hour", *WHY), "no class hour; it has classify, extract, hours"),
    ],
)
def test_a_scope_that_is_none_is_refused_by_name(world: SyncWorld, arguments: tuple[str, ...], fault: str) -> None:
    store = GenerationStore(world.paths["hub"].active("kiosk"))
    parts = [
        PackPart("intents", "intents", GOOD["intents.yaml"].encode()),
        PackPart("policy", "safe", GOOD["policies/safe.yaml"].encode()),
    ]
    store.activate(parts, {each.path: 1 for each in parts}, lambda *_: {}, lambda *_: None)
    error = world.json("evidence-only", "on", *arguments, expected=1)["error"]
    assert error["code"] == "switch_scope"
    assert fault in error["reason"]
    assert world.json("evidence-only", "list") == {"switches": []}


def test_why_is_asked_for(world: SyncWorld) -> None:
    assert "--why" in str(world.json("evidence-only", "on", expected=2))
