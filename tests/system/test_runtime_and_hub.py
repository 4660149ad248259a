"""The edge runtime with a hub on a real server: what it asks there, and what becomes of it when either goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import nats
import pytest

from tests.support.broker_harness import until
from tests.support.edge_runtime import AT_THE_EDGE, AT_THE_HUB, asked, open_runtime, serve
from tidegate import EdgeRuntime
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas.subjects import inbox_of, ping
from tidegate.services.settings import Settings
from tidegate.services.stages import cloud_verifier

pytestmark = [pytest.mark.anyio, pytest.mark.system]

FIRST, LAST = "The art advisory service is headed by Seraphina Colquhoun.", " Wine is stored in bond at Corsham."
"""The answer to `AT_THE_HUB`."""
LEAVING_S = 20.0
"""Far less than a request may take."""


class HubBus(JetStreamBus):
    """The hub's bus over a slow line: what comes after the first sentence waits until the test lets it go."""

    line_is_free = asyncio.Event()

    async def publish_core(self, subject: str, data: bytes) -> None:
        await super().publish_core(subject, data)
        if subject.startswith("cloud."):
            await self.line_is_free.wait()


@asynccontextmanager
async def open_hub(server: Server, site: Settings) -> AsyncIterator[asyncio.Event]:
    """A hub as it is deployed, but for its line; the event says that the line is free."""
    async with HubBus.open(server.nats, "hub") as bus:
        assert isinstance(bus, HubBus)
        bus.line_is_free = asyncio.Event()
        async with cloud_verifier.open(msgspec.structs.replace(site, site="hub"), bus):
            yield bus.line_is_free


class Linked(NamedTuple):
    """A runtime and its hub."""

    runtime: EdgeRuntime
    server: Server
    line_is_free: asyncio.Event


@asynccontextmanager
async def open_linked(site: Settings, directory: Path) -> AsyncIterator[Linked]:
    async with (
        Server("hub", directory) as server,
        open_hub(server, site) as line_is_free,
        open_runtime(site, server.url) as runtime,
    ):
        yield Linked(runtime, server, line_is_free)


@pytest.fixture(scope="module")
async def shared(site: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Linked]:
    async with open_linked(site, tmp_path_factory.mktemp("nats")) as linked:
        yield linked


@pytest.fixture
def linked(shared: Linked) -> Linked:
    """The runtime and its hub, whose line is not free."""
    shared.line_is_free.clear()
    return shared


async def test_the_hub_answers_what_only_it_knows_and_the_receipt_names_its_part(linked: Linked) -> None:
    linked.line_is_free.set()
    published = await linked.runtime.answer(asked(AT_THE_HUB))
    assert published.text == FIRST + LAST
    assert published.receipt.route == "cloud"
    assert [line.stage for line in published.timings] == [
        "prefilter", "router", "retriever", "drafter", "cloud-verifier", "fast-lane", "policy", "publisher"
    ]  # fmt: skip
    assert {line.stage: line.worked_ms for line in published.timings}["cloud-verifier"] > 0
    assert (await linked.runtime.answer(asked(AT_THE_EDGE))).receipt.route == "edge"


async def test_the_first_piece_comes_before_the_last_is_made(linked: Linked) -> None:
    text = ""
    async for piece in linked.runtime.serve(asked(AT_THE_HUB)):
        text += piece
        if text == FIRST:  # the hub has not answered yet: its line is not free
            assert not linked.line_is_free.is_set()
            linked.line_is_free.set()
    assert linked.line_is_free.is_set(), "the first sentence never came alone"
    assert text == FIRST + LAST


def at_work() -> list[str]:
    """The work on requests that goes on in this process, at the runtime."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name == "EdgeRuntime._process"]


async def is_at_work() -> bool:
    return bool(at_work())


async def test_who_leaves_in_mid_answer_leaves_nothing_running(linked: Linked) -> None:
    stream = linked.runtime.serve(asked(AT_THE_HUB))
    await anext(stream)
    assert at_work()
    async with asyncio.timeout(LEAVING_S):
        await stream.aclose()  # type: ignore[attr-defined]
    assert not at_work()
    reading = asyncio.create_task(serve(linked.runtime, asked(AT_THE_HUB)))
    await until(is_at_work)
    reading.cancel()
    _, waiting = await asyncio.wait([reading], timeout=LEAVING_S)
    assert not waiting
    assert not at_work()
    linked.line_is_free.set()
    assert await serve(linked.runtime, asked(AT_THE_HUB)) == FIRST + LAST


async def test_concurrent_requests_get_each_its_own_answer(linked: Linked) -> None:
    linked.line_is_free.set()
    questions = [AT_THE_HUB, AT_THE_EDGE, "What does a banker's draft cost?", "How do I bake a cake?"]
    expected = [await serve(linked.runtime, asked(question)) for question in questions]
    assert len(set(expected)) == len(questions)
    answers = await asyncio.gather(*(serve(linked.runtime, asked(question)) for question in questions * 3))
    assert answers == expected * 3


async def test_a_hub_that_is_killed_in_mid_answer_leaves_what_was_committed_and_a_runtime_that_goes_on(
    site: Settings, tmp_path: Path
) -> None:
    async with open_linked(site, tmp_path / "nats") as linked:
        text = ""
        async for piece in linked.runtime.serve(asked(AT_THE_HUB, budget_ms=8000)):
            text += piece
            if text == FIRST:
                await asyncio.to_thread(linked.server.kill)
        assert text == FIRST
        assert "90 minutes" in await serve(linked.runtime, asked(AT_THE_EDGE))
        linked.line_is_free.set()


async def test_a_hub_that_is_not_there_yet_is_asked_as_soon_as_it_is(site: Settings, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with Server("hub", tmp_path / "nats") as server:
            url = server.url  # a server keeps its port
        runtime = await stack.enter_async_context(open_runtime(site, url))
        assert (await runtime.answer(asked(AT_THE_HUB))).outcome == "abstained"
        server = await stack.enter_async_context(Server("hub", tmp_path / "nats"))
        (await stack.enter_async_context(open_hub(server, site))).set()

        async def is_answered() -> bool:
            return (await runtime.answer(asked(AT_THE_HUB))).text == FIRST + LAST

        await until(is_answered)


async def test_a_runtime_logs_in_with_its_sites_nkey_and_speaks_for_that_site_only(
    site: Settings, tmp_path: Path
) -> None:
    async with open_fleet(tmp_path, ["site1", "site2"]) as fleet, open_hub(fleet.hub, site) as line_is_free:
        line_is_free.set()
        login = NatsSettings(url=fleet.hub.url, nkey_seed_file=str(fleet.leaf_credential("site1").seed_file))
        with_login = msgspec.structs.replace(site, nats=login)
        async with open_runtime(with_login, fleet.hub.url) as runtime:
            assert await serve(runtime, asked(AT_THE_HUB)) == FIRST + LAST
        refused: asyncio.Queue[Exception] = asyncio.Queue()
        client = await nats.connect(
            login.url, nkeys_seed=login.nkey_seed_file, inbox_prefix=inbox_of("site1"), error_cb=refused.put
        )
        assert await client.request(ping("site1"), timeout=5.0)
        await client.publish(ping("site2"))
        assert "cloud.site2.ping" in str(await asyncio.wait_for(refused.get(), 5.0))
        await client.close()
