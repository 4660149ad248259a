"""The page in a real browser: one can ask, watch, read the evidence, and nothing that was sent is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.support.gateway_site import EMAIL, MARKUP, Site, site
from tests.support.page_browser import ask, needs_browser, open_browser, opened, page_site
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import CloudState, encode
from tidegate.schemas.subjects import ping
from tidegate.services.fleet.endpoints import Endpoints, write_endpoints
from tidegate.services.gateway.http.site_info import choose_examples, pipeline_stages
from tidegate.services.packs.load import load_questions
from tidegate.services.pipeline import STAGES

pytestmark = needs_browser
running = pytest.fixture(scope="module")(page_site)
browser = pytest.fixture(scope="module")(open_browser)
ON_SITE = [stage.name for stage in STAGES if stage.side == "site"]


async def test_a_question_is_answered_with_evidence_receipt_and_the_way_it_took(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await ask(page, "When do you open?")
        await expect(page.locator("#text")).to_have_text("Your question has 4 words, and this is the answer to it.")
        await expect(page.locator("#outcome")).to_have_text("answered")
        await expect(page.locator("#route")).to_have_text("on site")
        await expect(page.locator("#citations q")).to_have_text("The branch opens at nine.")
        await expect(page.locator("#citations cite")).to_contain_text("hours@abc")
        assert await page.locator("#stages .name").all_inner_texts() == [stage.name for stage in pipeline_stages()]
        done = page.locator("#stages li[data-state=done]")
        assert [await row.locator(".name").inner_text() for row in await done.all()] == ON_SITE
        for row in await done.all():
            assert re.fullmatch(r"[\d.]+ ms", await row.locator(".ms").inner_text())
        await expect(page.locator("[data-stage=cloud-verifier] .ms")).to_have_text("not needed")
        assert (
            sum([(await bar.bounding_box() or {"width": 0})["width"] for bar in await page.locator(".bar span").all()])
            > 100
        )
        await page.get_by_text("Receipt", exact=True).click()
        await expect(page.locator("#facts")).to_contain_text("multilingual")
        await expect(page.get_by_role("status")).to_contain_text("answered, on site")


async def test_a_cloud_answer_names_the_lane_that_it_came_by(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await ask(page, "escalate this")
        await expect(page.locator("#route")).to_have_text("cloud")
        await expect(page.locator("[data-stage=fast-lane]")).to_have_attribute("data-state", "done")
        assert re.fullmatch(r"[\d.]+ ms", await page.locator("[data-stage=fast-lane] .ms").inner_text())
        await expect(page.locator("[data-stage=cloud-verifier] .ms")).to_have_text("by fast-lane")


async def test_a_stage_that_the_page_never_heard_of_is_shown_with_its_time(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await page.evaluate(
            """async () => (await import("/stages.js")).showTimings([
                 { stage: "prefilter", waited_ms: 1, worked_ms: 2 },
                 { stage: "polisher", waited_ms: 3, worked_ms: 4 }])"""
        )
        await expect(page.locator("[data-stage=polisher] .ms")).to_have_text("7 ms")


TABLES: dict[str, tuple[list[tuple[str, str]], str, list[list[str]]]] = {
    "a row with its header": (
        [("a", "| Who | Fee |"), ("a", "| Firms | 2.5% |")],
        "Firms – Fee: 2.5%",
        [["Who: Firms; Fee: 2.5%."]],
    ),
    "no outer bars": ([("a", "Who | Fee"), ("a", "Firms | free")], "Firms – Fee: free", [["Who: Firms; Fee: free."]]),
    "two tables of two documents": (
        [("a", "|A|B|"), ("b", "|C|D|"), ("a", "|1|2|"), ("b", "|3|4|")],
        "1 – B: 2\n3 – D: 4",
        [["A: 1; B: 2."], ["C: 3; D: 4."]],
    ),
    "two tables of one document": (
        [("a", "|A|B|"), ("a", "|1|2|"), ("a", "|C|D|"), ("a", "|3|4|")],
        "1 – B: 2\n3 – D: 4",
        [["A: 1; B: 2."], ["C: 3; D: 4."]],
    ),
    "rows without a header are no header": (
        [("a", "| Firms | 2.5% |"), ("a", "| Children | free |")],
        "Firms pay 2.5%, children nothing.",
        [["Firms, 2.5%."], ["Children, free."]],
    ),
    "an empty cell and an escaped bar": (
        [("a", "|Who||Note|"), ("a", r"|x \| y|5||")],
        "x | y – 5",
        [["Who: x | y; 5."]],
    ),
    "a whole table in one quote": (
        [("a", "The fees:\n\n| Who | Fee |\n|:---|---:|\n| Firms | 1 |\n| Clubs | 0 |")],
        "Firms pay 1.",
        [["The fees:", "Who: Firms; Fee: 1.", "Who: Clubs; Fee: 0."]],
    ),
    "prose": ([("a", "The branch opens at nine.")], "At nine.", [["The branch opens at nine."]]),
}


async def test_a_cited_row_is_a_sentence(running: Site, browser: Any) -> None:
    cases = [
        [[{"document_id": name, "quote": quote} for name, quote in quotes], text] for quotes, text, _ in TABLES.values()
    ]
    async with opened(running, browser) as page:
        found = await page.evaluate(
            """async (cases) => {
                 const { linesOf } = await import("/citations.js");
                 return cases.map(([citations, text]) => linesOf(citations, text).map(({ lines }) => lines));
               }""",
            cases,
        )
    assert dict(zip(TABLES, found, strict=True)) == {name: lines for name, (_, _, lines) in TABLES.items()}


async def test_the_sources_of_a_table_are_shown_without_bars(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await ask(page, "table of fees")
        quotes = page.locator("#citations q")
        await expect(quotes).to_have_text(
            ["Who: Business customers; Fee: 2.5% | net.", "Who: Children; Fee: free; Note: up to 18."]
        )
        await expect(page.locator("#record")).to_contain_text("| Who | Fee | Note |")
        await expect(page.locator("#facts")).to_contain_text("Reduceddrafter: fewer_passages, deadline")


async def test_an_example_of_the_pack_is_asked_with_one_click(running: Site, browser: Any) -> None:
    pack = load_questions(Path(running.settings.pack_dir))
    async with opened(running, browser) as page:
        examples = page.locator("#examples button")
        await expect(examples).to_have_text(list(choose_examples(pack, "en").questions))
        question = await examples.nth(1).inner_text()
        await examples.nth(1).click()
        await expect(page.get_by_label("Your question")).to_have_value(question)
        await expect(page.locator("#outcome")).to_have_text("answered")


async def test_another_site_is_one_click_away(running: Site, browser: Any, tmp_path: Path) -> None:
    async with site(tmp_path, http=True, grace_s=0.2) as other, opened(running, browser) as page:
        await expect(page.locator("#sites a")).to_have_text(["site1"])
        http = {"site1": running.url, "site2": other.url}
        path = Path(running.settings.state_dir) / "fleet.json"
        write_endpoints(running.settings, Endpoints(pid=1, hub=NatsSettings(), sites={}, http=http))
        try:
            await page.reload()
            await expect(page.locator("#sites a")).to_have_text(["site1", "site2"])
            await expect(page.locator("#sites a[aria-current=page]")).to_have_text("site1")
            href = await page.locator("#sites a").nth(1).get_attribute("href")
            assert href == f"{other.url}/#key={running.access_keys['kiosk']}"
        finally:
            path.unlink()


async def test_the_state_of_the_link_is_shown_and_a_change_announced(browser: Any, tmp_path: Path) -> None:
    async def answer(_: bytes) -> bytes:
        return encode(CloudState())

    async with site(tmp_path, http=True, grace_s=0.2) as running, opened(running, browser) as page:
        await expect(page.locator("#link")).to_have_text("Cloud link down")
        await running.bus.respond(ping("site1"), answer)
        await expect(page.locator("#link")).to_have_text(re.compile(r"Cloud link up, [\d.]+ ms"))
        await expect(page.get_by_role("status")).to_contain_text("Cloud link up")


async def test_what_is_answered_is_text_and_never_markup(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await ask(page, "markup please")
        await expect(page.locator("#text")).to_have_text(MARKUP)
        await expect(page.locator("#citations q")).to_have_text(MARKUP)
        assert await page.title() == "Tidegate · site1"
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
