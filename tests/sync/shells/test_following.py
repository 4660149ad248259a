"""What is published at the hub is at every site soon, and what a site writes at the hub and at the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sync_fleet import sync_fleet

pytestmark = pytest.mark.anyio


async def test_what_the_hub_publishes_is_at_both_sites_and_an_edit_of_a_site_everywhere(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path) as fleet:
        await fleet.write("hub", {"a": "one", "b": "two"})
        await fleet.agree({"a": "one", "b": "two"})
        await fleet.write("site1", {"b": "three", "c": "four"}, deleted=["a"])
        await fleet.agree({"b": "three", "c": "four"})
        assert ("site2", "kiosk", "notices") in fleet.changed
