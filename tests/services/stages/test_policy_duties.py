"""Boundaries and obligations in the stages: the router keeps a question at its site, the policy stage what crosses it
from being published, and the publisher the notices with what is published."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.policy_files import policy, ports
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import (
    Answer,
    Approved,
    Artefact,
    Check,
    Citation,
    Decision,
    Drafted,
    Partial,
    Plan,
    Question,
    Screened,
    Verified,
    Withheld,
    encode,
)
from tidegate.services.planning.config import PlannerConfig, Signals
from tidegate.services.settings import Settings
from tidegate.services.stages.policy import open as open_policy
from tidegate.services.stages.policy.handler import judge, judge_partial
from tidegate.services.stages.publisher.handler import PublisherPorts, publish
from tidegate.services.stages.router import RoutingRules, decide_by
from tidegate.services.streaming.log_writer import AnswerLogWriter

pytestmark = pytest.mark.anyio

WHOSE: dict[str, Any] = {"rid": "r1", "tenant": "kiosk", "site": "site1", "asked_at_ms": 1000, "deadline_at_ms": 5000}
QUOTE = "A lost card is blocked at once."
QUESTION = Question(text="What if I lose my card?", language="en", intent="cards", intent_confidence=0.9)
RACE = Plan(where="edge", may_escalate=True, k=8, model="m", shares_ms={}, config_version="t", reason="r", mode="race")
ANSWER = Answer(
    text=QUOTE,
    citations=(Citation(document_id="cards", document_version="v", start=0, end=len(QUOTE), quote=QUOTE),),
    checks=(Check("grounding", True, 1.0), Check("entailment", True, 1.0)),
    confidence=0.9,
)
ABOUT: dict[str, Any] = {**WHOSE, "question": QUESTION, "plan": RACE, "answer": ANSWER}
NOW_MS = int(time.time() * 1000)
LATER: dict[str, Any] = {"asked_at_ms": NOW_MS, "deadline_at_ms": NOW_MS + 600_000}
STAYS = "policy_id: p\nallow: [grounded_claims]\nresidency: {cards: site}\n"
OWES = "policy_id: p\nallow: [grounded_claims]\nobligations: [{name: note, notice: {en: Ask us first.}}]\n"


@pytest.mark.parametrize(("intent", "may_ask"), [("cards", False), ("fees", True)])
def test_the_router_does_not_plan_for_the_hub_where_a_policy_keeps_the_question_here(
    tmp_path: Path, intent: str, may_ask: bool
) -> None:
    asked = Question(text="?", language="en", intent=intent, intent_confidence=1.0)
    rules = RoutingRules(PlannerConfig(), (policy(tmp_path, STAYS),))
    linked = Signals(link_up=True, rtt_ms=20.0, queue_depth=0, load=0.0)
    plan, given_up = decide_by(rules, linked, Screened(**WHOSE, question=asked), 1000.0)
    assert plan.may_escalate is may_ask
    assert ("the policy p keeps such questions at the site" in plan.reason) is not may_ask
    assert plan.mode != "edge_only" if may_ask else plan.mode == "edge_only"
    assert given_up == ()


@pytest.mark.parametrize("kind", [Drafted, Verified])
async def test_what_the_hub_says_of_a_question_that_has_to_stay_is_not_published(
    tmp_path: Path, kind: type[Drafted] | type[Verified]
) -> None:
    [settled] = await judge(kind(**ABOUT), ports(policy(tmp_path, STAYS)))
    if kind is Drafted:
        assert isinstance(settled, Approved)
        assert Decision("p/residency", "allow", "its question stayed at the site") in settled.decisions
    else:
        assert isinstance(settled, Withheld)
        assert (settled.reason, settled.decisions[0].rule) == ("policy_block", "p/residency")


async def test_an_answer_that_was_made_with_a_tool_passes_where_that_is_allowed(tmp_path: Path) -> None:
    drafted = Drafted(**ABOUT, lineage=(Artefact("tool", "rates", "1"),))
    for tools, kind in (("tools: [rates]\n", Approved), ("", Withheld), ("tools: [sums]\n", Withheld)):
        rules = policy(tmp_path, f"policy_id: p\nallow: [grounded_claims]\n{tools}")
        [settled] = await judge(drafted, ports(rules))
        assert type(settled) is kind


async def test_another_language_is_refused_in_the_words_for_it(tmp_path: Path) -> None:
    [settled] = await judge(Drafted(**ABOUT), ports(policy(tmp_path, "policy_id: p\nlanguages: [de]\n")))
    assert isinstance(settled, Withheld)
    assert settled.reason == "unsupported_language"
    assert settled.text


async def test_notices_go_with_what_is_published_also_where_only_a_part_was_shown_before_the_link_was_lost(
    tmp_path: Path,
) -> None:
    owing = ports(policy(tmp_path, OWES))
    log_writer = AnswerLogWriter(MemoryBus("site1"))
    publisher = PublisherPorts(log_writer.committed_part, log_writer.close, lambda _: None)
    [settled] = await judge(Drafted(**ABOUT), owing)
    [published] = await publish(settled, publisher, ())
    assert published.notices == ("Ask us first.",)  # type: ignore[attr-defined]
    assert published.closing == "\n\nAsk us first."  # type: ignore[attr-defined]

    shown = await judge_partial(Partial(**ABOUT, source="cloud"), owing)
    assert shown is not None
    await log_writer.on_partial("", encode(shown))
    lost = Withheld(**WHOSE, reason="cloud_unreachable", stage="fast-lane", plan=RACE, route="cloud")
    for writer in (log_writer, AnswerLogWriter(MemoryBus("site1"))):
        [published] = await publish(lost, PublisherPorts(writer.committed_part, writer.close, lambda _: None), ())
        was_shown = writer is log_writer
        assert published.outcome == ("answered" if was_shown else "abstained")  # type: ignore[attr-defined]
        assert published.notices == (("Ask us first.",) if was_shown else ())  # type: ignore[attr-defined]


async def test_answers_that_are_judged_at_once_are_each_judged_by_their_own_facts(tmp_path: Path) -> None:
    conditions = "".join(f"  - {{name: r{n}, when: \"class == 'class{n}' && citations == 1\"}}\n" for n in range(120))
    policy(make_folder(tmp_path), f"policy_id: p\nblock:\n{conditions}", "p.yaml")
    settings = Settings(pack_dir=str(tmp_path), state_dir=str(tmp_path / "state"))
    async with open_policy(settings, MemoryBus("site1")) as handler:

        async def rule_for(number: int) -> str:
            asked = msgspec.structs.replace(QUESTION, intent=f"class{number}")
            [settled] = await handler(Drafted(**{**ABOUT, "rid": f"r{number}", "question": asked, **LATER}))
            return settled.decisions[0].rule if isinstance(settled, Withheld) else "passed"

        rules = await asyncio.gather(*(rule_for(number) for number in range(150)))
    assert rules == [f"p/r{number}" if number < 120 else "passed" for number in range(150)]


def make_folder(pack: Path) -> Path:
    (pack / "policies").mkdir()
    return pack / "policies"
