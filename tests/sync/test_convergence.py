"""One hub and three sites, 200 rounds of everything that goes wrong: afterwards all hold the same, and nothing is lost.

`TIDEGATE_SEED=<seed>` replays a run; the seed of a failed one is in its message."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.support.sync_chaos import NAME, Chaos
from tests.support.sync_chaos_model import expect, held, refer
from tests.support.sync_parts import fast_directory
from tidegate.sync.rules.merkle import build

SEED = os.environ.get("TIDEGATE_SEED")
SEEDS = [int(SEED)] if SEED else [1, *(random.SystemRandom().randrange(1 << 32) for _ in range(3))]


@pytest.mark.parametrize("which", range(len(SEEDS)))  # by number: workers collect the same names
def test_all_replicas_converge_and_nothing_is_lost_or_resurrected(which: int) -> None:
    seed = SEEDS[which]
    print(f"TIDEGATE_SEED={seed}")
    with fast_directory() as path:
        chaos = Chaos(Path(path), seed)
        asyncio.run(chaos.run(200))
        asyncio.run(chaos.heal())
        check(chaos, seed)


def check(chaos: Chaos, seed: int) -> None:
    print(chaos.did)
    reference, expected = refer(chaos), expect(chaos)
    assert chaos.hub.store.record(NAME).checksum.digest == reference, f"the hub; TIDEGATE_SEED={seed}"
    assert held(chaos, chaos.hub) == expected, f"TIDEGATE_SEED={seed}"
    for site in chaos.sites.values():
        assert site.checksum() == reference, f"{site.name}; TIDEGATE_SEED={seed}"
        assert set(site.texts()) <= {each for each, tokens in expected.items() if live(chaos, tokens)}
        with site.store.reading() as reader:
            assert reader.pending() == ()
            assert reader.tree(NAME).digest == build(reader.digests(NAME)).digest


def live(chaos: Chaos, tokens: set[str]) -> bool:
    return any(not chaos.edits[token].is_deletion for token in tokens)
