"""The cloud verifier over models that are brought: they write where the plan allows it, each sentence judged."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.completions_server import CompletionsServer
from tests.support.escalation_hub import WHO, hub, verdict_of, written
from tests.support.escalation_site import at_hub, escalated
from tests.support.foreign_models import save_foreign
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.infra.models.export.directory import export as export_directory
from tidegate.schemas import (
    Draft,
    Partial,
    decode,
    replace,
)
from tidegate.schemas.subjects import cloud_partial, ping
from tidegate.schemas.uplink import CloudState
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.stages import cloud_verifier
from tidegate.services.stages.settings import CloudVerifierSettings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("chats", [True, False], ids=["chat", "completions"])
async def test_a_completions_server_with_a_model_of_its_own_writes_where_the_plan_allows_it(chats: bool) -> None:
    async with hub("completions", chats=chats) as (handle, bus, server):
        state = decode(await bus.request(ping("site7"), b"", timeout_s=1.0), CloudState)
        assert (state.writes, state.verifies_drafts) == (("quote", "grounded", "free"), False)
        assert state.writes_own_words
        server.reply = "NONE"
        quoted = await verdict_of(handle, escalated(WHO))
        assert "agreement" in {check.name for check in quoted.answer.checks}
        server.requests.clear()
        server.reply = "The chief executive is Philippa Okonjo [1]."
        shown: asyncio.Queue[Partial] = asyncio.Queue()

        async def receive(_: str, data: bytes) -> None:
            shown.put_nowait(decode(data, Partial))

        await bus.listen(cloud_partial("site1", "kiosk", "r2"), receive)
        own = await verdict_of(handle, written(WHO, rid="r2"))
        assert own.answer.text == "The chief executive is Philippa Okonjo."
        assert own.answer.writing is not None
        assert (own.answer.writing.mode, own.answer.writing.replaced) == ("grounded", 0)
        assert (await shown.get()).answer.text == own.answer.text
        assert [("messages" in request, "prompt" in request) for request in server.requests] == [(chats, not chats)]
        server.reply = "The chief executive is Philippa Okonjo since 1999 [1]."
        wrong = await verdict_of(handle, written(WHO, rid="r3"))
        assert "1999" not in wrong.answer.text
        assert wrong.answer.writing is not None
        assert (wrong.answer.writing.retried, wrong.answer.writing.replaced) == (1, 1)


async def test_a_completions_server_with_our_own_model_can_only_quote_and_says_so() -> None:
    async with CompletionsServer(CausalLM(Path(".models/lm/target"))).serving() as server:
        cloud = CloudVerifierSettings(backend="completions", base_url=server.url, model="target")
        bus = MemoryBus("hub")
        async with cloud_verifier.open(at_hub(cloud), bus) as handle:
            state = decode(await bus.request(ping("site7"), b"", timeout_s=1.0), CloudState)
            assert (state.writes, state.verifies_drafts, state.writes_own_words) == (("quote",), True, False)
            answer = (await verdict_of(handle, written(WHO))).answer
            assert "Philippa Okonjo" in answer.text
            assert (answer.writing, "agreement" in {check.name for check in answer.checks}) == (None, True)


async def test_a_foreign_directory_writes_where_the_plan_allows_it_and_what_it_gets_wrong_is_quoted(
    tmp_path: Path,
) -> None:
    """Its weights are random: nothing that it says may stand, and the report says so."""
    export_directory(save_foreign(tmp_path, "qwen3"), tmp_path, "int8")
    async with hub("embedded", model=str(tmp_path), threads=1) as (handle, bus, _):
        asked = escalated(WHO)
        quoted = await verdict_of(handle, asked)
        assert quoted.answer.writing is None
        assert "model" not in {part.kind for part in quoted.lineage if part.id == tmp_path.name}
        written = await verdict_of(handle, replace(asked, rid="r2", plan=replace(asked.plan, writing="grounded")))
        report = written.answer.writing
        assert report is not None
        assert (report.mode, report.sentences, report.replaced) == ("grounded", 1, 1)
        assert report.faults
        assert written.answer.text == quoted.answer.text
        assert tmp_path.name in {part.id for part in written.lineage if part.kind == "model"}
        state = decode(await bus.request(ping("site7"), b"", timeout_s=1.0), CloudState)
        assert (state.verifies_drafts, state.keeps_sessions, state.writes) == (True, False, ("grounded", "free"))
        assert state.model.startswith(f"{tmp_path.name}@")
        assert written.answer.speculation is not None
        assert written.answer.speculation.model == state.model
        shipped = replace(asked, rid="r3", draft=Draft(ids=(9,), tokenizer="none", text="Philippa Okonjo"))
        for fact in (shipped, replace(shipped, rid="r4", tenant="stranger")):
            in_vain = (await verdict_of(handle, fact)).answer.speculation
            assert in_vain is not None, "a draft was shipped, and no model was called"
            assert (in_vain.steps, in_vain.model, in_vain.draft_bytes > 0) == (0, state.model, True)
