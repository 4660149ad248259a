"""Several workers of one hub: each escalation costs one call of the model, while they are killed and frozen too."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from loadtests.hub_workers import HubWorkers, open_hub_workers
from tidegate.services.packs.load import load_pack
from tidegate.services.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.system]

EACH = 24
AT_ONCE = 6
FROZEN_S = 4.0
"""Longer than a claim stands."""


async def calls_of(hub: HubWorkers, count: int) -> int:
    """How many verdicts were worked out for so many escalations. Not each takes the model: the reader finds nothing to
    some."""
    before = await hub.counted()
    assert len(await hub.escalate(count, AT_ONCE)) == count
    more = await hub.counted() - before
    assert 0 < more["model calls"] <= more["worked"] + more["taken_over"]
    return more["worked"] + more["taken_over"]


async def test_an_escalation_costs_one_call_with_one_two_and_three_workers_and_while_they_fail(
    settings: Settings,
) -> None:
    questions = [each.text for each in load_pack(Path(settings.pack_dir)).questions if each.kind == "hub"]
    async with open_hub_workers(settings, questions) as hub:
        for count in (1, 2, 3):
            await hub.scale_to(count)
            assert await calls_of(hub, EACH) == EACH
        await while_one_is_frozen(hub)
        await while_one_is_killed(hub)


async def while_one_is_frozen(hub: HubWorkers) -> None:
    before = await hub.counted()
    escalating = asyncio.create_task(hub.escalate(EACH, AT_ONCE))
    await asyncio.sleep(0.2)
    frozen = hub.children[0].pid
    os.kill(frozen, signal.SIGSTOP)
    await asyncio.sleep(FROZEN_S)
    os.kill(frozen, signal.SIGCONT)
    assert len(await escalating) == EACH, "all are answered"
    more = await hub.counted() - before
    assert more["worked"] + more["taken_over"] == EACH
    assert more["fenced"] <= AT_ONCE, "what it had in hand, and nothing else, was worked at twice"


async def while_one_is_killed(hub: HubWorkers) -> None:
    victim = hub.children[1]
    before = await hub.counted()
    escalating = asyncio.create_task(hub.escalate(EACH, AT_ONCE))
    await asyncio.sleep(0.2)
    os.kill(victim.pid, signal.SIGKILL)
    assert len(await escalating) == EACH, "all are answered"
    assert victim.restarts == 1
    more = await hub.counted() - before
    assert more["worked"] + more["taken_over"] <= EACH + AT_ONCE
