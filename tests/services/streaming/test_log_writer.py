"""What was committed of an answer is final: one log, one writer at a time, at most one retraction, whatever is late."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.broker_harness import on_jetstream
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import (
    Answer,
    Approved,
    Artefact,
    Check,
    Citation,
    Committed,
    Cursor,
    Degradation,
    Delta,
    Evidence,
    Guess,
    Partial,
    Plan,
    Published,
    Question,
    Receipt,
    Withheld,
    decode,
    encode,
    replace,
)
from tidegate.schemas.subjects import TOKENS, tokens
from tidegate.services.stages.publisher.handler import PublisherPorts, publish, reconcile, was_shown
from tidegate.services.streaming.log_writer import AnswerLogWriter

pytestmark = pytest.mark.anyio

RACE = Plan(where="edge", may_escalate=True, k=8, model="m", shares_ms={}, config_version="t", reason="r", mode="race")
QUESTION = Question(text="?", language="en", intent="cards", intent_confidence=1.0)
WHOSE: dict[str, Any] = {"rid": "r1", "tenant": "kiosk", "site": "site1", "asked_at_ms": 1, "deadline_at_ms": 2}
LOST = Degradation("fast-lane", "abstain", 0.0, 0.0, "the cloud cannot be reached")


MODEL, HUBS = Artefact("model", "reader", "1"), Artefact("model", "target", "2")
QUOTED = Citation(document_id="cards", document_version="v", start=0, end=4, quote="Two.")
ONE = Committed(
    text="One.",
    evidence=Evidence(
        citations=(Citation(document_id="cards", document_version="v", start=0, end=4, quote="One."),),
        checks=(Check("grounding", True, 1.0),),
        confidence=0.75,
        lineage=(HUBS,),
    ),
)
ALL_OF_ONE = replace(ONE, is_whole=True)


def partial_answer(
    text: str, source: str = "cloud", *, can_retract: bool = True, is_whole: bool = False, guess: Guess | None = None
) -> bytes:
    return encode(
        Partial(
            **WHOSE,
            can_retract=can_retract,
            source=source,  # type: ignore[arg-type]
            question=QUESTION,
            plan=RACE,
            answer=Answer(text=text, citations=ONE.evidence.citations, confidence=0.75),
            lineage=(HUBS,),
            is_whole=is_whole,
            guess=guess,
        )
    )


def approved(text: str, **more: Any) -> Approved:
    fields = {"route": "cloud", "plan": RACE, **more}
    return Approved(**WHOSE, question=QUESTION, answer=Answer(text=text, confidence=0.9), **fields)


def lost() -> Withheld:
    return Withheld(
        **WHOSE,
        reason="cloud_unreachable",
        stage="fast-lane",
        language="en",
        plan=RACE,
        degradations=(LOST,),
        text="Lost.",
    )


@pytest.mark.parametrize(
    ("settled", "expected"),
    [
        (approved("x"), True),
        (approved("x", plan=msgspec.structs.replace(RACE, mode="edge_only")), False),
        (approved("x", route="edge"), False),
        (approved("x", route="edge", degradations=(LOST,)), True),
        (approved("x", route="edge", degradations=(Degradation("drafter", "edge_only", 0.0, 1.0),)), True),
        (approved("x", route="edge", degradations=(Degradation("retriever", "fewer_passages", 0.0, 1.0),)), False),
        (lost(), True),
        (Withheld(**WHOSE, reason="unsafe", stage="prefilter"), False),
    ],
)
def test_only_where_the_cloud_was_asked_can_anything_have_been_shown(
    settled: Approved | Withheld, expected: bool
) -> None:
    assert was_shown(settled) is expected


@pytest.mark.parametrize(
    ("text", "outcome", "committed", "expected"),
    [
        ("One. Two.", "answered", Committed(), ("answered", "One. Two.", None, False)),
        ("One. Two.", "answered", ONE, ("answered", "One. Two.", None, False)),
        (
            "One. Two.",
            "answered",
            replace(ONE, text="One. Two.", is_closed=True),
            ("answered", "One. Two.", None, False),
        ),
        ("One.", "answered", ALL_OF_ONE, ("answered", "One.", None, False)),
        ("Uno.", "answered", ONE, ("answered", "One.", "edge", True)),
        ("Uno.", "answered", ALL_OF_ONE, ("answered", "One.", "edge", False)),
        ("One. Two.", "answered", replace(ONE, is_closed=True), ("answered", "One.", "edge", True)),
        ("One. Two.", "answered", ALL_OF_ONE, ("answered", "One.", "edge", False)),
        ("Lost.", "abstained", Committed(), ("abstained", "Lost.", None, False)),
        ("Lost.", "abstained", ONE, ("answered", "One.", "edge", True)),
        ("Lost.", "abstained", ALL_OF_ONE, ("answered", "One.", "edge", False)),
    ],
)
def test_what_stands_is_the_beginning_of_the_answer_or_all_of_it(
    text: str, outcome: Any, committed: Committed, expected: tuple[str, str, str | None, bool]
) -> None:
    mine = (QUOTED,) if outcome == "answered" else ()
    receipt = Receipt(site="site1", route="cloud", plan=RACE, lineage=(MODEL,), citations=mine, decisions=())
    settled_ = Published(**WHOSE, outcome=outcome, text=text, citations=mine, receipt=receipt)
    found = reconcile(settled_, committed)
    assert (found.outcome, found.text, found.receipt.finished_by, found.receipt.is_cut) == expected
    assert found.receipt.committed_chars == len(committed.text)
    rests_on = committed.evidence if found.receipt.finished_by else Evidence(citations=mine)
    assert found.citations == found.receipt.citations == rests_on.citations
    assert (found.confidence, found.receipt.checks) == (rests_on.confidence, rests_on.checks)
    assert found.receipt.lineage == (MODEL, *committed.evidence.lineage)


def test_where_the_edge_goes_on_from_what_the_cloud_began_the_receipt_says_who_ended_it() -> None:
    receipt = Receipt(site="site1", route="edge", plan=RACE, lineage=(MODEL,), citations=(), decisions=())
    own = Published(**WHOSE, outcome="answered", text="One. Two.", receipt=receipt)
    assert reconcile(own, ONE).receipt.finished_by == "edge"
    assert reconcile(own, ONE).receipt.lineage == (MODEL, HUBS)
    assert reconcile(own, Committed()).receipt.finished_by is None


@pytest.fixture(params=["memory", "jetstream"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield MemoryBus("site1")
    else:
        async with on_jetstream(tmp_path) as rig:
            yield rig.bus


async def log_of(bus: Any) -> list[Delta]:
    return [decode(data, Delta) for _, data in await bus.read(TOKENS, tokens("kiosk", "r1"))]


async def published(settled: Approved | Withheld, log_writer: AnswerLogWriter) -> Published:
    (answer,) = await publish(settled, PublisherPorts(log_writer.committed_part, log_writer.close, lambda _: None), ())
    assert isinstance(answer, Published)
    return answer


async def test_the_edge_is_shown_and_the_cloud_stands_after_one_retraction(bus: Any) -> None:
    log_writer = AnswerLogWriter(bus)
    await log_writer.on_partial("", partial_answer("The fee is 5. It is monthly.", "edge"))
    await log_writer.on_partial("", partial_answer("The fee is 7."))
    answer = await published(approved("The fee is 7. It is yearly."), log_writer)
    assert [(line.state, line.offset, line.text) for line in await log_of(bus)] == [
        ("provisional", 0, "The fee is 5. It is monthly."),
        ("retracted", 11, ""),
        ("committed", 0, "The fee is 7."),
        ("committed", 13, " It is yearly."),
    ]
    assert (answer.text, answer.receipt.committed_chars, answer.receipt.retractions) == (
        "The fee is 7. It is yearly.", 13, 1,
    )  # fmt: skip


@pytest.mark.parametrize("guess", ["draft", "cached_answer"])
async def test_the_receipt_says_what_was_shown_as_provisional_whoever_closes_the_log(bus: Any, guess: Guess) -> None:
    await AnswerLogWriter(bus).on_partial("", partial_answer("The fee is 5.", "edge", guess=guess))
    await AnswerLogWriter(bus).on_partial("", partial_answer("The fee is 5. It is monthly.", "edge", guess="draft"))
    assert (await published(approved("The fee is 5. It is monthly."), AnswerLogWriter(bus))).receipt.guess == guess


async def test_where_nothing_was_shown_but_the_cloud_s_word_the_receipt_names_no_guess(bus: Any) -> None:
    log_writer = AnswerLogWriter(bus)
    await log_writer.on_partial("", partial_answer("A guess.", "edge", can_retract=False, guess="cached_answer"))
    await log_writer.on_partial("", partial_answer("The fee is 7."))
    assert (await published(approved("The fee is 7."), log_writer)).receipt.guess is None


async def test_who_cannot_take_text_back_is_shown_nothing_that_may_have_to_be(bus: Any) -> None:
    log_writer = AnswerLogWriter(bus)
    await log_writer.on_partial("", partial_answer("A guess.", "edge", can_retract=False))
    assert await log_of(bus) == []


async def test_when_the_link_drops_in_mid_answer_what_was_committed_is_the_answer_and_a_late_verdict_changes_nothing(
    bus: Any,
) -> None:
    log_writer = AnswerLogWriter(bus)
    await log_writer.on_partial("", partial_answer("First, block the card."))
    answer = await published(lost(), log_writer)
    assert (answer.outcome, answer.text, answer.reason) == ("answered", "First, block the card.", "cloud_unreachable")
    receipt = answer.receipt
    assert (receipt.finished_by, receipt.is_cut, receipt.degradations) == ("edge", True, (LOST,))
    assert answer.citations == receipt.citations == ONE.evidence.citations
    assert (answer.confidence, receipt.lineage) == (0.75, (HUBS,))
    before = await log_of(bus)
    assert (before[-1].is_last, before[-1].is_whole) == (True, False)
    await log_writer.on_partial("", partial_answer("First, block the card. Then call us."))
    late = await published(approved("First, block the card. Then call us."), AnswerLogWriter(bus))
    assert (late.text, late.citations, late.receipt.is_cut) == (answer.text, answer.citations, True)
    assert await log_of(bus) == before


async def test_what_the_cloud_said_to_its_end_is_no_cut_answer_though_its_verdict_was_lost(bus: Any) -> None:
    log_writer = AnswerLogWriter(bus)
    await log_writer.on_partial("", partial_answer("First, block the card.", is_whole=True))
    for publisher in (log_writer, AnswerLogWriter(bus)):  # the second finds the log closed
        answer = await published(lost(), publisher)
        receipt = answer.receipt
        assert (answer.text, receipt.finished_by, receipt.is_cut) == ("First, block the card.", "edge", False)
    assert (await log_of(bus))[-1].is_whole


async def test_the_log_says_what_an_answer_is_while_it_is_in_the_making(bus: Any) -> None:
    log_writer = AnswerLogWriter(bus)
    for source in ("edge", "cloud"):
        partial = decode(partial_answer('{"fee":', source), Partial)
        await log_writer.on_partial("", encode(replace(partial, answer=replace(partial.answer, format="json"))))
    found = [(line.state, line.format) for line in await log_of(bus)]
    assert found == [("provisional", "json"), ("committed", "json")]


async def test_a_publisher_that_was_killed_after_it_closed_the_log_publishes_the_same_again(bus: Any) -> None:
    first = await published(approved("Yes."), AnswerLogWriter(bus))
    assert await published(approved("Yes."), AnswerLogWriter(bus)) == msgspec.structs.replace(
        first, receipt=msgspec.structs.replace(first.receipt, committed_chars=4)
    )


async def test_several_publishers_at_once_write_one_log(bus: Any) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    sentences = [f"Sentence {number}." for number in range(6)]
    whole = " ".join(sentences)
    texts = [" ".join(sentences[: count + 1]) for count in range(6)]
    writers = [AnswerLogWriter(bus) for _ in range(3)]
    partials = [(writer, partial_answer(text)) for writer in writers for text in texts]
    partials += [(writer, partial_answer(" ".join(sentences[:3]) + " Wrong.", "edge")) for writer in writers]
    chance.shuffle(partials)
    await asyncio.gather(*(writer.on_partial("", data) for writer, data in partials))
    answers = [await published(approved(whole), writer) for writer in writers]
    assert {answer.text for answer in answers} == {whole}
    lines = await log_of(bus)
    assert "".join(line.text for line in lines if line.state == "committed") == whole
    assert sum(line.state == "retracted" for line in lines) <= 1


async def test_a_log_that_was_lost_with_its_server_begins_again_with_nothing_provisional(bus: Any) -> None:
    log_writer = AnswerLogWriter(bus)
    await log_writer.on_partial("", partial_answer("A guess that was shown.", "edge"))
    await lose(bus)
    answer = await published(approved("The truth."), log_writer)
    assert [(line.state, line.offset) for line in await log_of(bus)] == [("retracted", 0), ("committed", 0)]
    assert answer.receipt.retractions == 1


async def lose(bus: Any) -> None:
    """Take the whole log away, as a server does that is started again."""
    if isinstance(bus, MemoryBus):
        bus._streams[TOKENS].clear()
    else:
        await bus.link.request(f"$JS.API.STREAM.PURGE.{TOKENS}", timeout_s=2.0)


def test_a_cursor_is_what_the_log_says() -> None:
    assert str(Cursor(1, 27, 27)) == "1.27.27"
