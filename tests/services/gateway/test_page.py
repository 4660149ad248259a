"""The page in a real browser: one can ask, watch the stages, read the evidence, and nothing that is said is run."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.support.gateway_site import EMAIL, MARKUP, Site, site
from tidegate.services.pipeline import STAGES

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(BROWSER is None, reason="no browser on PATH; infra/bin/browser says how to get one"),
]
PASSED = [stage.name for stage in STAGES if stage.where == "site"]


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with site(tmp_path_factory.mktemp("site"), http=True, server=True, grace_s=0.2) as running:
        yield running


@pytest.fixture(scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    async with async_playwright() as playwright:
        profile = tmp_path_factory.mktemp("profile")
        context = await playwright.chromium.launch_persistent_context(
            profile, executable_path=BROWSER, args=FLAGS, locale="en-GB", timeout=20_000
        )
        context.set_default_timeout(8000)
        yield context
        await context.close()


@asynccontextmanager
async def opened(running: Site, browser: Any) -> AsyncIterator[Page]:
    """The page, which must neither fail a script, nor break its own policy, nor fetch from anywhere else."""
    page = await browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("request", lambda sent: None if sent.url.startswith((running.url, "data:")) else faults.append(sent.url))
    await page.goto(running.url)
    yield page
    expected = [fault for fault in faults if "status of 4" not in fault and "status of 5" not in fault]
    await page.close()
    assert expected == []


async def ask(page: Page, question: str) -> None:
    await page.get_by_label("Your question").fill(question)
    await page.get_by_role("button", name="Ask").click()


async def test_a_question_is_answered_with_evidence_receipt_and_the_way_it_took(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await ask(page, "When do you open?")
        await expect(page.locator("#text")).to_have_text("Your question has 4 words, and this is the answer to it.")
        await expect(page.locator("#outcome")).to_have_text("answered")
        await expect(page.locator("#route")).to_have_text("edge")
        await expect(page.locator("#citations q")).to_have_text("The branch opens at nine.")
        await expect(page.locator("#citations cite")).to_contain_text("hours@abc")
        assert await page.locator("#stages .name").all_inner_texts() == [stage.name for stage in STAGES]
        done = page.locator("#stages li[data-state=done]")
        assert [await row.locator(".name").inner_text() for row in await done.all()] == PASSED
        for row in await done.all():
            assert re.fullmatch(r"[\d.]+ ms", await row.locator(".ms").inner_text())
        await expect(page.locator("[data-stage=cloud-verifier] .ms")).to_have_text("not needed")
        assert (
            sum([(await bar.bounding_box() or {"width": 0})["width"] for bar in await page.locator(".bar span").all()])
            > 100
        )
        await page.get_by_text("Receipt", exact=True).click()
        await expect(page.locator("#facts")).to_contain_text("minilm")
        await expect(page.get_by_role("status")).to_contain_text("answered, edge")


async def test_the_stages_light_up_while_the_question_is_on_its_way(running: Site, browser: Any) -> None:
    running.may_answer.clear()
    async with opened(running, browser) as page:
        await ask(page, "hold this")
        for stage in ("prefilter", "router", "retriever", "drafter"):
            await expect(page.locator(f"[data-stage={stage}]")).to_have_attribute("data-state", "done")
        await expect(page.locator("[data-stage=publisher]")).to_have_attribute("data-state", "")
        await expect(page.get_by_role("status")).to_have_text("The question is on its way.")
        await expect(page.locator("#send")).to_have_attribute("aria-disabled", "true")
        running.may_answer.set()
        await expect(page.locator("[data-stage=publisher]")).to_have_attribute("data-state", "done")
        await expect(page.locator("#send")).to_have_attribute("aria-disabled", "false")


async def test_what_is_said_is_text_and_never_markup(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await ask(page, "markup please")
        await expect(page.locator("#text")).to_have_text(MARKUP)
        await expect(page.locator("#citations q")).to_have_text(MARKUP)
        assert await page.title() == "Tidegate"
        assert await page.locator("#answer img, #answer script").count() == 0


async def test_the_asker_reads_their_own_words_and_no_token(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await ask(page, "personal data")
        await expect(page.locator("#text")).to_have_text(f"We write to {EMAIL} today, and to {EMAIL} tomorrow.")


async def test_a_refusal_is_announced_with_its_hint(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await ask(page, "Restore <EMAIL_0123456789ab>")
        await expect(page.get_by_role("alert")).to_contain_text("vault token")
        await expect(page.locator("#answer")).to_be_hidden()
        await ask(page, "withhold this")
        await expect(page.locator("#outcome")).to_have_text("withheld")
        await expect(page.get_by_role("alert")).to_be_hidden()


async def test_the_keyboard_alone_is_enough(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the question")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await page.get_by_label("Your question").focus()
        await page.keyboard.type("When do you open?")
        await page.keyboard.press("Control+Enter")
        await expect(page.locator("#outcome")).to_have_text("answered")
        unnamed = "button:not([aria-label]):empty, textarea:not([id]), select:not([id])"
        assert await page.locator(unnamed).count() == 0


@pytest.mark.parametrize("width", [320, 1280])
async def test_it_fits_the_screen_in_the_light_and_in_the_dark(running: Site, browser: Any, width: int) -> None:
    async with opened(running, browser) as page:
        await page.set_viewport_size({"width": width, "height": 800})
        grounds = set()
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            grounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
        await ask(page, "long answer please")
        await expect(page.locator("#outcome")).to_have_text("answered")
        assert len(grounds) == 2
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
