"""What `tidegate status` finds: a healthy fleet with all its addresses, one that is down, and what was left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.command import read_line, start_tidegate, tidegate
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.settings import Settings

pytestmark = pytest.mark.system


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


@pytest.fixture
def up(settings: Settings) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a fleet of one site; whatever is still up is ended afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        environ = {"TIDEGATE_MODELS_DIR": settings.models_dir, "TIDEGATE_METRICS_PORT": "39100"}
        state = ("--state", settings.state_dir)
        started.append(start_tidegate("up", "--sites", "1", "--json", *state, environ=environ))
        return started[-1]

    yield start
    for process in started:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def test_status_shows_what_is_up_what_is_down_and_what_was_left_behind(
    settings: Settings, up: Callable[[], subprocess.Popen[bytes]]
) -> None:
    first = up()
    endpoints = msgspec.json.decode(read_line(first))
    check_it_is_healthy(settings, endpoints)
    check_what_is_down_is_named(settings)
    end(first)
    code, found = status(settings)
    assert (code, found["error"]["code"]) == (1, "fleet_not_running")

    second = up()
    again = msgspec.json.decode(read_line(second))
    assert [again[key] for key in ("http", "sites", "hub")] == [endpoints[key] for key in ("http", "sites", "hub")]
    check_what_a_killed_fleet_left_behind(settings, second)


def check_it_is_healthy(settings: Settings, endpoints: dict[str, Any]) -> None:
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


def check_what_is_down_is_named(settings: Settings) -> None:
    found = status(settings)[1]
    [hub] = domain(found, "hub")["processes"]
    [site] = domain(found, "site1")["processes"]
    with stopped(hub["pid"]):
        code, found = status(settings)
    assert (code, found["problems"]) == (1, ["site1: the hub does not answer over the link"])
    assert not domain(found, "site1")["link"]["is_up"]
    with stopped(site["pid"]):
        code, found = status(settings)
    assert code == 1
    assert any("the gateway at" in problem for problem in found["problems"])
    assert domain(found, "site1")["server"]["is_up"]
    until(lambda: status(settings)[0] == 0)


def check_what_a_killed_fleet_left_behind(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    ready = Path(settings.state_dir) / "site1" / "ready" / "all"
    left = ready.read_bytes()
    pid = msgspec.json.decode(left)["pid"]
    os.kill(pid, signal.SIGKILL)
    process.kill()
    process.wait(30)
    until(lambda: not Path(f"/proc/{pid}").exists())
    if not ready.exists():
        ready.write_bytes(left)
    until(lambda: not domain(status(settings)[1], "site1")["server"]["is_up"])
    code, found = status(settings)
    [gone] = domain(found, "site1")["processes"]
    assert code == 1
    assert gone["is_stale"]
    assert f"process {process.pid}, which kept the fleet up, is gone" in found["problems"][0]
    assert any("no process runs the drafter" in problem for problem in found["problems"])


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
