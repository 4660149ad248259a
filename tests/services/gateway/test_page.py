"""The page in a real browser: one can ask, watch, read the evidence, by mouse or keyboard, and nothing sent is run."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, async_playwright, expect

from loadtests.link.link import linked
from loadtests.load.stream_client import Client
from tests.support.gateway_site import EMAIL, MARKUP, Site, site
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import CloudState, Delta, encode
from tidegate.schemas.subjects import ping
from tidegate.services.fleet.endpoints import Endpoints, write_endpoints
from tidegate.services.gateway.http.site_info import choose_examples, pipeline_stages
from tidegate.services.packs.load import load_questions
from tidegate.services.pipeline import STAGES
from tidegate.services.streaming.events import DeltaEvent

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
ON_SITE = [stage.name for stage in STAGES if stage.side == "site"]
ANSWER = "Your question has 2 words, and this is the answer to it."


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
    await page.goto(url)
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
        await expect(page.locator("#facts")).to_contain_text("minilm")
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


async def test_the_stages_light_up_while_the_question_is_on_its_way(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        await ask(page, "hold this")
        for stage in ("prefilter", "router", "retriever", "drafter"):
            await expect(page.locator(f"[data-stage={stage}]")).to_have_attribute("data-state", "done")
        await expect(page.locator("[data-stage=publisher]")).to_have_attribute("data-state", "")
        await expect(page.get_by_role("status")).to_have_text("The question was sent.")
        await expect(page.locator("#send")).to_have_attribute("aria-disabled", "true")
        running.may_answer.set()
        await expect(page.locator("[data-stage=publisher]")).to_have_attribute("data-state", "done")
        await expect(page.locator("#send")).to_have_attribute("aria-disabled", "false")


async def test_provisional_committed_and_retracted_text_are_told_apart(running: Site, browser: Any) -> None:
    async with opened(running, browser) as page:
        rid = await ask_and_hold(running, page)
        last = await show(running, rid, "Your question has ", 0, state="committed")
        last = await show(running, rid, "seven words. ", last, offset=18)
        await expect(page.locator("#committed")).to_have_text("Your question has ")
        await expect(page.locator("#provisional")).to_have_text("seven words. ")
        await expect(page.locator("#outcome")).to_have_text("provisional")
        await expect(page.get_by_role("status")).to_have_text("A provisional answer is shown; it may still change.")
        looks = "id => (({ fontStyle, textDecorationLine }) => [fontStyle, textDecorationLine])"
        looks += "(getComputedStyle(document.getElementById(id)))"
        assert await page.evaluate(looks, "provisional") != await page.evaluate(looks, "committed")
        await expect(page.locator("#retracted")).to_be_hidden()
        await show(running, rid, "", last, state="retracted", offset=18, epoch=1)
        await expect(page.locator("#retracted del")).to_have_text("seven words. ")
        await expect(page.locator("#provisional")).to_have_text("")
        await expect(page.get_by_role("status")).to_have_text("The provisional text was taken back.")
        running.may_answer.set()
        await expect(page.locator("#text")).to_have_text(ANSWER)
        await expect(page.locator("#outcome")).to_have_text("answered")
        await expect(page.locator("#retracted del")).to_have_text("seven words. ")
        await ask(page, "and now")
        await expect(page.locator("#retracted")).to_be_hidden()


def random_events(seed: int) -> list[DeltaEvent]:
    """A stream as a gateway may send it: text runs ahead, is committed, and is perhaps taken back once."""
    draw = random.Random(seed)
    text = "".join(draw.choice("a é𝔸🎉\u0301漢 ") for _ in range(draw.randrange(1, 40)))
    events, shown, committed, epoch = [], 0, 0, 0
    while committed < len(text):
        end = draw.randrange(committed + 1, len(text) + 1)
        if epoch == 0 and shown > committed and draw.random() < 0.2:
            events.append(DeltaEvent(id="", state="retracted", offset=committed, epoch=1))
            epoch = 1
        elif epoch == 0 and end > shown and draw.random() < 0.6:
            events.append(DeltaEvent(id="", state="provisional", offset=shown, text=text[shown:end]))
            shown = end
        else:
            events.append(DeltaEvent(id="", state="committed", offset=committed, text=text[committed:end], epoch=epoch))
            committed = end
            shown = max(shown, end) if epoch == 0 else end
    return events


async def test_offsets_are_code_points_as_in_every_other_client(running: Site, browser: Any) -> None:
    streams = [random_events(seed) for seed in range(300)]
    steps = []
    for events in streams:
        client = Client()
        for event in events:
            client.take(event)
            steps.append([client.text, "".join(client.committed)])
    async with opened(running, browser) as page:
        seen = await page.evaluate(
            """async (streams) => {
                 const { ShownText } = await import("/stream.js");
                 return streams.flatMap((events) => {
                   const shown = new ShownText();
                   return events.map((event) => {
                     shown.take(event);
                     return [shown.committed + shown.provisional, shown.committed];
                   });
                 });
               }""",
            [msgspec.to_builtins(events) for events in streams],
        )
    assert seen == steps


@pytest.mark.parametrize("when", ["before anything is shown", "in the middle"])
async def test_a_stream_that_is_cut_goes_on_where_it_was(running: Site, browser: Any, when: str) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    async with linked(host, int(port)) as link:
        url = f"http://127.0.0.1:{link.port}"
        async with opened(running, browser, url, may_break=True) as page:
            cursors: list[str | None] = []
            page.on(
                "request", lambda sent: cursors.append(sent.headers.get("last-event-id")) if sent.post_data else None
            )
            rid = await ask_and_hold(running, page)
            last = 0
            if when == "in the middle":
                last = await show(running, rid, "Your question has ", 0, state="committed")
                await expect(page.locator("#committed")).to_have_text("Your question has ")
            link.cut()
            await expect(page.get_by_role("status")).to_have_text("The connection was lost. Going on where it broke.")
            await show(
                running,
                rid,
                ANSWER[:18] if not last else ANSWER[18:31],
                last,
                state="committed",
                offset=18 if last else 0,
            )
            link.heal()
            await expect(page.locator("#committed")).to_have_text(ANSWER[: 31 if last else 18])
            running.may_answer.set()
            await expect(page.locator("#text")).to_have_text(ANSWER)
            await expect(page.locator("#outcome")).to_have_text("answered")
            assert (cursors[0], cursors[-1]) == (None, "0.18.18" if last else None)
            assert sum(asked.rid == rid for asked in running.asked) == 1, "it was asked a second time"


async def test_a_site_that_is_gone_is_said_to_be_gone_and_nothing_unsure_stays(running: Site, browser: Any) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    async with (
        linked(host, int(port)) as link,
        opened(running, browser, f"http://127.0.0.1:{link.port}", may_break=True) as page,
    ):
        rid = await ask_and_hold(running, page)
        await show(running, rid, "A guess. ", 0)
        await expect(page.locator("#provisional")).to_have_text("A guess. ")
        await page.clock.install()
        link.cut()
        async with asyncio.timeout(20):
            while await page.get_by_role("alert").is_hidden():
                await page.clock.run_for(1000)  # its pauses between tries
        await expect(page.get_by_role("alert")).to_contain_text("The connection was lost.")
        await expect(page.locator("#answer")).to_be_hidden()
        await expect(page.locator("#send")).to_have_attribute("aria-disabled", "false")


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
            assert await page.locator("#sites a").nth(1).get_attribute("href") == f"{other.url}/"
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
