"""A request is judged by what was in force when it was screened, whatever has come into force since; parts of an answer
in the making, too."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.active_site import ABSTAINS, ALLOWS, INTENTS, QUESTION, put_in_force, site_at
from tests.support.escalation_site import escalated, fact, question
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import (
    Answer,
    Approved,
    Check,
    Citation,
    Drafted,
    Partial,
    Plan,
    RetryLaterError,
    Routed,
    Screened,
    Verified,
    decode,
    encode,
    subjects,
)
from tidegate.schemas.artefact import Rung
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.active import INTENT_HEAD, POLL_S, PackInForce
from tidegate.services.packs.generations import GenerationGoneError, GenerationStore
from tidegate.services.packs.parts import PackPart
from tidegate.services.planning.config import PlannerConfig, Signals
from tidegate.services.planning.standing import degradations_of
from tidegate.services.settings import Settings
from tidegate.services.stages import cloud_verifier, policy, router
from tidegate.services.stages.settings import CloudVerifierSettings
from tidegate.sync.rules.staleness import Standing

pytestmark = pytest.mark.anyio

QUOTE = "The lobby is open until 23:00."
ANSWER = Answer(
    text=QUOTE,
    citations=(Citation(document_id="hours", document_version="v", start=0, end=len(QUOTE), quote=QUOTE),),
    checks=(Check("grounding", True, 1.0), Check("entailment", True, 1.0)),
    confidence=0.9,
)


def put(settings: Settings, text: str, epoch: int, **more: str) -> int:
    """A generation with this policy, made of nothing else: the stages here read no more."""
    parts = [PackPart("policy", "branch", text.encode()), PackPart("intents", "intents", INTENTS.encode())]
    parts += [PackPart("prompt", name, prompt.encode()) for name, prompt in more.items()]
    store = GenerationStore(StatePaths(settings).active("kiosk"))
    epochs = {part.path: epoch for part in parts}
    return store.activate(parts, epochs, lambda *_: {}, lambda *_: None)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=str(tmp_path), pack_dir=str(tmp_path))


def drafted(generation: int) -> Drafted:
    return fact(Drafted, "How late?", answer=ANSWER, generation=generation)


async def test_an_answer_is_judged_by_its_own_generation_and_no_newer_one(settings: Settings) -> None:
    first = put(settings, ALLOWS, 1)
    async with policy.open(settings, MemoryBus("site1")) as handler:
        second = put(settings, ABSTAINS, 2)
        for generation, passes, epoch in ((first, True, 1), (second, False, 2), (first, True, 1)):
            [judged] = await handler(drafted(generation))
            assert isinstance(judged, Approved) is passes
            assert [part.epoch for part in judged.lineage if part.kind == "policy"] == [epoch]  # type: ignore[attr-defined]


async def test_what_is_shown_of_an_answer_before_it_is_whole_is_judged_by_the_same_one(settings: Settings) -> None:
    first, bus = put(settings, ALLOWS, 1), MemoryBus("site1")
    passed: asyncio.Queue[Partial] = asyncio.Queue()

    async def keep(_: str, data: bytes) -> None:
        passed.put_nowait(decode(data, Partial))

    await bus.listen(subjects.PARTIAL_APPROVED, keep)
    async with policy.open(settings, bus):
        second = put(settings, ABSTAINS, 2)
        too_old = degradations_of(Standing(rung="evidence-only", because=("artefacts/kiosk/policy/branch",)))
        for generation, degradations in ((second, ()), (first, too_old), (first, ())):
            about: dict[str, Any] = {"source": "cloud", "generation": generation, "degradations": degradations}
            made = fact(Partial, "How late?", answer=ANSWER, **about)
            await bus.publish_core(subjects.cloud_partial("site1", "kiosk", "r1"), encode(made))
        async with asyncio.timeout(20.0):
            shown = await passed.get()
        assert (shown.generation, [part.epoch for part in shown.lineage]) == (first, [1])
        assert shown.degradations == (), "where only quotations may be given, nothing is shown before it is whole"
        assert passed.empty(), "the other one is not let pass by the policy that it began with"


async def test_a_request_of_a_generation_that_is_held_no_longer_is_judged_by_no_other(settings: Settings) -> None:
    numbers = [put(settings, ALLOWS, epoch) for epoch in range(1, 5)]
    for number in numbers:
        os.utime(StatePaths(settings).active("kiosk") / str(number), (0, 0))
    put(settings, ALLOWS, 5)
    async with policy.open(settings, MemoryBus("site1")) as handler:
        with pytest.raises(GenerationGoneError):
            await handler(drafted(numbers[0]))


async def test_only_quotations_pass_for_a_request_that_was_admitted_at_evidence_only(settings: Settings) -> None:
    made = degradations_of(Standing(rung="evidence-only", because=("artefacts/kiosk/policy/branch",)))
    reworded = msgspec.structs.replace(ANSWER, text="It closes at eleven.")
    first = put(settings, ALLOWS, 1)
    async with policy.open(settings, MemoryBus("site1")) as handler:
        for degradations, text in (((), "It closes at eleven."), (made, QUOTE)):
            given = msgspec.structs.replace(drafted(first), answer=reworded, degradations=degradations)
            [judged] = await handler(given)
            assert isinstance(judged, Approved)
            assert judged.answer.text == text


LINKED = Signals(link_up=True, rtt_ms=20.0, queue_depth=0, load=0.0)


@pytest.mark.parametrize(("rung", "may_ask"), [("full", True), ("local-only", False), ("evidence-only", False)])
def test_a_site_that_is_out_of_date_does_not_ask_the_hub_however_good_the_link(rung: Rung, may_ask: bool) -> None:
    degradations = degradations_of(Standing(rung=rung, because=("artefacts/kiosk/policy/branch",)))
    screened = Screened(
        rid="r1", tenant="kiosk", site="site1", asked_at_ms=1000, deadline_at_ms=5000, question=question("How late?"),
        degradations=degradations,
    )  # fmt: skip
    plan, made = router.decide(LINKED, PlannerConfig(), screened, 1000.0)
    assert plan.may_escalate is may_ask
    assert ("out of date" in plan.reason) is not may_ask
    assert made == (), "what is given up for the age stands in the request already"


PROMPTED = ALLOWS + "grounded: [assist]\n"


@pytest.mark.parametrize(
    ("text", "own", "may_escalate", "expected"),
    [
        (PROMPTED, "", True, "Be brief.\n\nBe kind."),
        (PROMPTED, "Shout.", True, "Shout."),
        (PROMPTED, "", False, ""),
        (ALLOWS, "", True, ""),
    ],
)
async def test_a_prompt_in_force_goes_along_where_a_model_may_write(
    settings: Settings, text: str, own: str, may_escalate: bool, expected: str
) -> None:
    number = put(settings, text, 4, a_tone="Be brief.", b_manner=" Be kind.\n")
    store = GenerationStore(StatePaths(settings).active("kiosk"))
    pack = PackInForce.of_generation("kiosk", store.path(number), store.record(number))
    rules = router.RoutingRules.load(settings, pack)
    writing = "grounded" if text == PROMPTED else "quote"
    routed = fact(
        Routed,
        "How late?",
        plan_=Plan(
            where="edge", may_escalate=may_escalate, k=8, model="m", shares_ms={}, config_version="1", reason="r",
            writing=writing,  # type: ignore[arg-type]
        ),
        instructions=own,
    )  # fmt: skip
    found = router.with_prompts(routed, rules.prompts)
    assert isinstance(found, Routed)
    assert found.question.instructions == expected
    names = [(part.id, part.epoch) for part in found.lineage if part.kind == "prompt"]
    assert names == ([("a_tone", 4), ("b_manner", 4)] if expected.startswith("Be") else [])


async def test_a_hub_with_nothing_in_force_says_that_it_cannot_answer_yet_and_answers_once_something_is(
    tmp_path: Path,
) -> None:
    hub = site_at(tmp_path / "state", site="hub")
    async with cloud_verifier.open(extractive(hub), MemoryBus("hub")) as verdict:
        with pytest.raises(RetryLaterError, match="nothing in force for kiosk"):
            await verdict(escalated(QUESTION))
        put_in_force(hub)
        async with asyncio.timeout(20.0):
            while True:
                try:
                    [verified] = await verdict(escalated(QUESTION, generation=99))
                    break
                except RetryLaterError:
                    await asyncio.sleep(POLL_S)
    assert isinstance(verified, Verified)
    assert "lobby" in verified.answer.text, "the generation of the request is that of its site, and no concern here"
    made = GenerationStore(StatePaths(hub).active("kiosk")).path(1)
    assert not (made / INTENT_HEAD).exists(), "a hub screens nothing"


def extractive(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, cloud_verifier=CloudVerifierSettings(backend="extractive"))
