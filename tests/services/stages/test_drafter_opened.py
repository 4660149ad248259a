"""The drafter as a site opens it: what it reads, ships and extracts, how fast it is, and whom it leaves."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.escalation_site import escalated, plan, prepared, retrieved, routed
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import (
    Accepted,
    Answer,
    Degradation,
    Drafted,
    Escalated,
    Message,
    Partial,
    Passage,
    Refused,
    Retrieved,
    UnreadableError,
    Verified,
    decode,
    encode,
)
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.knowledge.extraction.field_reader import FieldReader
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.llm.site_model import SiteModel
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.settings import Settings
from tidegate.services.stages import drafter, retriever
from tidegate.services.stages.drafter.handler import levels_of
from tidegate.services.stages.drafter.latency import DrafterLatency, Stopwatch
from tidegate.services.stages.settings import DrafterSettings
from tidegate.services.uplink.verification_client import ProposeTokens, SessionLostError, VerificationClient
from tidegate.sync.trust.identity import IdentityFile, SiteIdentity

pytestmark = pytest.mark.anyio

RACE = msgspec.structs.replace(plan(), mode="race", show_from=0.3, draft_length=8)


async def test_a_site_answers_what_its_documents_say_and_asks_the_hub_what_only_the_hub_knows() -> None:
    bus = MemoryBus("site1")
    async with retriever.open(prepared(), bus) as retrieve, drafter.open(prepared(), bus) as answer:
        for text, kind in (
            ("What does a banker's draft cost?", Drafted),
            ("Who is the chief executive of the bank?", Escalated),
        ):
            (found,) = await retrieve(routed(text))
            (outcome,) = await answer(found)
            assert type(outcome) is kind, text
        (found,) = await retrieve(routed("What does a banker's draft cost?"))
        (drafted,) = await answer(found)
        assert isinstance(drafted, Drafted)
        assert "£12" in drafted.answer.text
        assert [part.kind for part in drafted.lineage] == ["index", "model", "document"]
        named = {*(check.name for check in drafted.answer.checks), *drafted.answer.not_run}
        assert named >= {"grounding", "entailment", "policy"}, "the verifier has looked at it, or says that it has not"


async def test_nothing_is_read_by_the_cross_encoder_where_the_time_for_it_was_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []
    original = UnitReader.read_in_turn

    def observed(self: UnitReader, question: str, *more: Any) -> Generator[dict[tuple[str, int], float], None, None]:
        read.append(question)
        return original(self, question, *more)

    monkeypatch.setattr(UnitReader, "read_in_turn", observed)
    given_up = Degradation("drafter", "no_rerank", 5.0, 50.0)
    bus = MemoryBus("site1")
    async with retriever.open(prepared(), bus) as retrieve, drafter.open(prepared(), bus) as answer:
        for degradations, is_read in (((), True), ((given_up,), False)):
            for text in ("Do I bring anything?", "Do you take foreign money?", "When are you shut?"):
                (found,) = await retrieve(routed(text))
                await answer(msgspec.structs.replace(found, degradations=degradations))
            assert bool(read) is is_read
            read.clear()


async def test_what_a_provisioned_site_escalates_says_which_process_of_which_incarnation_asks(tmp_path: Path) -> None:
    shutil.copytree(prepared().state_dir, tmp_path / "state")
    settings = msgspec.structs.replace(prepared(), state_dir=str(tmp_path / "state"))
    IdentityFile(StatePaths(settings).trust).store(SiteIdentity(site="site1", incarnation=3))
    asked = retrieved("Who leads the bank?", plan_=msgspec.structs.replace(plan(), where="cloud"))
    for number in (1, 2):
        async with drafter.open(settings, MemoryBus("site1")) as answer:
            (escalated_,) = await answer(asked)
        assert isinstance(escalated_, Escalated)
        assert escalated_.source is not None
        assert (escalated_.source.incarnation, escalated_.source.number) == (3, number), "each process has its own"


async def test_a_site_fills_a_schema_without_any_passage() -> None:
    schema = json.dumps({"properties": {"reference": {"type": "string"}}, "required": ["reference"]})
    async with drafter.open(prepared(), MemoryBus("site1")) as answer:
        (drafted,) = await answer(retrieved("Reference: QX-1", workload="extract", schema=schema))
        assert isinstance(drafted, Drafted)
        assert json.loads(drafted.answer.text) == {"reference": "QX-1"}


async def test_a_site_reads_the_fields_of_a_schema_with_the_encoder() -> None:
    schema = json.dumps({"properties": {"caller": {"type": "string"}}, "required": ["caller"]})
    text = "Rang heute an: Frau Kessler vom Reisebüro Sonnwend."
    alone = msgspec.structs.replace(plan(), may_escalate=False)
    asked = retrieved(text, plan_=alone, workload="extract", schema=schema, language="de")
    async with drafter.open(prepared(), MemoryBus("site1")) as answer:
        (drafted,) = await answer(asked)
    assert isinstance(drafted, Drafted)
    reader = FieldReader.load(Path(".models"))
    assert drafted.answer.fields == extract(text, schema, "de", reader).fields
    assert drafted.answer.fields != extract(text, schema, "de").fields


async def test_a_site_ships_what_the_hubs_model_may_be_expected_to_say_and_tells_it_in_a_race() -> None:
    bus = MemoryBus("site1")
    received: asyncio.Queue[Partial] = asyncio.Queue()

    async def receive(_: str, data: bytes) -> None:
        received.put_nowait(decode(data, Partial))

    await bus.listen("partial.drafted.>", receive)
    plan_ = msgspec.structs.replace(RACE, where="cloud", show_from=0.0)
    async with retriever.open(prepared(), bus) as retrieve, drafter.open(prepared(), bus) as answer:
        (found,) = await retrieve(routed("What does a banker's draft cost?", plan_=plan_, can_retract=True))
        (outcome,) = await answer(found)
        partial = await asyncio.wait_for(received.get(), 10)
    assert isinstance(outcome, Escalated)
    tokens = TokenText.load(Path(".models/lm/draft/tokenizer.json"))
    assert outcome.draft is not None
    assert (outcome.draft.drafter, outcome.draft.tokenizer) == ("lookup", tokens.digest)
    assert "£12" in tokens.decode(outcome.draft.ids)
    assert "£12" in partial.answer.text


@pytest.mark.parametrize(("fee", "leaves"), [("£12", True), ("£12; call 020 7946 0958", False)])
async def test_a_draft_that_would_carry_personal_data_stays_at_the_site(fee: str, leaves: bool) -> None:
    text = f"A banker's draft costs {fee}."
    passage = Passage(
        document_id="new",
        document_version="v",
        title="Fees",
        text=text,
        language="en",
        start=0,
        end=len(text),
        score=1.0,
    )
    plan_ = msgspec.structs.replace(RACE, where="cloud")
    asked = retrieved("What does a banker's draft cost?", plan_=plan_, passages=(passage,))
    async with drafter.open(prepared(), MemoryBus("site1")) as answer:
        (outcome,) = await answer(asked)
    assert isinstance(outcome, Escalated)
    assert (outcome.draft is not None) is leaves
    assert b"7946" not in encode(outcome)


HELD = msgspec.structs.replace(plan(), shares_ms={"drafter": 100.0, "cloud-verifier": 800.0, "publisher": 100.0})


@pytest.mark.parametrize("is_wanted", [False, True])
def test_the_language_model_is_asked_for_values_only_where_the_settings_want_it(is_wanted: bool) -> None:
    models, fields = drafter.load_models(Path(".models"), {}), FieldReader.load(Path(".models"))
    asked: list[str] = []

    def model_of(tenant: str) -> SiteModel:
        asked.append(tenant)
        return models(tenant)

    settings = Settings(drafter=DrafterSettings(model_in_extraction=is_wanted))
    schema = json.dumps({"type": "object", "properties": {"reference": {"type": "string"}}, "required": ["reference"]})
    fill = drafter.extracting(settings, model_of, fields)
    answer = fill(retrieved("Reference: QX-1", workload="extract", schema=schema))
    assert json.loads(answer.text) == {"reference": "QX-1"}
    assert bool(asked) == is_wanted


@pytest.mark.parametrize("workload", ["assist", "extract"])
async def test_an_opened_drafter_neither_drafts_nor_asks_once_the_time_is_up_and_says_so(workload: str) -> None:
    late = retrieved("What does a banker's draft cost?", plan_=HELD, workload=workload, schema="{}")
    async with drafter.open(prepared(), MemoryBus("site1")) as answer:
        (outcome,) = await answer(late)
    assert isinstance(outcome, Drafted)
    assert outcome.answer == Answer(text="")
    assert [(made.stage, made.level) for made in outcome.degradations] == [("drafter", "abstain")]


def test_reading_and_extracting_are_learned_apart_and_from_done_work_only() -> None:
    now_ms = int(time.time() * 1000)
    asked = retrieved("q", plan_=HELD, asked_at_ms=now_ms, deadline_at_ms=now_ms + 60_000)
    filling = msgspec.structs.replace(
        asked, question=msgspec.structs.replace(asked.question, workload="extract", schema="{}")
    )
    latency = DrafterLatency()

    def degradation(fact: Retrieved) -> str:
        found = latency.required_degradation(fact, levels_of(fact))
        return "" if found is None else found.level

    def observe(fact: Retrieved, worked_ms: float) -> None:
        latency.observe(
            fact, fact.followed_by(Drafted, question=fact.question, plan=fact.plan, answer=Answer(text="x")), worked_ms
        )

    called_off = Degradation("router", "abstain", 0.0, 1.0)
    observe(msgspec.structs.replace(asked, degradations=(called_off,)), 1e6)
    assert (degradation(asked), degradation(filling)) == ("", "")
    observe(asked, 1e6)
    assert (degradation(asked), degradation(filling)) == ("fewer_passages", "")
    observe(filling, 1e6)
    assert degradation(filling) == "abstain"


@pytest.mark.parametrize("is_lost", [False, True])
async def test_the_wait_for_the_hub_in_a_session_is_not_how_slow_the_edge_reads(is_lost: bool) -> None:
    now_s = 0.0

    async def verify(asked: Escalated) -> Verified | Degradation:
        nonlocal now_s
        now_s += 5.0
        if is_lost:
            return Degradation("drafter", "no_remote_speculation", 0.0, 1.0, "the time is up")
        return asked.followed_by(Verified, question=asked.question, plan=asked.plan, answer=Answer(text="x"))

    watch = Stopwatch(lambda: now_s)
    now_s += 0.25
    outcome = await watch.exclude(verify)(escalated("q"))
    assert isinstance(outcome, Degradation) is is_lost
    now_s += 0.25
    assert watch.ms == 500.0


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Accepted(worker="w", session="l", accepted=5, ids=(9,), speculation=None), "5 of 0 tokens"),  # type: ignore[arg-type]
        (Accepted(worker="w", session="l", accepted=0, ids=(), speculation=None), "adds no token and does not end"),  # type: ignore[arg-type]
        (Refused(code="from_the_future", reason="not today"), "declined: not today"),
        (UnreadableError("it is from the future"), "cannot be read: it is from the future"),
    ],
)
async def test_a_hub_that_makes_no_sense_is_left(reply: Message | UnreadableError, says: str) -> None:
    async def send(_: str, __: Message, ___: float) -> Message:
        if isinstance(reply, UnreadableError):
            raise reply
        return reply

    def open_drafter(_: Sequence[int], __: bool) -> ProposeTokens:
        raise AssertionError("there is nothing to draft for")

    with pytest.raises(SessionLostError, match=says):
        await VerificationClient(
            escalated("q", deadline_at_ms=1 << 50), "t", send=send, open_drafter=open_drafter, clock=time.time
        ).verdict()
