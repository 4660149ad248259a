"""The page while an answer is made: text that comes, is taken back, or breaks off with the connection."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest
from playwright.async_api import expect

from loadtests.link.link import linked
from loadtests.load.stream_client import Client
from tests.support.gateway_site import Site
from tests.support.page_browser import ask, ask_and_hold, needs_browser, open_browser, opened, page_site, show
from tidegate.services.streaming.events import DeltaEvent

pytestmark = needs_browser
running = pytest.fixture(scope="module")(page_site)
browser = pytest.fixture(scope="module")(open_browser)
ANSWER = "Your question has 2 words, and this is the answer to it."


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
