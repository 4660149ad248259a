"""Answers a recorded question again by any generation of a site: prefilter, retriever, drafter and policy, in process.

Promises that nothing is stored, sent or asked of the hub: where the edge asks the cloud, the recorded answer of the
cloud stands; and that the plan is the recorded one, for link and load are no artefacts. Next: bisect.py."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import NamedTuple

from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.stage import Handler
from tidegate.schemas import (
    Artefact,
    Asked,
    Degradation,
    Drafted,
    Escalated,
    Fact,
    Message,
    Partial,
    Plan,
    Routed,
    Screened,
    Suggestion,
    Verified,
    replace,
)
from tidegate.services.evidence.bisect import Answered, outcome_of
from tidegate.services.evidence.rescreening import Rescreening
from tidegate.services.evidence.screening_replay import find_first
from tidegate.services.fleet.tenant_parts import TenantParts
from tidegate.services.planning.config import Signals
from tidegate.services.planning.planner import PlanRequest, make_plan
from tidegate.services.policies.crossings import find_reason_to_stay
from tidegate.services.policies.evaluation import PolicyEvaluation
from tidegate.services.policies.writing import choose_writing
from tidegate.services.settings import Settings
from tidegate.services.stages import drafter, retriever
from tidegate.services.stages.policy import NO_RULES, JudgingRules, evaluate_answer
from tidegate.services.stages.policy.handler import PolicyPorts, judge
from tidegate.services.stages.prefilter.admission import Admission
from tidegate.services.stages.router import RoutingRules, with_prompts

ALONE = Signals(link_up=False, rtt_ms=0.0, queue_depth=0, load=0.0)
WITHIN_MS = 600_000
"""No time is short when it is answered again: what was given up for want of it is no artefact's doing."""


class RecordedQuestion(NamedTuple):
    """What is answered again: the question as it is stored, what the site gave up for its age, the plan that was made
    for it (None: it got none), and the cloud's answer where there was one. `is_new`: it was never asked, and is planned
    as at an idle site without a link."""

    asked: Asked
    degradations: tuple[Degradation, ...] = ()
    plan: Plan | None = None
    verified: Verified | None = None
    is_new: bool = False

    @classmethod
    def of(cls, facts: Sequence[Message]) -> RecordedQuestion | None:
        """The question among the facts of a request; None where it is not there any more."""
        asked = next((fact for fact in facts if isinstance(fact, Asked)), None)
        first = find_first(facts)
        if asked is None or first is None:
            return None
        routed = next((fact for fact in facts if isinstance(fact, Routed)), None)
        verified = next((fact for fact in reversed(facts) if isinstance(fact, Verified)), None)
        return cls(asked, first.degradations, routed.plan if routed else None, verified)


class Reanswering:
    """The stages of a site, open; see `open_reanswering`."""

    def __init__(self, settings: Settings, screening: Rescreening, retrieve: Handler, draft: Handler) -> None:
        self._screening = screening
        self._retrieve = retrieve
        self._draft = draft
        self._routing = TenantParts(settings, partial(RoutingRules.load, settings))
        self._judging = TenantParts(settings, partial(JudgingRules.load, settings))

    async def answer(self, question: RecordedQuestion, generation: int) -> Answered:
        """The answer to a question by a generation. Raises what the stages raise."""
        first = await self._screening.screen_under(question.asked, Admission(generation, question.degradations))
        if not isinstance(first, Screened) or (question.plan is None and not question.is_new):
            return _answered(first)
        return await self._answer_screened(first, question.plan, question.verified)

    async def _answer_screened(self, screened: Screened, plan: Plan | None, verified: Verified | None) -> Answered:
        now_ms = int(time.time() * 1000)
        screened = replace(screened, asked_at_ms=now_ms, deadline_at_ms=now_ms + WITHIN_MS)
        await self._routing.refresh(screened.tenant)
        rules = await self._routing.at(screened.tenant, screened.generation)
        assert rules is not None  # it was screened by this generation
        stays = find_reason_to_stay(screened.question, rules.policies)
        if plan is None:
            plan = make_plan(PlanRequest(screened.question, WITHIN_MS, tenant=screened.tenant), ALONE, rules.config)
        plan = replace(plan, writing=choose_writing(screened.question, rules.policies))
        plan = replace(plan, where="edge", may_escalate=False) if stays else plan
        routed = screened.followed_by(Routed, question=screened.question, plan=plan)
        [retrieved] = await self._retrieve(with_prompts(routed, rules.prompts))
        [made] = await self._draft(retrieved)
        if isinstance(made, Escalated):
            if verified is None:
                return _answered(made)
            fields = {"answer": verified.answer, "suggestions": verified.suggestions, "refusal": verified.refusal}
            own = made.followed_by(Verified, question=made.question, plan=made.plan, **fields)
            made = replace(own, lineage=tuple(dict.fromkeys((*own.lineage, *verified.lineage))))
        assert isinstance(made, (Drafted, Verified))
        return await self._judge(made)

    async def _judge(self, answered: Drafted | Verified) -> Answered:
        await self._judging.refresh(answered.tenant)
        rules = await self._judging.at(answered.tenant, answered.generation) or NO_RULES

        async def evaluate(answer: Drafted | Verified | Partial, is_provisional: bool) -> PolicyEvaluation:
            return await evaluate_answer(rules, answer, is_provisional)

        [settled] = await judge(answered, PolicyPorts(evaluate, _no_hurry, _no_suggestions, _as_it_is))
        return _answered(settled)


@asynccontextmanager
async def open_reanswering(settings: Settings) -> AsyncIterator[Reanswering]:
    """The stages with their models, warm. Raises what they raise when they are opened, `NoSiteKeyError`."""
    bus = MemoryBus(settings.site)
    with Rescreening.open(settings) as screening:
        async with retriever.open(settings, bus) as retrieve, drafter.open(settings, bus) as draft:
            yield Reanswering(settings, screening, retrieve, draft)


def _no_hurry(_: Drafted) -> Degradation | None:
    return None


async def _as_it_is(_: Verified) -> Escalated | None:
    return None


async def _no_suggestions(_: Drafted | Verified) -> tuple[Suggestion, ...]:
    return ()


def _answered(fact: Fact) -> Answered:
    """The outcome with what contributed to it, this software included, as a receipt has it."""
    return Answered(outcome_of(fact), (*fact.lineage, Artefact("software", "tidegate", version("tidegate"))))
