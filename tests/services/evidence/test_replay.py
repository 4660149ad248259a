"""A decision is derived again from its record and is the same; where rule, record or log was changed, that is named."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.message_parts import RECEIPT
from tests.support.policy_files import WHITE_PAPER, policy, ports
from tidegate.brokers.base import StoredMessage
from tidegate.schemas import (
    Answer,
    Approved,
    Asked,
    Check,
    Citation,
    Degradation,
    Drafted,
    Message,
    Plan,
    Published,
    Question,
    UnreadableError,
    Verified,
    Withheld,
    encode,
)
from tidegate.schemas.subjects import subject_of
from tidegate.services.evidence.entries import draft_of
from tidegate.services.evidence.replay import LoadRules, ReplayOutcome, replay, with_entry
from tidegate.services.evidence.screening_replay import First
from tidegate.services.packs.generations import GenerationGoneError
from tidegate.services.policies.policy import Policy
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.stages.policy import JudgingRules
from tidegate.services.stages.policy.handler import judge
from tidegate.services.stages.publisher.handler import publish_approved, publish_refusal

pytestmark = pytest.mark.anyio
FIND = Detector(("GB", "DE")).find
PLAN = Plan(where="edge", may_escalate=False, k=8, model="reader", shares_ms={}, config_version="t", reason="a test")
QUOTE = "A lost card is blocked at once. Call us on 020 7946 0958."


def answered(
    rid: str, entailment: float, text: str = "A lost card is blocked at once.", cloud: bool = False
) -> Drafted:
    citation = Citation(document_id="cards", document_version="v", start=0, end=len(QUOTE), quote=QUOTE)
    checks = (Check("grounding", True, 1.0), Check("entailment", entailment > 0.8, entailment))
    kind: type[Drafted] = Verified if cloud else Drafted  # type: ignore[assignment]
    return kind(
        rid=rid,
        tenant="kiosk",
        site="site1",
        asked_at_ms=1,
        deadline_at_ms=2,
        question=Question(text="What if I lose my card?", language="en", intent="cards", intent_confidence=0.9),
        plan=PLAN,
        answer=Answer(text=text, citations=(citation,), checks=checks, confidence=0.9),
    )


def stored(*facts: Message) -> list[StoredMessage]:
    return [StoredMessage("PIPE", n, n, subject_of(fact, "site1"), {}, encode(fact)) for n, fact in enumerate(facts, 1)]


async def record(given: Drafted, *policies: Policy, given_up: Degradation | None = None) -> list[Message]:
    """What the streams have of a request that the policy has decided."""
    [settled] = await judge(given, ports(*policies, find_personal=FIND, required_degradation=lambda _: given_up))
    receipt = replace(RECEIPT, decisions=settled.decisions, route=settled.route)
    published = (
        publish_approved(settled, receipt) if isinstance(settled, Approved) else publish_refusal(settled, receipt)
    )
    return [given, settled, published]


def rules(*policies: Policy) -> LoadRules:
    async def load(_: str, __: int) -> JudgingRules:
        return JudgingRules(policies, FIND)

    return load


async def test_a_thousand_decisions_are_derived_again_and_are_the_same(tmp_path: Path) -> None:
    drawn, own = random.Random(7), policy(tmp_path)
    texts = (
        "A lost card is blocked at once.",
        "Call us on 020 7946 0958.",
        "This fund is guaranteed to return 8 % a year.",
        "",
    )
    outcomes: list[ReplayOutcome] = []
    for number in range(1_000):
        given = answered(f"r{number}", drawn.random(), drawn.choice(texts), drawn.random() < 0.5)
        outcomes.append(await replay(given.rid, stored(*await record(given, own)), rules(own)))
    assert {each.verdict for each in outcomes} == {"identical"}, next(e for e in outcomes if e.verdict != "identical")
    assert {each.outcome for each in outcomes} == {"answered", "withheld", "abstained"}


async def test_a_stricter_policy_would_decide_otherwise_and_the_rule_is_named(tmp_path: Path) -> None:
    own = policy(tmp_path)
    stricter = policy(tmp_path, WHITE_PAPER.replace("0.85", "0.95"), "stricter.yaml")
    facts = stored(*await record(answered("r1", 0.9), own))
    outcome = await replay("r1", facts, rules(stricter))
    assert outcome.verdict == "differs"
    assert "it was approved, and would be withheld" in outcome.difference
    assert "0.95" in outcome.difference


async def test_a_record_that_was_changed_is_found_field_by_field(tmp_path: Path) -> None:
    own = policy(tmp_path)
    given, settled, published = await record(answered("r1", 0.9), own)
    assert isinstance(settled, Approved)
    for name, other in (
        ("answer", replace(settled, answer=replace(settled.answer, text="A lost card costs £9."))),
        ("decisions", replace(settled, decisions=())),
        ("lineage", replace(settled, lineage=())),
    ):
        outcome = await replay("r1", stored(given, other, published), rules(own))
        assert outcome.verdict == "differs"
        assert outcome.difference.startswith(f"{name}: "), outcome.difference


async def test_time_is_that_of_the_record(tmp_path: Path) -> None:
    own = policy(tmp_path)
    late = Degradation("policy", "abstain", 0.0, 5.0, "no time was left")
    facts = await record(answered("r1", 0.9), own, given_up=late)
    assert isinstance(facts[1], Withheld)
    assert facts[1].reason == "deadline"
    assert (await replay("r1", stored(*facts), rules(own))).verdict == "identical"


async def test_what_cannot_be_derived_says_why(tmp_path: Path) -> None:
    own = policy(tmp_path)
    given, settled, published = await record(answered("r1", 0.9), own)
    assert isinstance(published, Published)

    async def gone(_: str, __: int) -> JudgingRules:
        raise GenerationGoneError("generation 3 is not held")

    refused = answered("r1", 0.9).followed_by(Withheld, reason="unsafe", stage="prefilter")
    withheld = publish_refusal(refused, replace(RECEIPT, decisions=()))
    cases = {
        "no answer of it": (stored(given, settled), rules(own)),
        "three days": (stored(published), rules(own)),
        "its policies are not held here": (stored(given, settled, published), gone),
        "the prefilter decided it": (stored(refused, withheld), rules(own)),
    }
    for reason, (facts, load) in cases.items():
        outcome = await replay("r1", facts, load)
        assert outcome.verdict == "not_derived"
        assert reason in outcome.reason
    with pytest.raises(UnreadableError, match="PIPE:9"):
        await replay("r1", [StoredMessage("PIPE", 9, 1.0, "pipe.kiosk.drafted.r1", {}, b"noise")], rules(own))


async def test_why_the_prefilter_s_part_was_not_derived_is_said_beside_what_was(tmp_path: Path) -> None:
    own = policy(tmp_path)
    facts = await record(answered("r1", 0.9), own)

    async def screen(_: Asked, __: First) -> First:
        raise AssertionError("there is no question to screen")

    outcome = await replay("r1", stored(*facts), rules(own), screen)
    assert (outcome.verdict, outcome.screening) == ("identical", "not_derived")
    assert outcome.screening_reason == "its question is no longer stored"


async def test_the_receipt_is_the_one_that_was_logged_or_not(tmp_path: Path) -> None:
    own = policy(tmp_path)
    facts = await record(answered("r1", 0.9), own)
    published = facts[2]
    assert isinstance(published, Published)
    outcome = await replay("r1", stored(*facts), rules(own))
    [answer] = [replace(each, stream="ANSWERS") for each in stored(published)]
    logged = draft_of(answer).body
    assert with_entry(outcome, published, logged).is_logged is True  # type: ignore[arg-type]
    other = replace(published, receipt=replace(published.receipt, decisions=()))
    assert with_entry(outcome, other, logged).is_logged is False  # type: ignore[arg-type]
    assert with_entry(outcome, published, None).is_logged is False
