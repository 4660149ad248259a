"""The whole house as processes, one per stage, with parts of it killed while it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest

from brokers.jetstream import JetStreamHouse
from brokers.settings import Settings
from services.asking import SiteDoors, ask_all
from services.cli.display import Quiet
from services.cli.settings import default_pack
from services.demo import look_up
from services.deployment import Deployment, deployed
from services.packs import load_pack
from services.pipeline import SITE_WORKERS
from services.prepare import prepare_all
from services.tally import Asking, tally

pytestmark = [pytest.mark.anyio, pytest.mark.system]

VICTIMS = [f"site1/{stage.name}" for stage in SITE_WORKERS] + ["hub/cloud-verifier", "site1/gateway", "server site1"]
QUESTIONS_PER_VICTIM = 6
PATIENCE_S = 60.0


@contextlib.asynccontextmanager
async def house(state: Path) -> AsyncIterator[tuple[Deployment, Settings]]:
    settings = Settings(state_dir=str(state), models_dir=".models", pack_dir=str(default_pack()))
    pack = load_pack(default_pack())
    await prepare_all(settings, ["site1"], pack, Quiet())
    async with deployed(settings, ["site1"], per_stage=True) as deployment:
        yield deployment, settings


def kill(deployment: Deployment, victim: str) -> None:
    """SIGKILL, by the id of a process that the deployment itself started."""
    if victim.startswith("server "):
        deployment.servers[victim.removeprefix("server ")].kill()
    else:
        os.kill(deployment.supervisor.children[victim].pid, signal.SIGKILL)


async def test_killing_any_worker_or_the_server_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    questions = load_pack(default_pack()).questions
    step = max(1, len(questions) // (QUESTIONS_PER_VICTIM * len(VICTIMS)))
    picked = questions[::step][: QUESTIONS_PER_VICTIM * len(VICTIMS)]
    async with house(tmp_path) as (deployment, settings), AsyncExitStack() as stack:
        nats = deployment.addresses.sites["site1"]
        site = await stack.enter_async_context(JetStreamHouse.open(nats, "site1"))
        doors = {"site1": SiteDoors(site, deployment.addresses.http["site1"])}
        answered: list[Asking] = []
        victims = iter(VICTIMS)
        killed: list[str] = []

        def told(asking: Asking) -> None:
            answered.append(asking)
            if len(answered) % QUESTIONS_PER_VICTIM == QUESTIONS_PER_VICTIM // 2:
                victim = next(victims)
                asyncio.get_running_loop().call_later(0.01, kill, deployment, victim)  # in the middle of the next
                killed.append(victim)

        askings = await ask_all(picked, doors, tenant="kiosk", budget_ms=20_000, told=told, patience_s=PATIENCE_S)
        for asking in askings:
            await look_up(asking, site, settings.tenants[0])
        counted = tally(askings, dead=0, personal_values_found=0)
        missing = [asking for asking in askings if asking.answers_stored != 1]
        assert killed == VICTIMS[: len(killed)]
        assert len(killed) == len(VICTIMS)
        assert (counted.lost, counted.duplicates) == (0, 0), msgspec.json.encode(missing)
        assert counted.refused == 0, [asking.reply for asking in askings if asking.reply]
