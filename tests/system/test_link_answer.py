"""An answer whose link is cut when half of it is shown: what stands is the answer, and what comes late is not shown."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from loadtests.bench.race_sites import linked_servers
from loadtests.link.link import Link
from tests.support.completions_server import CompletionsServer
from tests.support.escalation_site import fact, prepared
from tests.support.prompt_contexts import prompt_context
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.dead_letters import list_dead_letters
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.process.lifecycle import resolve
from tidegate.brokers.stage import Stage
from tidegate.brokers.worker import run
from tidegate.schemas import Approved, Committed, Delta, Escalated, Plan, Published, Routed, Verified, decode
from tidegate.schemas.subjects import ANSWERS, HUB, PIPE, TOKENS, VERDICTS, live_answer, live_tokens, subject_of, tokens
from tidegate.services.cli.options import find_default_pack
from tidegate.services.knowledge.reader.compose import compose_answer
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.pipeline import HUB_WORKERS, SITE_WORKERS, WORKERS
from tidegate.services.settings import Settings
from tidegate.services.stages.settings import CloudVerifierSettings
from tidegate.services.streaming.log import AnswerLog

pytestmark = pytest.mark.anyio

SITE = "site1"
RTT_MS = 40.0
BUDGET_MS, PUBLISHERS_MS = 5000, 2000
"""The time is up three seconds after the question was asked."""
PATIENCE_S = 30.0
SHARES = {"retriever": 500.0, "drafter": 500.0, "cloud-verifier": 1500.0, "policy": 500.0, "publisher": 2000.0}
PLAN = Plan(
    where="cloud", may_escalate=True, k=8, model="m", shares_ms=SHARES, config_version="t", reason="r",
    mode="cloud_stream",
)  # fmt: skip


@contextlib.asynccontextmanager
async def at_work(stages: Sequence[Stage], settings: Settings, bus: JetStreamBus) -> AsyncIterator[None]:
    """The stages, as a worker process runs them."""
    drain = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        handlers = [await stack.enter_async_context(resolve(stage)(settings, bus)) for stage in stages]
        running = await stack.enter_async_context(asyncio.TaskGroup())
        for stage, handler in zip(stages, handlers, strict=True):
            running.create_task(run(stage, handler, bus, drain, 2.0))
        try:
            yield
        finally:
            drain.set()


@dataclass
class Scene:
    """A site, the link to its hub, and the model that the hub asks."""

    site: JetStreamBus
    link: Link
    model: CompletionsServer

    async def log(self, rid: str) -> list[Delta]:
        return [decode(data, Delta) for _, data in await self.site.read(TOKENS, tokens("kiosk", rid))]

    async def stands(self, rid: str) -> Committed:
        return AnswerLog.from_lines(await self.log(rid), rid, "kiosk").committed_part


@contextlib.asynccontextmanager
async def scene(state: Path, settings: Settings) -> AsyncIterator[Scene]:
    async with contextlib.AsyncExitStack() as stack:
        servers, links = await stack.enter_async_context(linked_servers(state, [SITE]))
        await declare_fleet(servers, tuple(WORKERS.values()))
        links[SITE].set(rtt_ms=RTT_MS)
        model = CompletionsServer(CausalLM(Path(".models/lm/target")), offers={"chat"})
        await stack.enter_async_context(model.serving())
        cloud = CloudVerifierSettings(backend="completions", base_url=model.url, model="m")
        hub = await stack.enter_async_context(JetStreamBus.open(servers.hub.nats, HUB))
        at_hub = msgspec.structs.replace(settings, site=HUB, cloud_verifier=cloud)
        await stack.enter_async_context(at_work(HUB_WORKERS, at_hub, hub))
        site = await stack.enter_async_context(JetStreamBus.open(servers.sites[SITE].nats, SITE))
        own = [stage for stage in SITE_WORKERS if stage.name not in {"prefilter", "router"}]
        await stack.enter_async_context(at_work(own, settings, site))
        yield Scene(site, links[SITE], model)


def state_of(directory: Path, *, same: bool) -> Settings:
    """A prepared site and its hub, which knows the documents of the site, or none but its own."""
    shutil.copytree(prepared().state_dir, directory)
    if same:
        shutil.rmtree(directory / HUB)
        shutil.copytree(directory / SITE, directory / HUB)
    return msgspec.structs.replace(prepared(), state_dir=str(directory), pack_dir=str(find_default_pack()))


async def heard(site: JetStreamBus, subject: str) -> asyncio.Queue[bytes]:
    """What is sentences under it from now on."""
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(_: str, data: bytes) -> None:
        queue.put_nowait(data)

    await site.listen(subject, receive)
    return queue


def routed(text: str, rid: str) -> Routed:
    now_ms = int(time.time() * 1000)
    times = {"asked_at_ms": now_ms, "deadline_at_ms": now_ms + BUDGET_MS}
    return fact(Routed, text, plan_=PLAN, rid=rid, can_retract=True, **times)


async def cut_in_mid_answer(on: Scene, text: str, settings: Settings) -> tuple[Published, str]:
    """Ask, cut the link as soon as the hub's first sentence is committed at the site, and wait for the answer."""
    at_hub = prompt_context(text, msgspec.structs.replace(settings, site=HUB))
    chosen = at_hub.reading.selected
    assert len(chosen) > 1, "there must be something to cut"
    number_of = {unit.span: number for number, unit in enumerate(at_hub.passages, start=1)}
    sentences = [f"[{number_of[unit.span]}] {unit.plain_text}" for unit in chosen]
    on.model.says = " ".join(sentences)
    on.model.holds_after = len(sentences[0].split(" ")) + 2  # the next mark ends a sentence, and a word the mark
    lines = await heard(on.site, live_tokens("kiosk", "r1"))
    answers = await heard(on.site, live_answer("kiosk", "r1"))
    await on.site.publish(routed(text, "r1"), id="r1.routed", headers={})
    async with asyncio.timeout(PATIENCE_S):
        first = decode(await lines.get(), Delta)
        on.link.cut()
        assert (first.state, first.is_last) == ("committed", False)
        # of a list the line that introduces it: an entry, which has no end mark, is shown with the next one
        assert first.text.strip() in (begun := compose_answer(chosen[:1]).text, begun.splitlines()[0])
        on.model.go_on.set()
        published = decode(await answers.get(), Published)
    assert published.receipt.committed_chars == len(first.text)
    return published, at_hub.reading.answer.text


async def late_verdict(on: Scene, rid: str) -> Verified:
    """The link is whole again: the verdict of the durable lane, once the publisher has had it."""
    on.link.heal()
    asked = Escalated(
        rid=rid, tenant="kiosk", site=SITE, asked_at_ms=1, deadline_at_ms=2, reason="planned",
        question=prompt_context().question, plan=PLAN,
    )  # fmt: skip
    late = asked.followed_by(Verified, question=asked.question, plan=PLAN, answer=prompt_context().reading.answer)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            verdict = await on.site.last(VERDICTS, subject_of(late, HUB))
            approved = await on.site.last(PIPE, f"pipe.kiosk.approved.{rid}")
            is_judged = approved is not None and decode(approved, Approved).route == "cloud"
            if verdict is not None and is_judged and not await on.site.pending(WORKERS["publisher"]):
                return decode(verdict, Verified)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Who is the chief executive of the bank, and when was she appointed?", False),
        ("What do I need to bring to open an account?", True),
    ],
    ids=["the edge knows no more", "the edge goes on"],
)
async def test_a_link_that_is_cut_in_mid_answer_leaves_one_answer_and_a_late_verdict_no_second(
    tmp_path: Path, text: str, same: bool
) -> None:
    settings = state_of(tmp_path / "state", same=same)
    async with scene(tmp_path / "nats", settings) as on:
        published, whole = await cut_in_mid_answer(on, text, settings)
        receipt = published.receipt
        assert (published.outcome, receipt.finished_by, receipt.is_cut) == ("answered", "edge", not same)
        lost = receipt.degradations[-1]
        assert (lost.stage, lost.level) == ("fast-lane", "edge_only")
        assert "cannot be reached" in lost.reason
        assert published.citations
        assert {cited.quote for cited in published.citations} <= {
            quoted.quote
            for quoted in prompt_context(text, msgspec.structs.replace(settings, site=HUB)).reading.answer.citations
        }
        if same:
            assert (published.text, receipt.route) == (whole, "edge")
            assert receipt.checks[-1].name == "continuation"
        else:
            assert (published.reason, whole.startswith(published.text)) == ("cloud_unreachable", True)
            assert {cited.document_id for cited in published.citations} == {"board"}
            assert {"target", "m"} & {part.id for part in receipt.lineage}
        before = await on.log("r1")
        assert before[-1].is_last
        assert (await late_verdict(on, "r1")).answer.text == whole
        assert await on.log("r1") == before
        assert (await on.stands("r1")).text == published.text
        stored = await on.site.read(ANSWERS, subject_of(published, SITE))
        assert [decode(data, Published) for _, data in stored] == [published]
        assert await list_dead_letters(on.site.link.client) == []
