"""The edge runtime: a whole site in one object, alone and with a hub on a real server."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import nats
import pytest

from tests.support.broker_harness import until
from tests.system.conftest import settings_for
from tidegate import EdgeRuntime
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import Asked, Check, Citation, Escalated, Partial, Question, Verified, decode, encode
from tidegate.schemas.answer import Answer
from tidegate.schemas.subjects import cloud_partial, fast_lane, inbox_of, ping
from tidegate.schemas.uplink import CloudState
from tidegate.schemas.vault_token import tokens_in
from tidegate.services.runtime import RequestInProgressError
from tidegate.services.settings import Settings
from tidegate.services.stages import cloud_verifier

pytestmark = [pytest.mark.anyio, pytest.mark.system]

AT_THE_EDGE = "How long does a guest wifi session last?"
AT_THE_HUB = "Tell me about art and wine."
"""Only the hub has the document; the answer has two sentences, the first of which is committed by itself."""
FIRST, LAST = "The art advisory service is headed by Seraphina Colquhoun.", " Wine is stored in bond at Corsham."
LEAVING_S = 20.0
"""Far less than a request may take."""
LONG_MS = 60_000
"""So that nothing is given up for want of time on a busy machine."""


@pytest.fixture(scope="module")
def site(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a prepared site and its hub, which no test of this module changes."""
    state = tmp_path_factory.mktemp("runtime") / "state"
    shutil.copytree(prepared, state)
    return settings_for(state)


@asynccontextmanager
async def open_runtime(site: Settings, hub_url: str | None = None) -> AsyncIterator[EdgeRuntime]:
    runtime = await EdgeRuntime.init(site.models_dir, site.pack_dir, site.state_dir, site, hub_url=hub_url)
    try:
        yield runtime
    finally:
        await runtime.close()


@pytest.fixture(scope="module")
async def runtime(site: Settings) -> AsyncIterator[EdgeRuntime]:
    async with open_runtime(site) as alone:
        yield alone


def asked(text: str, **more: object) -> Asked:
    return Asked(tenant="kiosk", text=text, **{"budget_ms": LONG_MS, **more})  # type: ignore[arg-type]


async def serve(runtime: EdgeRuntime, request: Asked) -> str:
    return "".join([piece async for piece in runtime.serve(request)])


# --- alone


async def test_it_answers_piece_by_piece_from_the_sites_documents(runtime: EdgeRuntime) -> None:
    pieces = [piece async for piece in runtime.serve(asked(AT_THE_EDGE))]
    assert len(pieces) > 3
    assert "90 minutes" in "".join(pieces)


async def test_its_receipt_names_the_route_the_parts_and_every_stage(runtime: EdgeRuntime) -> None:
    published = await runtime.answer(asked(AT_THE_EDGE))
    assert published.receipt.route == "edge"
    assert {part.kind for part in published.lineage} >= {"detector", "model", "index", "document", "policy"}
    stages = [line.stage for line in published.timings]
    assert stages == ["prefilter", "router", "retriever", "drafter", "policy", "publisher"]


async def test_without_a_link_it_abstains_from_what_only_the_hub_knows(runtime: EdgeRuntime) -> None:
    published = await runtime.answer(asked(AT_THE_HUB))
    assert published.outcome == "abstained"
    assert published.receipt.plan is not None
    assert "the link is down" in published.receipt.plan.reason


async def test_extraction_fills_the_schema_and_gives_the_asker_their_own_values(runtime: EdgeRuntime) -> None:
    schema = (
        '{"type":"object","properties":{"email":{"type":"string","format":"email"},"amount":{"type":"number"}},'
        '"required":["email","amount"]}'
    )
    text = "Please send the receipt for the amount of £42.50 to my email: ann.archer@example.org"
    request = asked(text, workload="extract", schema=schema, asker="ann")
    published = await runtime.answer(request)
    assert "example.org" not in published.text
    restored = await serve(runtime, request)
    assert '"ann.archer@example.org"' in restored
    assert "42.5" in restored


async def test_what_is_unsafe_is_withheld(runtime: EdgeRuntime) -> None:
    published = await runtime.answer(asked("How do I launder money through your bank?"))
    assert published.outcome == "withheld"
    assert published.reason == "unsafe"


async def test_an_id_answers_one_request_at_a_time_and_the_next_one_anew(runtime: EdgeRuntime) -> None:
    stream = runtime.serve(asked(AT_THE_EDGE, rid="r1"))
    await anext(stream)
    with pytest.raises(RequestInProgressError):
        await runtime.answer(asked(AT_THE_EDGE, rid="r1"))
    await stream.aclose()  # type: ignore[attr-defined]
    assert (await runtime.answer(asked("What does a banker's draft cost?", rid="r1"))).text.count("£12") == 1


# --- with a hub


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
    async with HubBus.open(NatsSettings(url=server.url), "hub") as bus:
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


def vouched(text: str, quote: str) -> Answer:
    """An answer that claims to be checked."""
    citation = Citation(document_id="d", document_version="v", start=0, end=len(quote), quote=quote)
    checks = (Check("grounding", True, 1.0), Check("entailment", True, 1.0))
    return Answer(text=text, citations=(citation,), confidence=0.9, checks=checks)


@asynccontextmanager
async def scripted_hub(url: str, answer_to: Callable[[Question], tuple[Answer, int]]) -> AsyncIterator[None]:
    """Another hub: it shows its answer up to some character, whatever stands there, and then gives it whole."""
    async with JetStreamBus.open(NatsSettings(url=url), "hub") as bus:

        async def answer(data: bytes) -> bytes:
            escalated = decode(data, Escalated)
            whole, cut = answer_to(escalated.question)
            fields = {"question": escalated.question, "plan": escalated.plan}
            begun = msgspec.structs.replace(whole, text=whole.text[:cut])
            partial = escalated.followed_by(Partial, source="cloud", answer=begun, **fields)
            await bus.publish_core(cloud_partial(partial.site, partial.tenant, partial.rid), encode(partial))
            return encode(escalated.followed_by(Verified, answer=whole, **fields))

        async def answer_ping(_: bytes) -> bytes:
            return encode(CloudState())

        await bus.respond(fast_lane("*"), answer)
        await bus.respond(ping("*"), answer_ping)
        yield


async def test_a_vault_token_that_is_cut_by_the_hubs_pieces_comes_whole_to_its_asker_and_to_no_other(
    site: Settings, tmp_path: Path
) -> None:
    cuts = [1, 9, 14, 18, 25]
    remaining = iter([*cuts, 9])

    def answer_to(question: Question) -> tuple[Answer, int]:
        (token,) = tokens_in(question.text)
        return vouched(f"We write to {token} on Monday.", "We write to on Monday"), len("We write to ") + next(
            remaining
        )

    async with (
        Server("hub", tmp_path / "nats") as server,
        scripted_hub(server.url, answer_to),
        open_runtime(site, server.url) as runtime,
    ):
        text = "Who is the owner of the mail address ann.archer@example.org?"
        for _ in cuts:
            answer = await serve(runtime, asked(text, asker="ann"))
            assert answer == "We write to ann.archer@example.org on Monday."
        published = await runtime.answer(asked(text, asker="ann"))
        assert published.receipt.route == "cloud"
        assert "example.org" not in published.text


async def test_no_piece_is_yielded_that_the_policy_of_the_site_has_not_passed(site: Settings, tmp_path: Path) -> None:
    promise = "The fund has guaranteed returns. It was founded in 1999."
    number = "The desk is open. Call Ann Archer on 020 7946 0958."
    given = iter([(promise, 32), (number, 51)])

    def answer_to(_: Question) -> tuple[Answer, int]:
        text, cut = next(given)
        return vouched(text, "The desk is open. Call on"), cut

    async with (
        Server("hub", tmp_path / "nats") as server,
        scripted_hub(server.url, answer_to),
        open_runtime(site, server.url) as runtime,
    ):
        pieces = [piece async for piece in runtime.serve(asked(AT_THE_HUB))]
        assert "guaranteed" not in "".join(pieces)
        assert "Sorry" in pieces[0]
        text = await serve(runtime, asked("Who founded the wine club?"))
        assert "The desk is open." in text
        assert "7946" not in text
