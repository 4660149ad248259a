"""The cloud verifier: one verdict for both lanes, from any backend, and never more than its passages bear out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tests.support.chat_server import ModelServer
from tests.support.escalation_site import HUB_ONLY, at_hub, escalated
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.stage import Handler
from tidegate.schemas import (
    Accepted,
    Answer,
    Begin,
    Escalated,
    Message,
    Passage,
    Refused,
    RetryLaterError,
    Speculation,
    Verified,
    decode,
    encode,
    replace,
)
from tidegate.schemas.subjects import fast_lane, ping, verification_session
from tidegate.schemas.uplink import CloudState
from tidegate.services.answering.citations import check_citations
from tidegate.services.llm.targets.openai_compatible.circuit_breaker import CircuitBreaker
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.stages import cloud_verifier
from tidegate.services.stages.cloud_verifier.metrics import TargetMetrics
from tidegate.services.stages.settings import CloudVerifierSettings
from tidegate.services.uplink.single_flight import SingleFlight

pytestmark = pytest.mark.anyio

TOKENS = TokenText.load(Path(".models/lm/target/tokenizer.json"))
WHO = "Who is the chief executive of the bank?"


@asynccontextmanager
async def hub(backend: str, **more: object) -> AsyncIterator[tuple[Handler, MemoryBus, ModelServer]]:
    bus = MemoryBus("hub")
    async with ModelServer().serving() as server:
        cloud = CloudVerifierSettings(backend=backend, base_url=server.url, model="echo", **more)  # type: ignore[arg-type]
        async with cloud_verifier.open(at_hub(cloud), bus) as handle:
            yield handle, bus, server


async def verdict_of(handle: Handler, fact: Escalated) -> Verified:
    (verified,) = await handle(fact)
    assert isinstance(verified, Verified)
    return verified


@pytest.mark.parametrize("backend", ["embedded", "extractive", "openai"])
class TestEveryBackend:
    """What the pipeline may count on, whoever answers."""

    async def test_answers_what_the_hub_knows_with_a_verbatim_citation(self, backend: str) -> None:
        async with hub(backend) as (handle, _, _):
            verified = await verdict_of(handle, escalated(WHO))
            assert "Philippa Okonjo" in verified.answer.text
            assert verified.answer.confidence >= 0.6
            for citation in verified.answer.citations:
                assert HUB_ONLY.text[citation.start : citation.end] == citation.quote
                assert (citation.document_id, citation.document_version) == ("board", HUB_ONLY.version)
            assert {check.name for check in verified.answer.checks} >= {"grounding", "entailment"}
            assert {part.kind for part in verified.lineage} == {"index", "model", "document"}

    async def test_says_nothing_or_says_it_without_confidence_where_nobody_knows(self, backend: str) -> None:
        async with hub(backend) as (handle, _, _):
            verified = await verdict_of(handle, escalated("Wieviel wiegt der Jupiter?", language="de"))
            assert verified.answer.text == ""
            assert verified.answer.confidence == 0.0

    async def test_has_nothing_for_a_tenant_that_the_hub_does_not_serve(self, backend: str) -> None:
        async with hub(backend) as (handle, _, _):
            verified = await verdict_of(handle, escalated(WHO, tenant="stranger"))
            assert verified.answer == Answer(text="")

    async def test_gives_both_lanes_the_same_verdict_and_keeps_the_question_and_plan(self, backend: str) -> None:
        async with hub(backend) as (handle, bus, server):
            asked = escalated(WHO)
            first = asyncio.create_task(verdict_of(handle, asked))
            asking = (bus.request(fast_lane("site1"), encode(asked), timeout_s=5.0) for _ in range(4))
            fast = [decode(data, Verified) for data in await asyncio.gather(*asking)]
            durable = await first
            assert [replace(verified, timings=()) for verified in fast] == [durable] * 4
            assert [[timing.stage for timing in verified.timings] for verified in fast] == [["cloud-verifier"]] * 4
            assert (durable.question, durable.plan, durable.rid) == (asked.question, asked.plan, asked.rid)
            assert len(server.requests) == (1 if backend == "openai" else 0)

    async def test_says_how_busy_it_is_and_refuses_what_it_cannot_read(self, backend: str) -> None:
        async with hub(backend) as (_, bus, _):
            state = decode(await bus.request(ping("site7"), b"here", timeout_s=1.0), CloudState)
            assert state == CloudState(verifies_drafts=backend == "embedded", keeps_sessions=backend == "embedded")
            refused = decode(await bus.request(fast_lane("site7"), b"\x81garbage", timeout_s=1.0), Refused)
            assert refused.code == "unreadable"

    async def test_verifies_round_by_round_if_it_says_so_and_else_refuses(self, backend: str) -> None:
        async with hub(backend) as (_, bus, _):
            state = decode(await bus.request(ping("site7"), b"", timeout_s=1.0), CloudState)
            begin = encode(Begin(escalated=escalated(WHO), tokenizer=TOKENS.digest))
            reply = decode(
                await bus.request(verification_session("site7"), begin, timeout_s=30.0), Accepted, Verified, Refused
            )
            assert isinstance(reply, (Accepted, Verified)) is state.keeps_sessions
            assert state.keeps_sessions or reply.code == "unable"


async def test_the_key_from_the_environment_and_temperature_zero_go_with_every_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODEL_KEY", "sesame")
    async with hub("openai", api_key_env="MODEL_KEY") as (handle, _, server):
        await handle(escalated(WHO))
        assert server.keys == ["Bearer sesame"]
        assert server.requests[0]["temperature"] == 0


@pytest.mark.parametrize("mode", ["uncited", "wrong", "number"])
async def test_an_answer_that_its_passages_do_not_bear_out_has_no_confidence(mode: str) -> None:
    async with hub("openai") as (handle, _, server):
        server.mode = mode
        verified = await verdict_of(handle, escalated(WHO))
        assert verified.answer.text
        assert verified.answer.confidence == 0.0


@pytest.mark.parametrize("mode", ["500", "429", "garbage", "slow"])
async def test_a_server_that_cannot_answer_now_is_asked_again_later_and_both_lanes_are_told(mode: str) -> None:
    async with hub("openai", timeout_s=0.2) as (handle, bus, server):
        server.mode = mode
        with pytest.raises(RetryLaterError, match="cannot be reached"):
            await handle(escalated(WHO))
        data = await bus.request(fast_lane("site1"), encode(escalated(WHO, rid="r2")), timeout_s=5.0)
        assert decode(data, Refused).code == "unavailable"
        server.mode = "answer"
        assert "Okonjo" in (await verdict_of(handle, escalated(WHO))).answer.text


async def test_a_server_that_refuses_the_request_is_quoted() -> None:
    async with hub("openai") as (handle, _, server):
        server.mode = "401"
        with pytest.raises(ConnectionError, match="answered 401: no"):
            await handle(escalated(WHO))


async def test_after_five_failures_the_server_is_left_alone() -> None:
    async with hub("openai") as (handle, _, server):
        server.mode = "500"
        for rid in range(8):
            with pytest.raises(RetryLaterError):
                await handle(escalated(WHO, rid=f"r{rid}"))
        assert len(server.requests) == 5


async def test_a_backend_without_an_address_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="base_url"):
        async with cloud_verifier.open(at_hub(CloudVerifierSettings(backend="openai")), MemoryBus("hub")):
            pass


def test_a_breaker_opens_rests_tries_once_and_closes() -> None:
    now_s = [0.0]
    breaker = CircuitBreaker(failures=2, rest_s=10.0, clock=lambda: now_s[0])

    def fail() -> None:
        with pytest.raises(OSError), breaker.call(OSError):  # noqa: PT011 the error that is thrown in the block
            raise OSError

    fail()
    assert breaker.state == "closed"
    with pytest.raises(ValueError), breaker.call(OSError):  # noqa: PT011 not a failure of the other party
        raise ValueError
    fail()
    assert breaker.state == "open"
    with pytest.raises(RetryLaterError) as raised, breaker.call(OSError):
        pass
    assert raised.value.after_s == 10.0
    now_s[0] = 10.0
    assert breaker.state == "half-open"
    with breaker.call(OSError), pytest.raises(RetryLaterError), breaker.call(OSError):
        pass
    assert breaker.state == "closed"
    fail()
    fail()
    now_s[0] = 20.0
    fail()
    assert breaker.state == "open"


class Counting:
    """A verifier that counts its calls and can be made to fail."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None

    async def __call__(self, fact: Escalated) -> list[Message]:
        self.calls += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        answer = Answer(text=f"{fact.tenant} {self.calls}")
        return [fact.followed_by(Verified, question=fact.question, plan=fact.plan, answer=answer)]


async def test_a_request_is_computed_once_and_a_failure_is_not_remembered() -> None:
    verify = Counting()
    flight = SingleFlight(verify)
    verify.error = RetryLaterError("not now", 1.0)
    outcomes = await asyncio.gather(*(flight.verdict(escalated("q")) for _ in range(3)), return_exceptions=True)
    assert outcomes == [verify.error] * 3
    verify.error = None
    first = await flight.verdict(escalated("q"))
    assert await flight.verdict(escalated("q")) is first
    assert verify.calls == 2


async def test_nobody_is_given_a_verdict_by_guessing_an_id() -> None:
    flight = SingleFlight(Counting())
    mine = await flight.verdict(escalated("q"))
    for other in (escalated("q", tenant="other"), escalated("q", site="site2"), escalated("another")):
        assert await flight.verdict(other) is not mine


async def test_only_the_last_verdicts_are_remembered() -> None:
    verify = Counting()
    flight = SingleFlight(verify, remembered=2)
    for rid in ("a", "b", "c", "a"):
        await flight.verdict(escalated("q", rid=rid))
    assert verify.calls == 4


async def test_a_lane_that_gives_up_does_not_end_the_work_of_the_other() -> None:
    verify = Counting()
    flight = SingleFlight(verify)
    impatient = asyncio.create_task(flight.verdict(escalated("q")))
    await asyncio.sleep(0)
    impatient.cancel()
    assert len(await flight.verdict(escalated("q"))) == 1
    assert verify.calls == 1


PASSAGE = Passage(
    document_id="d", document_version="v", title="Fees", text="A draft costs £12. It is paid at once.", language="en",
    start=100, end=138, score=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("output", "question", "confidence", "quotes"),
    [
        ("A draft costs £12 [1].", "", 1.0, ["A draft costs £12."]),
        ("It is paid at once [1].", "", 1.0, ["It is paid at once."]),
        ("A draft costs £13 [1].", "", 0.0, ["A draft costs £12."]),
        ("For 5 drafts: a draft costs £12 [1].", "What do 5 drafts cost?", 0.8, ["A draft costs £12."]),
        ("A draft costs £12.", "", 0.0, []),
        ("A draft costs £12 [2].", "", 0.0, []),
        ("A draft costs £12 [1][2].", "", 0.0, ["A draft costs £12."]),
        ("NONE", "", 0.0, []),
        ("none.", "", 0.0, []),
        ("", "", 0.0, []),
    ],
)
def test_what_a_model_says_is_believed_as_far_as_it_is_borne_out(
    output: str, question: str, confidence: float, quotes: list[str]
) -> None:
    answer = check_citations(output, [PASSAGE], question)
    assert answer.confidence == confidence
    assert [citation.quote for citation in answer.citations] == quotes
    for citation in answer.citations:
        assert PASSAGE.text[citation.start - 100 : citation.end - 100] == citation.quote
    assert "[" not in answer.text


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
