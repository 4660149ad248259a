"""Several processes of a stage and of the gateway: each is there under its own name, they share the work, all end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.command import domain, read_line, running_below, start_tidegate, status, until
from tests.support.nats_fleet import nats_of
from tests.support.prepared_fixtures import filled_settings as settings
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.services.evaluation.client import bearer
from tidegate.services.fleet.access import temporary_key
from tidegate.services.fleet.roles import roles_of
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings

pytestmark = pytest.mark.system
__all__ = ["settings"]

QUESTIONS = 12
REPLICAS = "drafter=2,gateway=2"


def test_a_fleet_with_replicas_answers_at_every_gateway_and_shares_the_work(settings: Settings) -> None:
    environ = {"TIDEGATE_MODELS_DIR": settings.models_dir, "TIDEGATE_METRICS_PORT": "39200"}
    state = ("--state", settings.state_dir)
    fleet = start_tidegate("up", "--sites", "1", "--replicas", REPLICAS, "--json", *state, environ=environ)
    try:
        endpoints = msgspec.json.decode(read_line(fleet))
        gateways = [endpoints["http"]["site1"], *endpoints["more_http"]["site1"]]
        assert len(set(gateways)) == 2
        code, found = status(settings)
        assert (code, found["problems"]) == (0, [])
        processes = {each["name"]: each for each in domain(found, "site1")["processes"]}
        assert {"drafter", "drafter-2", "gateway", "gateway-2"} <= processes.keys()
        assert len({each["metrics_url"] for each in processes.values()}) == len(processes)
        ask(settings, gateways)
        drafters = [processes[name]["metrics_url"] for name in ("drafter", "drafter-2")]
        assert all(done_by(url) > 0 for url in drafters), "each has a share"
    finally:
        fleet.send_signal(signal.SIGINT)
        assert fleet.wait(60) == 130
    until(lambda: not running_below(settings.state_dir))


def ask(settings: Settings, gateways: list[str]) -> None:
    """Ask until each gateway has answered, and there was work for two drafters at once."""
    with temporary_key(settings, "replicas") as key:

        async def one(http: httpx.AsyncClient, number: int) -> None:
            question = {"role": "user", "content": f"What does coin roll number {number} cost?"}
            body = {"model": "tidegate", "messages": [question]}
            reply = await http.post(f"{gateways[number % 2]}/v1/chat/completions", json=body)
            assert reply.status_code == httpx.codes.OK, reply.text

        async def all_at_once() -> None:
            async with httpx.AsyncClient(headers=bearer(key), timeout=60.0, trust_env=False) as http:
                await asyncio.gather(*(one(http, number) for number in range(QUESTIONS)))

        asyncio.run(all_at_once())


def done_by(metrics_url: str) -> float:
    """How many deliveries a process has brought to an end."""
    lines = httpx.get(metrics_url, trust_env=False).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("tidegate_deliveries_total{"))


@pytest.mark.anyio
async def test_a_worker_of_several_processes_is_kept_up_and_ends_as_one(settings: Settings) -> None:
    state = Path(settings.state_dir)
    async with open_fleet(state, ["site1"], roles_of) as servers:
        await declare_fleet(servers, tuple(WORKERS.values()))
        login = nats_of(servers, "site1", "policy")
        environ = {
            "TIDEGATE_MODELS_DIR": settings.models_dir,
            "TIDEGATE_NATS__URL": login.url,
            "TIDEGATE_NATS__NKEY_SEED_FILE": login.nkey_seed_file,
        }
        for number, code in ((signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)):
            await asyncio.to_thread(keep_two_policies, state, environ, number, code)


def keep_two_policies(state: Path, environ: dict[str, str], number: signal.Signals, code: int) -> None:
    arguments = ("worker", "policy", "--site", "site1", "--replicas", "2", "--state", str(state))
    parent = start_tidegate(*arguments, environ=environ)
    try:
        until(lambda: len(ready(state)) == 2, 60.0)
        assert {each["name"] for each in ready(state)} == {"policy", "policy-2"}
        pids = [each["pid"] for each in ready(state)]
        killed = next(each["pid"] for each in ready(state) if each["name"] == "policy-2")
        os.kill(killed, signal.SIGKILL)
        until(lambda: {each["pid"] for each in ready(state)} - {*pids} != set() and len(ready(state)) == 2, 60.0)
        pids = [each["pid"] for each in ready(state)]
    finally:
        parent.send_signal(number)
        ended = parent.wait(60)
    assert ended == code
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def ready(state: Path) -> list[dict[str, Any]]:
    found = []
    for path in (state / "site1" / "ready").glob("policy*"):
        with contextlib.suppress(FileNotFoundError):  # the process has ended since
            found.append(msgspec.json.decode(path.read_bytes()))
    return found
