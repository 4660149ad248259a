"""The command line as people and scripts use it: exit codes, JSON, hints, and a fleet that is found by its state."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.command import COMMAND, read_line, start_tidegate, tidegate
from tests.support.paths import MODELS
from tests.support.prepared_fixtures import filled_settings as settings
from tidegate.services.cli import COMMANDS
from tidegate.services.cli.options import find_default_pack
from tidegate.services.settings import Settings

pytestmark = pytest.mark.system
__all__ = ["settings"]

QUESTION = "How long does a guest wifi session last?"


@pytest.fixture(autouse=True)
def _models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", str(MODELS))


@pytest.fixture
def fleet(settings: Settings) -> Iterator[tuple[str, str]]:
    """A running fleet of one site; the option with which a command finds it."""
    state = ("--state", settings.state_dir)
    up = start_tidegate("up", "--sites", "1", "--json", *state)
    read_line(up)
    yield state
    up.send_signal(signal.SIGTERM)
    up.wait(30)


def test_help_names_every_command() -> None:
    shown = tidegate("--help")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("nonsense",), 2),
        (("worker", "nonsense", "--site", "site1"), 2),
        (("ask", "hello"), 1),
        (("index", "add", "/nonexistent"), 2),
        (("index", "add", os.devnull), 1),
        (("status",), 1),
        (("config", "check", "--config", os.devnull + "/x"), 1),
    ],
)
def test_a_call_that_cannot_work_is_an_error_with_a_hint_and_no_traceback(
    arguments: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    shown = tidegate(*arguments, environ={"TIDEGATE_STATE_DIR": str(tmp_path)})
    assert shown.returncode == code
    error, *_, hint = shown.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("arguments", [("status", "--json"), ("config", "explain"), ("status",)])
def test_where_the_output_cannot_be_written_there_is_no_traceback(arguments: tuple[str, ...], tmp_path: Path) -> None:
    environ = {"TIDEGATE_STATE_DIR": str(tmp_path)}
    with open("/dev/full", "wb") as full:
        shown = subprocess.run(
            [*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, check=False, env={**os.environ, **environ}
        )
    assert shown.returncode == 1
    assert b"Traceback" not in shown.stderr
    assert b"Exception ignored" not in shown.stderr


def test_settings_faults_name_the_key_the_value_and_the_type() -> None:
    shown = tidegate("config", "check", "--json", environ={"TIDEGATE_GATEWAY__PORT": "many"})
    assert shown.returncode == 1
    [fault] = msgspec.json.decode(shown.stdout)["faults"]
    assert fault["key"] == "gateway.port"
    assert "many" in fault["reason"]
    assert "whole number" in fault["reason"]


def test_the_kiosk_pack_has_no_faults() -> None:
    shown = tidegate("pack", "check", str(find_default_pack()), "--json")
    assert shown.returncode == 0
    counts = msgspec.json.decode(shown.stdout)["counts"]
    assert counts["documents"] >= 60
    assert counts["questions"] >= 150


def test_a_running_fleet_is_asked_traced_and_given_new_documents(fleet: tuple[str, str], tmp_path: Path) -> None:
    asked = tidegate("ask", QUESTION, "--json", *fleet)
    answer: dict[str, Any] = msgspec.json.decode(asked.stdout)
    assert "90 minutes" in answer["text"], asked.stderr

    rows = msgspec.json.decode(tidegate("trace", answer["rid"], "--json", *fleet).stdout)
    facts = [row["fact"] for row in rows]
    assert facts == ["asked", "screened", "routed", "retrieved", "drafted", "approved", "published"]
    assert [row["after_ms"] for row in rows] == sorted(row["after_ms"] for row in rows)

    assert tidegate("topology", "plan", *fleet).returncode == 0, "what `up` declared is what is there"
    assert "0 dead letters" in tidegate("dead", "list", *fleet).stdout
    assert "no dead letter 7" in tidegate("dead", "show", "7", *fleet).stderr
    busy = tidegate("up", *fleet, "--json")
    assert busy.returncode == 1
    assert msgspec.json.decode(busy.stdout)["error"]["code"] == "fleet_busy"

    leaflet = tmp_path / "umbrellas.md"
    leaflet.write_text(
        "---\nid: umbrellas\ntitle: Umbrellas\nlanguage: en\nscope: site\n---\n"
        "# Umbrellas\n\nThe branch lends umbrellas for a deposit of £6 at window 4.\n"
    )
    question = "What deposit do umbrellas cost at the branch?"
    assert tidegate("index", "add", str(leaflet), *fleet).returncode == 0
    assert "£6 at window 4" in tidegate("ask", question, *fleet).stdout, "a running worker sees the new document"
    assert tidegate("index", "delete", "umbrellas", *fleet).returncode == 0
    assert "£6 at window 4" not in tidegate("ask", question, *fleet).stdout, "a deleted document does not come back"
    assert tidegate("index", "delete", "umbrellas", *fleet).returncode == 1


def test_a_port_that_is_taken_is_named(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = tidegate(
            "up", "--sites", "1", "--state", settings.state_dir, environ={"TIDEGATE_GATEWAY__PORT": str(port)}
        )
    assert shown.returncode == 1
    error, hint = shown.stderr.splitlines()[-2:]
    assert f"cannot listen on 127.0.0.1:{port}" in error
    assert "choose another port" in hint
