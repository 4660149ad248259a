"""The page for everybody: four languages, the keyboard alone, axe-core, small screens, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.support.gateway_site import NOTICE, Site
from tests.support.message_parts import REPLICATED
from tests.support.page_browser import ask, ask_and_hold, needs_browser, open_browser, opened, page_site, show
from tidegate.services.gateway.http.site_info import choose_examples
from tidegate.services.languages.words import say_recognised, say_source
from tidegate.services.packs.load import load_questions

pytestmark = needs_browser
running = pytest.fixture(scope="module")(page_site)
browser = pytest.fixture(scope="module")(open_browser)


async def test_the_page_speaks_four_languages_and_leaves_no_text_out(running: Site, browser: Any) -> None:
    pack = load_questions(Path(running.settings.pack_dir))
    async with opened(running, browser) as page:
        await ask(page, "hello you")
        await expect(page.locator("#outcome")).to_have_text("answered")
        texts = await page.evaluate("import('/texts.js').then(({ TEXTS }) => TEXTS)")
        assert set(texts) == {"en", "de", "fr", "es"}
        for language in ("de", "fr", "es", "en"):
            own = texts[language]
            assert set(own) == set(texts["en"]), f"a text is missing, or too many, in {language}"
            assert all(own.values())
            await page.locator("#language").select_option(language)
            await expect(page.locator("html")).to_have_attribute("lang", language)
            shown = await page.locator("[data-text]").evaluate_all(
                "all => all.map(n => [n.dataset.text, n.textContent])"
            )
            assert shown
            assert all(text == own[key] for key, text in shown)
            await expect(page.locator("#outcome")).to_have_text(own["answered"])
            await expect(page.locator("[data-stage=cloud-verifier] .ms")).to_have_text(own["unneeded"])
            await expect(page.locator("#examples button")).to_have_text(list(choose_examples(pack, language).questions))


async def test_a_source_says_in_each_language_that_it_was_recognised_in_a_picture(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await ask(page, "When do you open?")
        await expect(page.locator("#citations cite")).to_have_text(["hours@abc 0–25"])
        await ask(page, "scan of the hours")
        texts = await page.evaluate("import('/texts.js').then(({ TEXTS }) => TEXTS)")
        for language, own in texts.items():
            await page.locator("#language").select_option(language)
            await expect(page.locator("#citations cite")).to_have_text(
                [f"hours@abc {own['page']} 2, {own['recognised']}"]
            )
            assert own["recognised"] == say_recognised(language), "the page and the command line say the same"


async def test_a_source_says_in_each_language_who_signed_it_and_that_it_may_be_old(running: Site, browser: Any) -> None:
    signer = str(REPLICATED["signer"])
    async with opened(running, browser) as page:
        await ask(page, "stale hours")
        texts = await page.evaluate("import('/texts.js').then(({ TEXTS }) => TEXTS)")
        for language, own in texts.items():
            await page.locator("#language").select_option(language)
            shown = say_source(language, signer, is_fresh=False)
            await expect(page.locator("#citations cite")).to_have_text([f"hours@abc 0–25, {', '.join(shown)}"])
            assert [own["signed"].replace("{who}", signer), own["aged"]] == shown, "as the command line says it"


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


async def test_what_is_related_is_offered_by_its_title_and_opened_by_keyboard(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await ask(page, "abstain from this")
        await expect(page.locator("#outcome")).to_have_text("no answer")
        await expect(page.get_by_role("heading", name="Related, not vouched for")).to_be_visible()
        first = page.locator("#suggestions li").first
        await expect(first.locator("summary")).to_have_text("Coins · Counter")
        await expect(first.locator("blockquote")).to_be_hidden()
        await first.locator("summary").focus()
        await page.keyboard.press("Enter")
        await expect(first.locator("blockquote")).to_have_text("At the counter\nForeign coins are not exchanged.")
        await page.keyboard.press("Tab")
        second = page.locator("#suggestions summary").nth(1)
        await expect(second).to_be_focused()
        await expect(second).to_have_text("Fees · page 4 · recognised in an image; characters may be misread")
        await ask(page, "When do you open?")
        await expect(page.locator("#outcome")).to_have_text("answered")
        await expect(page.locator("#related")).to_be_hidden()


async def test_what_policies_oblige_to_say_stands_below_the_answer_and_is_read_aloud(
    running: Site, browser: Any
) -> None:
    async with opened(running, browser) as page:
        await ask(page, "notice the lobby")
        await expect(page.locator("#notices")).to_have_text(NOTICE)
        await expect(page.locator("[aria-live]").filter(has_text=NOTICE)).to_have_count(1)
        assert await violations(page) == []
        await ask(page, "When do you open?")
        await expect(page.locator("#outcome")).to_have_text("answered")
        await expect(page.locator("#notices")).to_be_hidden()


async def violations(page: Page) -> list[str]:
    """What axe-core finds, by rule and element."""
    found = await Axe().run(page)
    return [f"{each['id']}: {node['target']}" for each in found.response["violations"] for node in each["nodes"]]


@pytest.mark.parametrize(("scheme", "width"), [("light", 320), ("dark", 1280)])
async def test_axe_finds_nothing_at_any_moment(running: Site, browser: Any, scheme: Any, width: int) -> None:
    async with opened(running, browser) as page:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        await expect(page.locator("#examples")).to_be_visible()
        assert await violations(page) == []
        rid = await ask_and_hold(running, page)
        last = await show(running, rid, "Your question has ", 0, state="committed")
        last = await show(running, rid, "a guess in it. ", last, offset=18)
        await expect(page.locator("#provisional")).to_have_text("a guess in it. ")
        assert await violations(page) == []
        await show(running, rid, "", last, state="retracted", offset=18, epoch=1)
        running.may_answer.set()
        await expect(page.locator("#outcome")).to_have_text("answered")
        for summary in await page.locator("summary").all():
            await summary.click()
        assert await violations(page) == []
        await ask(page, "escalate this")
        await expect(page.locator("#route")).to_have_text("cloud")
        assert await violations(page) == []
        await ask(page, "withhold this")
        await expect(page.locator("#outcome")).to_have_text("withheld")
        assert await violations(page) == []
        await ask(page, "abstain from this")
        await expect(page.locator("#related")).to_be_visible()
        for summary in await page.locator("#suggestions summary").all():
            await summary.click()
        assert await violations(page) == []
        await ask(page, "Restore <EMAIL_0123456789ab>")
        await expect(page.get_by_role("alert")).to_contain_text("vault token")
        assert await violations(page) == []


@pytest.mark.parametrize("width", [320, 1280])
async def test_it_fits_the_screen_in_the_light_and_in_the_dark(running: Site, browser: Any, width: int) -> None:
    async with opened(running, browser) as page:
        await page.set_viewport_size({"width": width, "height": 800})
        grounds = set()
        schemes: tuple[Any, ...] = ("light", "dark")
        for scheme in schemes:
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            grounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
        await ask(page, "long answer please")
        await expect(page.locator("#outcome")).to_have_text("answered")
        assert len(grounds) == 2
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_a_page_without_a_key_asks_for_one_and_keeps_it_out_of_the_address(running: Site, browser: Any) -> None:
    page = await browser.new_page()
    await page.goto(running.url)
    await expect(page.get_by_label("This site needs an access key")).to_be_focused()
    await page.get_by_label("This site needs an access key").fill(running.access_keys["kiosk"])
    await page.get_by_role("button", name="Use it").click()
    await expect(page.locator("#stages li").first).to_be_visible()
    await page.reload()
    await expect(page.locator("#stages li").first).to_be_visible()
    await page.goto(f"{running.url}/#key=wrong")
    await page.reload()
    await expect(page.get_by_label("This site needs an access key")).to_be_visible()
    assert "key" not in page.url
    await page.close()
