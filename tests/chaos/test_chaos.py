"""Everything as processes, one per stage or one per site, with parts of it killed while it is asked."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.services.evaluation.client import SiteClient, ask_all, read_facts
from tidegate.services.evaluation.report import ClientRun, summarise_runs
from tidegate.services.fleet.access import temporary_key
from tidegate.services.fleet.deployment import Deployment, deploy
from tidegate.services.packs.load import load_pack
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.system]

APART = [f"site1/{stage.name}" for stage in SITE_WORKERS] + ["hub/cloud-verifier", "site1/gateway", "server site1"]
TOGETHER = ["site1/all", "server site1", "site1/all", "hub/all", "site1/all"]
"""Where a site is one process its stages hand over to each other what they store."""
QUESTIONS_PER_VICTIM = 6
WITHIN_S = 0.06
"""About as long as an answer takes: the kill comes somewhere in the middle of the next one."""


def kill(deployment: Deployment, victim: str) -> None:
    """SIGKILL, by the id of a process that the deployment itself started."""
    if victim.startswith("server "):
        deployment.servers[victim.removeprefix("server ")].kill()
    else:
        os.kill(deployment.supervisor.children[victim].pid, signal.SIGKILL)


@pytest.mark.parametrize("victims", [APART, TOGETHER], ids=["apart", "together"])
async def test_killing_any_worker_or_the_server_loses_nothing_and_doubles_nothing(
    settings: Settings, victims: list[str]
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    questions = list(load_pack(Path(settings.pack_dir)).questions)
    picked = chance.sample(questions, QUESTIONS_PER_VICTIM * len(victims))
    async with deploy(settings, ["site1"], per_stage=victims is APART) as deployment, AsyncExitStack() as stack:
        site = await stack.enter_async_context(JetStreamBus.open(deployment.endpoints.sites["site1"], "site1"))
        access_key = stack.enter_context(temporary_key(settings, "chaos"))
        clients = {"site1": SiteClient(site, deployment.endpoints.http["site1"], access_key)}
        answered: list[ClientRun] = []
        killed: list[str] = []

        def on_answer(run: ClientRun) -> None:
            answered.append(run)
            if len(answered) % QUESTIONS_PER_VICTIM == QUESTIONS_PER_VICTIM // 2:
                killed.append(victims[len(killed)])
                asyncio.get_running_loop().call_later(chance.uniform(0, WITHIN_S), kill, deployment, killed[-1])

        runs = await ask_all(picked, clients, tenant="kiosk", budget_ms=20_000, on_answer=on_answer, patience_s=60.0)
        for run in runs:
            await read_facts(run, site, settings.tenants[0])
        restarts = sum(child.restarts for child in deployment.supervisor.children.values())
    counted = summarise_runs(runs, dead=0, personal_values_found=0)
    wrong = [run for run in runs if run.answers_stored != 1 or run.reply is None]
    assert killed == victims
    assert restarts >= len(victims) - 1, "every killed worker was started again"
    assert (counted.lost, counted.duplicates, counted.refused) == (0, 0, 0), wrong
