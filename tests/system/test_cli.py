"""The command line as people and scripts use it: exit codes, JSON, hints, and a fleet that answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidegate.services.cli import COMMANDS
from tidegate.services.cli.options import default_pack
from tidegate.services.settings import Settings

pytestmark = pytest.mark.system


def tidegate(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tidegate.services.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environ},
    )


@pytest.fixture
def fleet(settings: Settings) -> Iterator[dict[str, str]]:
    """A running fleet of one site; the environment with which a command finds it."""
    environ = {"TIDEGATE_MODELS_DIR": settings.models_dir, "TIDEGATE_STATE_DIR": settings.state_dir}
    up = subprocess.Popen(
        [sys.executable, "-m", "tidegate.services.cli", "up", "--sites", "1", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environ},
    )
    assert up.stdout is not None
    up.stdout.readline()
    yield environ
    up.send_signal(signal.SIGTERM)
    up.wait(30)


def test_help_names_every_command_and_each_has_its_own() -> None:
    told = tidegate("--help")
    assert told.returncode == 0
    assert all(name in told.stdout for name in COMMANDS)
    for name in COMMANDS:
        assert tidegate(name, "--help").returncode == 0, name


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("ask",), ("demo", "--sites", "0"), ("worker", "nonsense", "--site", "site1")]
)
def test_a_wrong_call_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    told = tidegate(*arguments)
    assert told.returncode == 2
    assert "Traceback" not in told.stderr


def test_asking_where_nothing_is_up_says_how_to_start_it(tmp_path: Path) -> None:
    told = tidegate("ask", "hello", TIDEGATE_STATE_DIR=str(tmp_path))
    assert told.returncode == 1
    assert "hint: start it with `tidegate up`" in told.stderr


def test_settings_faults_name_the_key_the_value_and_the_type() -> None:
    told = tidegate("config", "check", "--json", TIDEGATE_GATEWAY__PORT="many")
    assert told.returncode == 1
    [fault] = msgspec.json.decode(told.stdout)["faults"]
    assert fault["key"] == "gateway.port"
    assert "many" in fault["reason"]
    assert "whole number" in fault["reason"]


def test_the_kiosk_pack_has_no_faults() -> None:
    told = tidegate("pack", "check", str(default_pack()), "--json")
    assert told.returncode == 0
    counts = msgspec.json.decode(told.stdout)["counts"]
    assert counts["documents"] >= 60
    assert counts["questions"] >= 150


def test_a_running_fleet_is_asked_traced_and_told_new_documents(fleet: dict[str, str], tmp_path: Path) -> None:
    asked = tidegate("ask", "How long does a guest wifi session last?", "--json", **fleet)
    answer: dict[str, Any] = msgspec.json.decode(asked.stdout)
    assert "90 minutes" in answer["text"], asked.stderr

    rows = msgspec.json.decode(tidegate("trace", answer["rid"], "--json", **fleet).stdout)
    facts = [row["fact"] for row in rows]
    assert facts == ["asked", "screened", "routed", "retrieved", "drafted", "approved", "published"]
    assert [row["after_ms"] for row in rows] == sorted(row["after_ms"] for row in rows)

    assert tidegate("topology", "plan", **fleet).returncode == 0, "what `up` declared is what is there"
    assert "0 dead letters" in tidegate("dead", "list", **fleet).stdout

    leaflet = tmp_path / "umbrellas.md"
    leaflet.write_text(
        "---\nid: umbrellas\ntitle: Umbrellas\nlanguage: en\nscope: site\n---\n"
        "# Umbrellas\n\nThe branch lends umbrellas for a deposit of £6 at window 4.\n"
    )
    question = "What deposit do umbrellas cost at the branch?"
    assert tidegate("index", "add", str(leaflet), **fleet).returncode == 0
    assert "£6" in tidegate("ask", question, **fleet).stdout, "a running worker sees the new document"
    assert tidegate("index", "delete", "umbrellas", **fleet).returncode == 0
    assert "£6" not in tidegate("ask", question, **fleet).stdout, "a deleted document does not come back"
    assert tidegate("index", "delete", "umbrellas", **fleet).returncode == 1
