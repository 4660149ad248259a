"""A site with its page, and a real browser that must find no fault with it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.support.gateway_site import Site, site
from tidegate.schemas import Delta

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


async def page_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with site(tmp_path_factory.mktemp("site"), http=True, server=True, grace_s=0.2) as running:
        yield running


async def open_browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    async with async_playwright() as playwright:
        profile = tmp_path_factory.mktemp("profile")
        context = await playwright.chromium.launch_persistent_context(
            profile, executable_path=BROWSER, args=FLAGS, locale="en-GB", timeout=20_000
        )
        context.set_default_timeout(20_000)
        expect.set_options(timeout=20_000)
        yield context
        await context.close()


@asynccontextmanager
async def opened(running: Site, browser: Any, url: str = "", *, may_break: bool = False) -> AsyncIterator[Page]:
    """The page, which must neither fail a script, nor break its own policy, nor fetch from anywhere else.

    `url`: where it is reached, if not directly; `may_break`: the network does.
    """
    running.may_answer.clear()
    url = url or running.url
    page = await browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("request", lambda sent: None if sent.url.startswith((url, "data:")) else faults.append(sent.url))
    await page.goto(f"{url}/#key={running.access_keys['kiosk']}")
    await expect(page.locator("#stages li").first).to_be_visible()
    await page.locator("#budget").select_option("60000")  # on a busy machine a stage may take seconds
    yield page
    allowed = ("status of 4", "status of 5", *(["net::ERR"] if may_break else []))
    expected = [fault for fault in faults if not any(text in fault for text in allowed)]
    await page.close()
    assert expected == []


async def ask(page: Page, question: str) -> None:
    await page.get_by_label("Your question").fill(question)
    await page.get_by_role("button", name="Ask", exact=True).click()


async def ask_and_hold(running: Site, page: Page) -> str:
    """Ask what is answered only once `may_answer` is set; the request's id."""
    while not running.arrivals.empty():
        running.arrivals.get_nowait()
    await ask(page, "wait here")
    return (await running.arrivals.get()).rid


async def show(running: Site, rid: str, text: str, after: int, **fields: Any) -> int:
    """Write a line of the log of what is shown."""
    return await running.bus.append(
        Delta(rid=rid, tenant="kiosk", text=text, **{"state": "provisional", **fields}), after=after
    )


needs_browser = [
    pytest.mark.anyio,
    pytest.mark.skipif(BROWSER is None, reason="no browser on PATH; infra/bin/browser says how to get one"),
]
