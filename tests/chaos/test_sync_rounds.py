"""A hub and three sites, their sync workers as processes, under edits, cuts and kills: all hold the same.

The seed is printed; CHAOS_SEED replays it, CHAOS_ROUNDS makes it longer. `python -m tests.chaos.rounds` plays 200."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.chaos_rounds import chaos_rounds
from tests.support.sync_parts import fast_directory

pytestmark = pytest.mark.anyio

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "12"))
HEAL_EVERY = 6


async def test_all_domains_hold_what_was_written_and_nothing_else_whatever_is_cut_or_killed() -> None:
    seed = int(os.environ.get("CHAOS_SEED", time.time_ns() % 1_000_000))
    print(f"CHAOS_SEED={seed}")
    with fast_directory() as directory:
        async with chaos_rounds(Path(directory), seed) as chaos:
            await chaos.run(ROUNDS, HEAL_EVERY)
            assert sum(each.dot is not None for each in chaos.edits.written.attempts) > ROUNDS
            assert sum(chaos.did.values()) > ROUNDS // 2
