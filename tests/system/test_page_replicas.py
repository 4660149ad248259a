"""What a site knows is on its page: as its sync worker says it, in every language, for everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from tests.support.gateway_site import Site, site
from tests.support.page_browser import needs_browser, open_browser, opened
from tests.support.replica_samples import REPLICA_SAMPLES
from tidegate.schemas import ReplicaStatus, encode, subjects
from tidegate.schemas.switch import Switch, SwitchStatus

pytestmark = needs_browser
browser = pytest.fixture(scope="module")(open_browser)
[STATUS] = (sample for sample in REPLICA_SAMPLES if isinstance(sample, ReplicaStatus))
FULL = msgspec.structs.replace(STATUS, rung="full", rung_reason="", is_fenced=False, lease_until_ms=0)


class Worker:
    """The sync worker of a site, which says what it is given."""

    status = STATUS

    async def answer(self, _: bytes) -> bytes:
        return encode(self.status)

    async def serve(self, running: Site) -> None:
        await running.bus.respond(subjects.replica_request("status"), self.answer)


async def test_a_page_shows_what_its_site_knows_and_announces_what_it_may_no_longer(
    browser: Any, tmp_path: Path
) -> None:
    worker = Worker()
    worker.status = FULL
    async with site(tmp_path, http=True, grace_s=0.2) as running, opened(running, browser) as page:
        await expect(page.locator("#link")).to_have_text("Cloud link down")
        await expect(page.locator("#knowledge")).to_be_hidden()
        await worker.serve(running)
        await page.reload()
        await expect(page.get_by_role("heading", name="What this site knows")).to_be_visible()
        row = page.get_by_role("list", name="Collections").get_by_role("listitem")
        await expect(row).to_contain_text("branch-notices")
        await expect(row.locator(".chip")).to_have_text("out of date, 0 sec")
        await expect(row).to_contain_text(
            "generation 412 · documents 812 · behind by 10 · conflicts 1 · not sent yet 2"
        )
        await expect(page.locator("#standing")).to_have_text("LevelfullPolicy epochsdefault 12 (13 offered)")
        switch = SwitchStatus(switch=Switch(tenant="kiosk", class_name="fees", is_on=True, why="a wrong list"), epoch=2)
        worker.status = msgspec.structs.replace(FULL, switches=(switch,))
        await expect(page.locator("#standing")).to_contain_text("Quotations onlykiosk for fees: a wrong list")
        worker.status = STATUS
        await expect(page.locator("#standing dd").first).to_have_text(
            "evidence only: the policy default is 2 days old, fenced"
        )
        await expect(page.get_by_role("status")).to_contain_text("Level: evidence only")
        await expect(page.locator("#standing")).to_contain_text("Lease ends in5 min")


@pytest.mark.parametrize(("scheme", "width"), [("light", 320), ("dark", 1280)])
async def test_it_is_for_everybody_in_every_language(browser: Any, tmp_path: Path, scheme: Any, width: int) -> None:
    async with site(tmp_path, http=True, grace_s=0.2) as running:
        await Worker().serve(running)
        async with opened(running, browser) as page:
            await page.set_viewport_size({"width": width, "height": 900})
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await expect(page.locator("#collections li")).to_be_visible()
            found = await Axe().run(page)
            assert [each["id"] for each in found.response["violations"]] == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            for language, text in {"de": "veraltet, 0 Sek.", "fr": "périmé, 0 s", "es": "desactualizado, 0 s"}.items():
                await page.locator("#language").select_option(language)
                await expect(page.locator("#collections .chip")).to_have_text(text)
