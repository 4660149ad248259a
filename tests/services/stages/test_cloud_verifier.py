"""The cloud verifier: one verdict for both lanes, from any backend, and never more than its passages bear out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.support.escalation_hub import WHO, hub, verdict_of, written
from tests.support.escalation_site import HUB_ONLY, at_hub, escalated
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import (
    Accepted,
    Answer,
    Begin,
    Partial,
    Refused,
    RetryLaterError,
    Speculation,
    Verified,
    decode,
    encode,
    replace,
)
from tidegate.schemas.subjects import cloud_partial, ping
from tidegate.schemas.uplink import CloudState
from tidegate.schemas.verification_subjects import fast_lane, verification_session
from tidegate.services.inference import ProviderUnavailableError
from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.knowledge.extraction.field_reader import FieldReader
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.stages import cloud_verifier
from tidegate.services.stages.cloud_verifier.metrics import TargetMetrics
from tidegate.services.stages.settings import CloudVerifierSettings, PrefilterSettings

pytestmark = pytest.mark.anyio

OWN_PATTERN = PrefilterSettings(patterns={"badge": r"BADGE-\d{6}"})
TOKENS = TokenText.load(Path(".models/lm/target/tokenizer.json"))


@pytest.mark.parametrize("backend", ["embedded", "extractive", "openai"])
class TestEveryBackend:
    """What the pipeline may count on, whoever answers."""

    async def test_answers_what_the_hub_knows_with_a_verbatim_citation(self, backend: str) -> None:
        async with hub(backend) as (handle, _, _):
            verified = await verdict_of(handle, written(WHO, backend))
            assert "Philippa Okonjo" in verified.answer.text
            assert verified.answer.confidence >= 0.6
            for citation in verified.answer.citations:
                assert HUB_ONLY.text[citation.start : citation.end] == citation.quote
                assert (citation.document_id, citation.document_version) == ("board", HUB_ONLY.version)
            assert {check.name for check in verified.answer.checks} >= {"grounding", "entailment"}
            assert {part.kind for part in verified.lineage} == {"index", "model", "document"}

    async def test_says_nothing_or_says_it_without_confidence_where_nobody_knows(self, backend: str) -> None:
        async with hub(backend) as (handle, _, _):
            verified = await verdict_of(handle, written("Wieviel wiegt der Jupiter?", backend, language="de"))
            assert verified.answer.text == ""
            assert verified.answer.confidence == 0.0

    async def test_has_nothing_for_a_tenant_that_the_hub_does_not_serve(self, backend: str) -> None:
        async with hub(backend) as (handle, _, _):
            verified = await verdict_of(handle, written(WHO, backend, tenant="stranger"))
            assert verified.answer == Answer(text="")

    async def test_reads_the_fields_of_a_schema_with_the_encoder(self, backend: str) -> None:
        schema = json.dumps({"properties": {"caller": {"type": "string"}}, "required": ["caller"]})
        text = "Rang heute an: Frau Kessler vom Reisebüro Sonnwend."
        asked = written(text, backend, workload="extract", schema=schema, language="de")
        async with hub(backend) as (handle, _, server):
            server.reply = "no JSON"
            verified = await verdict_of(handle, asked)
        reader = FieldReader.load(Path(".models"))
        assert verified.answer.fields == extract(text, schema, "de", reader).fields
        assert verified.answer.fields != extract(text, schema, "de").fields

    async def test_gives_both_lanes_the_same_verdict_and_keeps_the_question_and_plan(self, backend: str) -> None:
        async with hub(backend) as (handle, bus, server):
            asked = written(WHO, backend)
            first = asyncio.create_task(verdict_of(handle, asked))
            asking = (bus.request(fast_lane("site1", "kiosk"), encode(asked), timeout_s=5.0) for _ in range(4))
            fast = [decode(data, Verified) for data in await asyncio.gather(*asking)]
            durable = await first
            assert [replace(verified, timings=()) for verified in fast] == [durable] * 4
            assert [[timing.stage for timing in verified.timings] for verified in fast] == [["cloud-verifier"]] * 4
            assert (durable.question, durable.plan, durable.rid) == (asked.question, asked.plan, asked.rid)
            assert len(server.requests) == (1 if backend == "openai" else 0)

    async def test_says_how_busy_it_is_and_refuses_what_it_cannot_read(self, backend: str) -> None:
        async with hub(backend) as (_, bus, _):
            state = decode(await bus.request(ping("site7"), b"here", timeout_s=1.0), CloudState)
            if backend == "embedded":
                assert (state.verifies_drafts, state.keeps_sessions, state.writes) == (True, True, ())
                assert state.model.startswith("target@")
            else:
                assert state == CloudState(writes=("grounded", "free") if backend == "openai" else None)
            refused = decode(await bus.request(fast_lane("site7", "kiosk"), b"\x81garbage", timeout_s=1.0), Refused)
            assert refused.code == "refused_at_hub"

    async def test_verifies_round_by_round_if_it_says_so_and_else_refuses(self, backend: str) -> None:
        async with hub(backend) as (_, bus, _):
            state = decode(await bus.request(ping("site7"), b"", timeout_s=1.0), CloudState)
            begin = encode(Begin(escalated=escalated(WHO, site="site7"), tokenizer=TOKENS.digest))
            reply = decode(
                await bus.request(verification_session("site7", "kiosk"), begin, timeout_s=30.0),
                Accepted,
                Verified,
                Refused,
            )
            assert isinstance(reply, (Accepted, Verified)) is state.keeps_sessions
            assert state.keeps_sessions or reply.code == "unable"


async def test_what_a_tenant_calls_personal_may_not_come_up() -> None:
    bus = MemoryBus("hub")
    settings = replace(at_hub(CloudVerifierSettings(backend="extractive")), prefilter=OWN_PATTERN)
    async with cloud_verifier.open(settings, bus):
        for text, is_refused in (("Who is BADGE-778812?", True), (WHO, False)):
            data = await bus.request(fast_lane("site1", "kiosk"), encode(escalated(text)), timeout_s=30.0)
            assert isinstance(decode(data, Verified, Refused), Refused) is is_refused


async def test_the_key_from_the_environment_and_temperature_zero_go_with_every_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODEL_KEY", "sesame")
    async with hub("openai", api_key_env="MODEL_KEY") as (handle, _, server):
        await handle(written(WHO))
        assert server.keys == ["Bearer sesame"]
        assert server.requests[0]["temperature"] == 0


async def test_what_a_chat_server_streams_is_shown_to_the_site_before_the_verdict() -> None:
    async with hub("openai") as (handle, bus, server):
        server.reply = "The chief executive is Philippa Okonjo [1]. Philippa Okonjo is the chief executive [1]."
        server.holds_after = len(["The", "chief", "executive", "is", "Philippa", "Okonjo", "[1].", "Philippa"])
        server.refuses = {"max_tokens", "temperature"}
        shown: asyncio.Queue[Partial] = asyncio.Queue()

        async def receive(_: str, data: bytes) -> None:
            shown.put_nowait(decode(data, Partial))

        await bus.listen(cloud_partial("site1", "kiosk", "r1"), receive)
        asking = asyncio.create_task(verdict_of(handle, written(WHO)))
        async with asyncio.timeout(30):
            first = await shown.get()
        assert (first.answer.text, first.source) == ("The chief executive is Philippa Okonjo.", "cloud")
        assert not asking.done()
        server.go_on.set()
        verified = await asking
        assert verified.answer.text == "The chief executive is Philippa Okonjo. Philippa Okonjo is the chief executive."
        last = await shown.get()
        assert last.answer.text == verified.answer.text


@pytest.mark.parametrize("mode", ["wrong", "number"])
async def test_an_answer_that_its_passages_do_not_bear_out_gives_way_to_the_quotation(mode: str) -> None:
    async with hub("openai") as (handle, _, server):
        server.mode = mode
        quoted = await verdict_of(handle, escalated(WHO))
        assert not server.requests
        verified = await verdict_of(handle, written(WHO, rid="r2"))
        assert verified.answer.text == quoted.answer.text
        assert verified.answer.writing is not None
        assert (verified.answer.writing.retried, verified.answer.writing.replaced) == (1, 1)
        assert len(server.requests) == 2


@pytest.mark.parametrize("mode", ["500", "429", "garbage", "slow"])
async def test_a_server_that_cannot_answer_now_is_asked_again_later_and_both_lanes_are_told(mode: str) -> None:
    async with hub("openai", timeout_s=0.2) as (handle, bus, server):
        server.mode = mode
        with pytest.raises(RetryLaterError, match="cannot be reached"):
            await handle(written(WHO))
        data = await bus.request(fast_lane("site1", "kiosk"), encode(written(WHO, rid="r2")), timeout_s=5.0)
        assert decode(data, Refused).code == "unavailable"
        server.mode = "answer"
        assert "Okonjo" in (await verdict_of(handle, written(WHO))).answer.text


async def test_a_server_that_refuses_the_request_is_quoted() -> None:
    async with hub("openai") as (handle, _, server):
        server.mode = "401"
        with pytest.raises(ConnectionError, match="answered 401: no"):
            await handle(written(WHO))


async def test_after_five_failures_the_server_is_left_alone() -> None:
    async with hub("openai") as (handle, _, server):
        server.mode = "500"
        for rid in range(8):
            with pytest.raises(RetryLaterError):
                await handle(written(WHO, rid=f"r{rid}"))
        assert len(server.requests) == 5


async def test_a_backend_without_an_address_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="base_url"):
        async with cloud_verifier.open(at_hub(CloudVerifierSettings(backend="openai")), MemoryBus("hub")):
            pass


def test_what_drafting_costs_and_saves_is_counted() -> None:
    registry = CollectorRegistry()
    metrics = TargetMetrics(registry)
    for _ in range(2):
        metrics.count(Speculation(steps=5, tokens=64, drafted=80, accepted=59, draft_bytes=118))
    counted = {
        sample.name: sample.value for metric in registry.collect() for sample in metric.samples if not sample.labels
    }
    assert counted["tidegate_target_steps_total"] / counted["tidegate_target_answers_total"] == 5
    assert counted["tidegate_target_tokens_total"] == 128
    accepted, wasted = (
        registry.get_sample_value("tidegate_draft_tokens_total", {"result": result})
        for result in ("accepted", "wasted")
    )
    assert (accepted, wasted) == (118, 42)
    assert counted["tidegate_draft_bytes_total"] == 2 * 118


async def test_a_provider_that_this_runtime_has_not_is_refused_by_name() -> None:
    with pytest.raises(ProviderUnavailableError, match="cuda"):
        async with hub("embedded", providers=("cuda",)):
            pass
    async with hub("embedded", providers=("cuda", "cpu")) as (handle, _, _):
        assert (await verdict_of(handle, escalated(WHO))).answer.text
