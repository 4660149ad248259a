"""A small site is asked without a pause while its processes, its server, its link and a stream fail, one at a time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.faults import play, report

pytestmark = [pytest.mark.anyio, pytest.mark.system]


async def test_whatever_fails_each_request_is_answered_once_and_the_site_comes_back(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    site = await play(tmp_path, seed, rounds=1)  # which raises what was lost, doubled or did not come back
    print(report(site))
    assert site.recovered_s.keys() == site.faults.keys()
    assert site.ends["dead"] == 5, "the poisoned ones, and no others"
