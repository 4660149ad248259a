"""The policy's composition root: the handler over every policy of the pack, and the judging of partial answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.schemas import (
    Answer,
    Drafted,
    Message,
    Partial,
    Question,
    Retrieved,
    Suggestion,
    Verified,
    decode,
    encode,
    subjects,
)
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.planning.degradation import LatencyModel
from tidegate.services.policies.evaluation import PolicyEvaluation, evaluate
from tidegate.services.policies.language import load_policies
from tidegate.services.policies.policy import FindPersonal, Policy
from tidegate.services.policies.suggestions import allow_suggestions, order_suggestions, suggest
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.settings import Settings
from tidegate.services.stages.policy.handler import PolicyPorts, judge, judge_partial


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001 - every stage's root is `open`
    """Yield the handler once every policy of the pack is in force. Raises `PolicyError`: without one nothing may pass.

    Beside it, answers in the making, the edge's and the cloud's, are judged as they come and published once they pass.
    """
    folder = StatePaths(settings).pack / "policies"
    policies = load_policies(sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]))
    latency = LatencyModel("policy", {"full": 0.0}, time.time)
    find_personal = Detector(settings.prefilter.phone_regions).find

    async def find_suggestions(answered: Drafted | Verified) -> tuple[Suggestion, ...]:
        retrieved = answered.followed_by(Retrieved, question=answered.question, plan=answered.plan)
        data = await bus.last(subjects.PIPE, subjects.subject_of(retrieved, settings.site))
        here = suggest(decode(data, Retrieved).passages) if data is not None else ()
        at_hub = answered.suggestions if isinstance(answered, Verified) else ()
        candidates = order_suggestions(answered.answer, here, at_hub)
        return await asyncio.to_thread(allow_suggestions, answered.question, candidates, policies, find_personal)

    evaluation = partial(evaluate_in_thread, policies, find_personal)
    ports = PolicyPorts(evaluation, latency.required_degradation, find_suggestions)

    async def forward(_: str, data: bytes) -> None:
        passed = await judge_partial(decode(data, Partial), ports)
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


async def evaluate_in_thread(
    policies: Sequence[Policy], find_personal: FindPersonal, question: Question, answer: Answer, is_provisional: bool
) -> PolicyEvaluation:
    """The evaluation in a thread of its own: the rules take tens of milliseconds over a long answer."""
    return await asyncio.to_thread(
        evaluate, question, answer, policies=policies, find_personal=find_personal, is_provisional=is_provisional
    )
