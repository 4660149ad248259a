"""The policy's composition root: the handler over every policy in force, and the judging of partial answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.schemas import (
    Drafted,
    Escalated,
    Fact,
    Message,
    Partial,
    Retrieved,
    Suggestion,
    Verified,
    decode,
    encode,
    subjects,
)
from tidegate.services.fleet.live_settings import with_live_settings
from tidegate.services.fleet.tenant_parts import TenantParts, open_tenant_parts
from tidegate.services.packs.active import PackInForce
from tidegate.services.planning.degradation import LatencyModel
from tidegate.services.policies.case import Case
from tidegate.services.policies.circumstances import describe_circumstances
from tidegate.services.policies.evaluation import PolicyEvaluation, evaluate
from tidegate.services.policies.policy import FindPersonal, Policy
from tidegate.services.policies.suggestions import allow_suggestions, order_suggestions, suggest
from tidegate.services.privacy.dlp.detector import WrittenTextDetector
from tidegate.services.settings import Settings
from tidegate.services.stages.policy.handler import PolicyPorts, judge, judge_partial
from tidegate.services.stages.policy.holding import hold_back
from tidegate.services.stages.policy.metrics import HoldBackMetrics
from tidegate.services.stages.threads import in_thread_unless, is_brief

METRICS = HoldBackMetrics()


@dataclass(frozen=True)
class JudgingRules:
    """By what the answers of a tenant are judged: the policies in force, and what finds personal data."""

    policies: tuple[Policy, ...] = ()
    find_personal: FindPersonal = lambda _: ()

    @classmethod
    def load(cls, running: Settings, pack: PackInForce) -> JudgingRules:
        """Raises `PolicyError`, `SettingsError`."""
        prefilter = with_live_settings(running, pack).prefilter
        return cls(
            pack.policies,
            WrittenTextDetector(
                prefilter.phone_regions, finds_health=prefilter.health_data, patterns=prefilter.patterns
            ).find,
        )


NO_RULES = JudgingRules()
"""Under which nothing passes."""


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001 - every stage's root is `open`
    """Yield the handler once every policy is in force. Raises `PolicyError`: without one nothing may pass.

    Each answer is judged by the policies that were in force when its question was screened. Beside it, answers in the
    making, the edge's and the cloud's, are judged as they come and published once they pass.
    """
    latency = LatencyModel("policy", {"full": 0.0}, time.time)
    async with open_tenant_parts(settings, partial(JudgingRules.load, settings)) as rules:
        judging = Judging(settings.site, bus, rules)
        ports = PolicyPorts(
            judging.evaluate, latency.required_degradation, judging.find_suggestions, judging.find_escalation
        )

        async def forward(_: str, data: bytes) -> None:
            partial_answer, began_s = decode(data, Partial), time.perf_counter()
            passed = await judge_partial(partial_answer, ports)
            METRICS.observe(partial_answer, passed, time.perf_counter() - began_s)
            if passed is not None:
                await bus.publish_core(subjects.partial(True, passed.tenant, passed.rid), encode(passed))

        await bus.listen(subjects.PARTIAL_DRAFTED, forward)
        await bus.listen(subjects.cloud_partial(settings.site), forward)

        async def handler(answered: Drafted | Verified) -> list[Message]:
            began_s = time.perf_counter()
            [judged] = await judge(answered, ports)
            if latency.level_of(answered) != "abstain":
                latency.observe(latency.level_of(judged), (time.perf_counter() - began_s) * 1000)
            return [judged]

        yield handler


class Judging:
    """The ports of the handler that take the rules in force of the request's tenant."""

    def __init__(self, site: str, bus: Bus, rules: TenantParts[JudgingRules]) -> None:
        self._site = site
        self._bus = bus
        self._rules = rules

    async def evaluate(self, answered: Drafted | Verified | Partial, is_provisional: bool) -> PolicyEvaluation:
        """See `PolicyPorts`."""
        return await evaluate_answer(await self._rules_for(answered), answered, is_provisional)

    async def find_suggestions(self, answered: Drafted | Verified) -> tuple[Suggestion, ...]:
        """See `PolicyPorts`: of the passages that were retrieved here, and of those that came from the hub."""
        retrieved = answered.followed_by(Retrieved, question=answered.question, plan=answered.plan)
        data = await self._bus.last(subjects.PIPE, subjects.subject_of(retrieved, self._site))
        nearest = suggest(decode(data, Retrieved).passages) if data is not None else ()
        at_hub = answered.suggestions if isinstance(answered, Verified) else ()
        candidates = order_suggestions(answered.answer, nearest, at_hub)
        own = await self._rules_for(answered)
        here = describe_circumstances(answered, is_provisional=False)
        return await asyncio.to_thread(
            allow_suggestions, answered.question, candidates, own.policies, own.find_personal, here
        )

    async def find_escalation(self, refused: Verified) -> Escalated | None:
        """See `PolicyPorts`."""
        stored_under = subjects.escalations_of(self._site, f"{refused.tenant}.{refused.rid}")
        data = await self._bus.last(subjects.ESCALATIONS, stored_under)
        return None if data is None else decode(data, Escalated)

    async def _rules_for(self, fact: Fact) -> JudgingRules:
        return await self._rules.at(fact.tenant, fact.generation) or NO_RULES


async def evaluate_answer(
    rules: JudgingRules, answered: Drafted | Verified | Partial, is_provisional: bool
) -> PolicyEvaluation:
    """The evaluation, of a long question or answer in a thread of its own: the rules take tens of milliseconds over it.

    Where only quotations may be given, what is still being written is not shown: what it will become is not known. Of
    other answers in the making that is held back which may become part of a personal value.
    """
    here = describe_circumstances(answered, is_provisional=is_provisional)
    if here.is_evidence_only and isinstance(answered, Partial):
        return PolicyEvaluation(answered.answer, (), (), "abstained")
    case = Case(answered.question, answered.answer, here)
    evaluation = await in_thread_unless(
        is_brief(answered.answer, answered.question.text), partial(evaluate, case, rules.policies, rules.find_personal)
    )
    if evaluation.refusal or not isinstance(answered, Partial) or answered.is_whole:
        return evaluation
    shown = hold_back(answered.answer, evaluation.answer, rules.policies, rules.find_personal)
    return replace(evaluation, answer=shown, refusal="" if shown.text.strip() else "abstained")
