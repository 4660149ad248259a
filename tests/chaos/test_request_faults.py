"""A small site is asked without a pause while its processes, its servers, its link and a stream fail, one at a time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.faults import draw_faults, play, report

pytestmark = [pytest.mark.anyio, pytest.mark.system]

KINDS = 11


@given(st.lists(st.text(), min_size=1, unique=True), st.integers(1, 200), st.integers())
def test_every_kind_is_drawn_as_often_as_any_other_and_a_seed_repeats_the_order(
    kinds: list[str], count: int, seed: int
) -> None:
    drawn = draw_faults(kinds, count, random.Random(seed))
    often = [drawn.count(kind) for kind in kinds]
    assert len(drawn) == count == sum(often)
    assert max(often) - min(often) <= 1
    assert drawn == draw_faults(kinds, count, random.Random(seed))


async def test_whatever_fails_each_request_is_answered_once_and_the_site_comes_back(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    site = await play(tmp_path, seed, faults=KINDS)  # which raises what was lost, doubled or did not come back
    print(report(site))
    assert site.recovered_s.keys() == site.faults.keys()
    assert site.ends["dead"] == 5, "the poisoned ones, and no others"
