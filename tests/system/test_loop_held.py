"""No request holds a site's event loop for long: while it does, every other request waits."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.timed_site import open_timed_site, time_requests, varied_requests
from tidegate.services.cli.options import find_default_pack
from tidegate.services.packs.load import load_pack
from tidegate.services.settings import Settings

pytestmark = pytest.mark.system

MOST_MS = 5.0
CHARS = 4000
OUTCOMES = {"answered", "abstained", "withheld", "text_too_long"}


def test_no_callback_of_a_working_site_takes_longer_than_five_milliseconds(settings: Settings) -> None:
    """Of the processor: what else the machine does, and what waits for other threads, does not count."""
    pack = load_pack(find_default_pack())

    async def ask() -> None:
        async with open_timed_site(settings) as site:
            await time_requests(site, varied_requests(pack, 100, seed=0))  # what is loaded at first use is loaded
            outcomes, slow = await time_requests(site, varied_requests(pack, CHARS))
            assert set(outcomes) == OUTCOMES, "every kind of outcome"
            assert not [each for each in slow if each.took_ms > MOST_MS]

    asyncio.run(ask())
