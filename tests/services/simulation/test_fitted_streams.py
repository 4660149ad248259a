"""A profile of what the streams of a site hold that answers on a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nats
import pytest

from tests.support.gateway_site import ask, asked, site
from tidegate.services.cli.sim_capacity import read_run
from tidegate.services.simulation.profile import fit_profile

pytestmark = pytest.mark.anyio


async def test_a_site_s_streams_say_what_its_requests_are_like_and_weigh(tmp_path: Path) -> None:
    async with site(tmp_path, server=True, grace_s=0.2) as running:
        for number in range(22):
            await ask(running, asked("escalate this" if number % 2 else "answer this"))
        bus: Any = running.bus
        client = await nats.connect(bus.link.client.connected_url.netloc)
        try:
            answers, weights = await read_run(client, running.bus.domain)
        finally:
            await client.close()
    profile = fit_profile(answers, 2, weights)
    assert (len(answers), len(profile.samples), profile.are_bytes_measured) == (22, 11, True)
    assert 200 < profile.up_bytes < 5000 > profile.down_bytes > 200
    stages = {step.stage for sample in profile.samples for step in sample.steps}
    assert stages >= {"prefilter", "router", "retriever", "drafter", "policy", "publisher"}
    assert profile.live is not None
    assert profile.live.arrivals_ms[0] == 0.0
