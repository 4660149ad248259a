"""Whoever reads every byte that a hub and its sites have written finds no personal value of what they were asked."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from loadtests.personal_requests import personal_requests
from loadtests.personal_scan import SITES, scan, scanned_fleet
from tests.support.prepared_fixtures import filled_settings as settings
from tidegate.schemas import replace
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings

pytestmark = [pytest.mark.system, pytest.mark.anyio]
__all__ = ["settings"]
REQUESTS = 60


async def test_no_byte_that_is_written_holds_a_value_also_when_a_worker_crashes(settings: Settings) -> None:
    requests = list(personal_requests(7, REQUESTS))
    async with scanned_fleet(settings, is_filled=True) as fleet:
        answered = await fleet.ask(requests, crashing="site2")
        running = await asyncio.to_thread(scan, settings, requests, answered)
    found = await asyncio.to_thread(scan, settings, requests, answered)
    assert (running.found, found.found) == ({}, {})
    assert found.answered == REQUESTS
    assert found.in_control == found.values > REQUESTS, "what there is to find is found"
    state = Path(settings.state_dir)
    assert any(b"<EMAIL_" in file.read_bytes() for file in (state / "hub").rglob("*.blk")), "tokens came to the hub"
    for site in SITES:
        with closing(sqlite3.connect(StatePaths(replace(settings, site=site)).vault)) as vault:
            assert vault.execute("SELECT count(*) FROM held").fetchone()[0] > REQUESTS // 3
