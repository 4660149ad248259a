"""A question that is asked again: shown at once what the cloud said before, verified as if it had never been said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.broker_harness import on_jetstream, until
from tests.support.escalation_site import at_hub, plan, prepared, retrieved, routed
from tidegate.brokers.base import Bus
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.stage import Handler
from tidegate.schemas import Answer, Artefact, Citation, Draft, Escalated, Fact, Message, Published, Receipt
from tidegate.schemas.subjects import PARTIAL_DRAFTED, TOKENS, tokens
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.stages import cloud_verifier, drafter, policy, publisher, retriever
from tidegate.services.stages.drafter.answer_cache import AnswerCache
from tidegate.services.stages.drafter.answer_cache_writer import AnswerCacheWriter

pytestmark = pytest.mark.anyio

WHO = "Who is the chief executive of the bank?"
RACE = msgspec.structs.replace(plan(), mode="race", show_from=0.9, draft_length=8)
LINEAGE = (Artefact("index", "kiosk", "1"), Artefact("policy", "safe", "1"), Artefact("pack", "kiosk", "1"))
MODEL = TokenText.load(Path(".models/lm/draft/tokenizer.json"))
DETECTOR = Detector(("GB",))


@pytest.fixture(params=["memory", "jetstream"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    if request.param == "memory":
        yield MemoryBus("site1")
    else:
        async with on_jetstream(tmp_path) as rig:
            yield rig.bus


async def filled_cache(bus: Bus) -> AnswerCache:
    """A cache that is filled from the answers on the bus."""
    cache = AnswerCache(("kiosk",), 8, 60.0, lambda: 0.0)
    writer = AnswerCacheWriter(bus, cache, lambda _: DETECTOR, lambda text: Draft(ids=(len(text),), tokenizer="t"))
    await bus.listen("live.answers.>", writer.receive)
    return cache


def answer_to(asked: Fact, text: str, **more: Any) -> Published:
    receipt = {"route": "cloud", "lineage": LINEAGE, "finished_by": None, **more.pop("receipt", {})}
    fields = {"outcome": "answered", **more}
    return asked.followed_by(
        Published,
        text=text,
        receipt=Receipt(site="site1", plan=None, citations=(), decisions=(), **receipt),
        **fields,
    )


async def store_answer(bus: Bus, rid: str, text: str, **more: Any) -> None:
    """Store the question as it was retrieved for and its answer, as the pipeline does."""
    asked = retrieved(WHO, rid=rid)
    for message in (asked, answer_to(asked, text, **more)):
        assert await bus.publish(message, id=f"{rid}.{type(message).__name__}", headers={})


async def all_received(bus: Bus, cache: AnswerCache) -> None:
    """Return when all that was published before has been all_received: it is all_received in order."""
    marker = retrieved("a marker", rid="marker")
    for message in (marker, answer_to(marker, "It was all_received.")):
        await bus.publish(message, id=f"marker.{type(message).__name__}", headers={})

    async def holds() -> bool:
        return cache.find(marker) is not None

    await until(holds)


async def test_the_cloud_s_answer_is_found_with_its_evidence_when_the_same_is_asked(bus: Any) -> None:
    cache = await filled_cache(bus)
    cited = Citation(document_id="board", document_version="v", start=0, end=3, quote="Phi")
    await store_answer(bus, "r1", "Philippa Okonjo.", citations=(cited,), confidence=0.8)
    await all_received(bus, cache)
    answer = Answer(text="Philippa Okonjo.", citations=(cited,), confidence=0.8)
    assert cache.find(retrieved(f" {WHO.upper()} ")) == (answer, Draft(ids=(16,), tokenizer="t"))
    assert cache.find(retrieved("Who was it before?")) is None
    assert cache.find(retrieved(WHO, tenant="shop")) is None


QUOTE = Citation(document_id="d", document_version="v", start=0, end=1, quote="Call +44 20 7946 0958.")


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("Ask Ann Example, ann@example.org.", {}),
        ("It belongs to <PERSON_0123456789ab>.", {}),
        ("Call them.", {"citations": (QUOTE,)}),
        ('{"who": 1}', {"format": "json"}),
        ("The edge says so.", {"receipt": {"route": "edge"}}),
        ("The edge had to end it.", {"receipt": {"finished_by": "edge"}}),
        ("I cannot answer that.", {"outcome": "abstained", "reason": "abstained"}),
    ],
)
async def test_no_personal_data_and_nothing_but_what_the_cloud_answered_is_remembered(
    bus: Any, text: str, more: dict[str, Any]
) -> None:
    cache = await filled_cache(bus)
    await store_answer(bus, "r1", text, **more)
    await all_received(bus, cache)
    assert cache.find(retrieved(WHO)) is None


async def test_the_cloud_s_last_word_counts_be_it_that_there_is_no_answer_any_more(bus: Any) -> None:
    cache = await filled_cache(bus)
    await store_answer(bus, "r1", "Ada Brown.")
    await store_answer(bus, "r2", "Philippa Okonjo.")
    await all_received(bus, cache)
    found = cache.find(retrieved(WHO))
    assert found is not None
    assert found[0].text == "Philippa Okonjo."
    await store_answer(bus, "r3", "Sorry.", outcome="abstained", reason="abstained")

    async def is_forgotten() -> bool:
        return cache.find(retrieved(WHO)) is None

    await until(is_forgotten)


async def test_an_answer_under_another_pack_drops_those_under_the_one_before(bus: Any) -> None:
    cache = await filled_cache(bus)
    await store_answer(bus, "r1", "Philippa Okonjo.")
    await all_received(bus, cache)
    assert cache.find(retrieved(WHO)) is not None
    other = retrieved("What else?", rid="r2")
    newer = (*LINEAGE[:2], Artefact("pack", "kiosk", "2"))
    await bus.publish(
        answer_to(other, "The edge's own.", receipt={"route": "edge", "lineage": newer}), id="r2", headers={}
    )

    async def is_forgotten() -> bool:
        return cache.find(retrieved(WHO)) is None

    await until(is_forgotten)


async def test_a_question_over_another_index_of_the_site_drops_the_answers_over_the_one_before(bus: Any) -> None:
    cache = await filled_cache(bus)
    await store_answer(bus, "r1", "Philippa Okonjo.")
    await all_received(bus, cache)
    assert cache.find(retrieved(WHO, lineage=(Artefact("index", "kiosk", "1"),))) is not None
    assert cache.find(retrieved(WHO, lineage=(Artefact("index", "kiosk", "2"),))) is None


class Walk:
    """The stages of a site and its hub, called one after the other; what is published is stored for real."""

    def __init__(self, bus: Bus, stages: dict[str, Handler]) -> None:
        self.bus = bus
        self.stages = stages

    async def escalated(self, rid: str, text: str = WHO, **more: Any) -> Escalated:
        """The question as it leaves the site, the retriever's fact stored on the way."""
        asked = routed(text, rid=rid, plan_=RACE, **{"can_retract": True, **more})
        (found,) = await self.stages["retriever"](asked)
        await self.bus.publish(found, id=f"{rid}.retrieved", headers={})
        (outcome,) = await self.stages["drafter"](found)
        assert isinstance(outcome, Escalated)
        return outcome

    async def settled(self, outcome: Message) -> Published:
        """The answer, by way of the hub, the policy and the publisher."""
        for name in ("hub", "policy", "publisher"):
            (outcome,) = await self.stages[name](outcome)
        assert isinstance(outcome, Published)
        await self.bus.publish(outcome, id=f"{outcome.rid}.published", headers={})
        return outcome


@pytest.fixture
async def walk(tmp_path: Path) -> AsyncIterator[Walk]:
    """On a real server, with the shipped models, over the small documents."""
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(on_jetstream(tmp_path))
        stages = {
            "retriever": await stack.enter_async_context(retriever.open(prepared(), rig.bus)),
            "drafter": await stack.enter_async_context(drafter.open(prepared(), rig.bus)),
            "hub": await stack.enter_async_context(cloud_verifier.open(at_hub(), MemoryBus("hub"))),
            "policy": await stack.enter_async_context(policy.open(prepared(), rig.bus)),
            "publisher": await stack.enter_async_context(publisher.open(prepared(), rig.bus)),
        }
        yield Walk(rig.bus, stages)


async def shown(walk: Walk, rid: str) -> bool:
    return bool(await walk.bus.read(TOKENS, tokens("kiosk", rid)))


async def learned(walk: Walk) -> None:
    """Return when the site knows what the cloud answered; each look is a request of its own that ends at the hub."""
    tries = iter(range(10_000))

    async def holds() -> bool:
        outcome = await walk.escalated(f"look{next(tries)}", can_retract=False)
        return outcome.draft is not None and "Okonjo" in MODEL.decode(outcome.draft.ids)

    await until(holds)


async def test_a_question_of_the_hub_is_shown_at_once_when_it_is_asked_again_and_verified_like_the_first_time(
    walk: Walk,
) -> None:
    first = await walk.settled(await walk.escalated("first"))
    assert "Okonjo" in first.text
    assert first.receipt.guess is None, "the site has no document that could be shown"
    await learned(walk)

    outcome = await walk.escalated("again")
    assert outcome.draft is not None
    assert "Okonjo" in MODEL.decode(outcome.draft.ids)

    async def is_shown() -> bool:
        return await shown(walk, "again")

    await until(is_shown)
    again = await walk.settled(outcome)
    assert (again.text, again.citations) == (first.text, first.citations)
    assert (again.receipt.guess, again.receipt.retractions, again.receipt.route) == ("cached_answer", 0, "cloud")


async def test_who_cannot_take_text_back_is_shown_what_is_committed_and_nothing_of_the_past(walk: Walk) -> None:
    await walk.settled(await walk.escalated("first"))
    await learned(walk)
    published: list[bytes] = []

    async def hear(_: str, data: bytes) -> None:
        published.append(data)

    await walk.bus.listen(PARTIAL_DRAFTED, hear)
    again = await walk.settled(await walk.escalated("again", can_retract=False))
    assert "Okonjo" in again.text
    assert (again.receipt.guess, published) == (None, [])
