"""What `tidegate status` finds: a healthy fleet with all its addresses, one that is down, and what was left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.command import read_line, start_tidegate, tidegate
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.settings import Settings

pytestmark = pytest.mark.system

METRICS = {"TIDEGATE_METRICS_PORT": "39100"}


def status(settings: Settings) -> tuple[int, dict[str, Any]]:
    shown = tidegate("status", "--json", "--state", settings.state_dir)
    return shown.returncode, msgspec.json.decode(shown.stdout)


def until(holds: Callable[[], bool], seconds: float = 25.0) -> None:
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, "it never came about"
        time.sleep(0.1)


def domain(found: dict[str, Any], name: str) -> dict[str, Any]:
    [one] = [each for each in found["domains"] if each["name"] == name]
    return dict(one)


def run_fleet(settings: Settings, *more: str, ask: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Start a fleet of one site, call `ask` with where it listens, end it; where it listened."""
    environ = {"TIDEGATE_MODELS_DIR": settings.models_dir, **METRICS}
    up = start_tidegate("up", "--sites", "1", "--json", "--state", settings.state_dir, *more, environ=environ)
    try:
        endpoints: dict[str, Any] = msgspec.json.decode(read_line(up))
        ask(endpoints)
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(30)
    return endpoints


def test_a_healthy_fleet_shows_every_address_and_version(settings: Settings) -> None:
    def ask(endpoints: dict[str, Any]) -> None:
        code, found = status(settings)
        assert (code, found["is_healthy"], found["problems"]) == (0, True, [])
        assert found["policies"]
        assert found["pack"].startswith("kiosk@")
        site, hub = domain(found, "site1"), domain(found, "hub")
        assert site["server"]["url"] == endpoints["sites"]["site1"]["url"]
        assert site["gateway"] == {"url": endpoints["http"]["site1"], "is_up": True, "is_ready": True}
        assert site["link"]["is_up"]
        assert site["link"]["rtt_ms"] > 0
        assert {row["stage"] for row in site["lag"]} == {stage.name for stage in SITE_WORKERS}
        assert all(each["server"]["version"].count(".") == 2 and each["server"]["pid"] for each in (site, hub))
        assert site["indexes"]["kiosk"] != hub["indexes"]["kiosk"], "the hub holds more documents"
        urls = [process["metrics_url"] for each in (site, hub) for process in each["processes"]]
        assert len(set(urls)) == 2, "each process has a port of its own"
        assert all("tidegate_" in httpx.get(url, trust_env=False).text for url in urls)
        shown = tidegate("status", "--state", settings.state_dir)
        assert shown.returncode == 0
        assert endpoints["http"]["site1"] in shown.stdout
        assert "everything is healthy" in shown.stdout

    first = run_fleet(settings, ask=ask)
    again = run_fleet(settings, ask=lambda _: None)
    assert (first["http"], first["sites"], first["hub"]) == (again["http"], again["sites"], again["hub"])
    code, found = status(settings)
    assert (code, found["error"]["code"]) == (1, "fleet_not_running")


def test_what_is_down_is_named(settings: Settings) -> None:
    def ask(endpoints: dict[str, Any]) -> None:
        assert endpoints["pid"]
        found = status(settings)[1]
        [hub] = domain(found, "hub")["processes"]
        [site] = domain(found, "site1")["processes"]
        os.kill(hub["pid"], signal.SIGSTOP)
        try:
            code, found = status(settings)
            assert code == 1
            assert found["problems"] == ["site1: the hub does not answer over the link"]
            assert not domain(found, "site1")["link"]["is_up"]
        finally:
            os.kill(hub["pid"], signal.SIGCONT)
        os.kill(site["pid"], signal.SIGSTOP)
        try:
            code, found = status(settings)
            assert code == 1
            assert any("the gateway at" in problem for problem in found["problems"])
            assert domain(found, "site1")["server"]["is_up"]
        finally:
            os.kill(site["pid"], signal.SIGCONT)
        until(lambda: status(settings)[0] == 0)

    run_fleet(settings, ask=ask)


def test_what_a_killed_fleet_left_behind_is_not_taken_for_one_that_runs(settings: Settings) -> None:
    environ = {"TIDEGATE_MODELS_DIR": settings.models_dir}
    up = start_tidegate("up", "--sites", "1", "--json", "--state", settings.state_dir, environ=environ)
    read_line(up)
    ready = Path(settings.state_dir) / "site1" / "ready" / "all"
    left = ready.read_bytes()
    pid = msgspec.json.decode(left)["pid"]
    os.kill(pid, signal.SIGKILL)
    up.kill()
    up.wait(30)
    until(lambda: not Path(f"/proc/{pid}").exists())
    if not ready.exists():
        ready.write_bytes(left)
    until(lambda: "is gone" in status(settings)[1]["problems"][0])
    code, found = status(settings)
    [process] = domain(found, "site1")["processes"]
    assert code == 1
    assert process["is_stale"]
    assert f"process {up.pid}, which kept the fleet up, is gone" in found["problems"][0]
    assert any("no process runs the drafter" in problem for problem in found["problems"])
