"""What `tidegate status` finds: a healthy fleet with all its addresses, and parts of it that are down."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.command import domain, read_line, start_tidegate, status, tidegate, until
from tests.support.edge_runtime import AT_THE_EDGE, AT_THE_HUB
from tests.support.prepared_fixtures import filled_settings as settings
from tidegate.services.evaluation.client import bearer
from tidegate.services.fleet.access import temporary_key
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.settings import Settings

pytestmark = pytest.mark.system
__all__ = ["settings"]


def test_status_shows_what_is_up_and_what_is_down(settings: Settings) -> None:
    environ = {"TIDEGATE_MODELS_DIR": settings.models_dir, "TIDEGATE_METRICS_PORT": "39100"}
    state = ("--state", settings.state_dir)
    fleet = start_tidegate("up", "--sites", "1", "--json", *state, environ=environ)
    try:
        endpoints = msgspec.json.decode(read_line(fleet))
        check_it_is_healthy(settings, endpoints)
        check_what_the_planner_learns_is_told(settings, endpoints)
        check_what_was_answered_is_in_a_witnessed_log(settings)
        check_what_is_down_is_named(settings)
    finally:
        fleet.send_signal(signal.SIGTERM)
        fleet.wait(30)
    code, found = status(settings)
    assert (code, found["error"]["code"]) == (1, "fleet_not_running")


def check_it_is_healthy(settings: Settings, endpoints: dict[str, Any]) -> None:
    code, found = status(settings)
    assert (code, found["is_healthy"], found["problems"]) == (0, True, [])
    assert found["policies"]
    assert found["pack"] == "kiosk"
    site, hub = domain(found, "site1"), domain(found, "hub")
    assert site["server"]["url"] == endpoints["sites"]["site1"]["url"]
    assert site["gateway"] == {"url": endpoints["http"]["site1"], "is_up": True, "is_ready": True}
    assert site["link"]["is_up"]
    assert site["link"]["rtt_ms"] > 0
    assert {row["stage"] for row in site["lag"]} == {stage.name for stage in SITE_WORKERS}
    assert all(each["server"]["version"].count(".") == 2 and each["server"]["pid"] for each in (site, hub))
    assert site["indexes"]["kiosk"] != hub["indexes"]["kiosk"], "the hub holds more documents"
    urls = [process["metrics_url"] for each in (site, hub) for process in each["processes"]]
    assert len(set(urls)) == len(urls) == 4, "each process has a port of its own"
    assert all("tidegate_" in httpx.get(url, trust_env=False).text for url in urls)
    fleet = Path(settings.state_dir) / "fleet.json"
    fleet.rename(fleet.with_suffix(".away"))  # as in a container, where the settings name the server
    environ = {
        "TIDEGATE_NATS__URL": site["server"]["url"],
        "TIDEGATE_NATS__NKEY_SEED_FILE": endpoints["sites"]["site1"]["nkey_seed_file"],
        "TIDEGATE_SITE": "site1",
    }
    alone = msgspec.json.decode(tidegate("status", "--json", "--state", settings.state_dir, environ=environ).stdout)
    fleet.with_suffix(".away").rename(fleet)
    assert (alone["is_healthy"], [each["name"] for each in alone["domains"]]) == (True, ["site1"])
    assert alone["domains"][0]["gateway"] == site["gateway"]
    shown = tidegate("status", "--state", settings.state_dir)
    assert shown.returncode == 0
    assert endpoints["http"]["site1"] in shown.stdout
    assert "everything is healthy" in shown.stdout


def check_what_was_answered_is_in_a_witnessed_log(settings: Settings) -> None:
    """The site's audit log has the three answers under a head that the hub has seen, and they are derived again."""
    until(lambda: domain(status(settings)[1], "site1")["audit"].get("witnessed", 0) >= 4)
    state = ("--site", "site1", "--state", settings.state_dir)
    verified = tidegate("audit", "verify", *state)
    assert verified.returncode == 0, verified.stdout
    listed = msgspec.json.decode(tidegate("audit", "list", "--json", *state).stdout)
    assert listed[0]["kind"] == "log_opened"
    assert sum(entry["kind"] in ("answered", "abstained") for entry in listed) == 3
    replayed = tidegate("replay", "--newest", "3", *state)
    assert (replayed.returncode, replayed.stdout.splitlines()[-1]) == (0, "3 identical, 0 differs, 0 not derived")


def check_what_the_planner_learns_is_told(settings: Settings, endpoints: dict[str, Any]) -> None:
    """What was forecast for a question stands in its receipt, and what came of it in status and metrics."""
    with temporary_key(settings, "status") as key:
        url = endpoints["http"]["site1"]
        receipts = [ask(url, key, text) for text in (AT_THE_EDGE, AT_THE_HUB, AT_THE_HUB)]
    for receipt in receipts:
        forecast, plan = receipt["forecast"], receipt["plan"]
        assert forecast["mode"] == (plan["mode"] if receipt["route"] == "cloud" else "edge_only")
        expected_ms = plan["basis"]["spent_ms"] + plan["forecast_ms"][forecast["mode"]]
        assert forecast["expected_ms"] == pytest.approx(expected_ms, abs=0.2)
        assert forecast["took_ms"] > plan["basis"]["spent_ms"]
        assert not plan.get("draft_length"), "the shipped target takes no step for what it quotes"
    assert [receipt["route"] for receipt in receipts] == ["edge", "cloud", "cloud"]
    assert receipts[1]["speculation"]["model"] == receipts[1]["plan"]["basis"]["model"] != ""
    until(lambda: sum(line["judged"] for line in planner(settings)["forecasts"]) == len(receipts))
    [ledger] = planner(settings)["drafts"]
    assert (ledger["model"], ledger["answers"], ledger["shipped"]) == (receipts[1]["speculation"]["model"], 2, 0)
    process, _ = domain(status(settings)[1], "site1")["processes"]
    assert process["name"] == "all"
    assert "tidegate_planner_answers_total{" in httpx.get(process["metrics_url"], trust_env=False).text
    assert "within twice" in tidegate("status", "--state", settings.state_dir).stdout


def ask(url: str, key: str, text: str) -> dict[str, Any]:
    """The receipt of the answer to a question, asked as an OpenAI client does."""
    body = {"model": "tidegate", "messages": [{"role": "user", "content": text}]}
    reply = httpx.post(f"{url}/v1/chat/completions", json=body, headers=bearer(key), timeout=60.0, trust_env=False)
    receipt: dict[str, Any] = reply.json()["tidegate"]["receipt"]
    return receipt


def planner(settings: Settings) -> dict[str, Any]:
    """What the site has learned."""
    found: dict[str, Any] = domain(status(settings)[1], "site1")["planner"]
    return found


def check_what_is_down_is_named(settings: Settings) -> None:
    found = status(settings)[1]
    hub, _ = domain(found, "hub")["processes"]
    site, _ = domain(found, "site1")["processes"]
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


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
