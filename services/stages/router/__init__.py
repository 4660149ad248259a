"""The router's composition root: the planner under fresh signals of link, load and cloud."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from tidegate.brokers.base import Bus
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.stage import Handler
from tidegate.schemas import Degradation, Message, Plan, Routed, Screened, Writing
from tidegate.services.fleet.live_settings import with_live_settings
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.tenant_parts import open_tenant_parts
from tidegate.services.packs.active import PackInForce, SitePrompt
from tidegate.services.pipeline import WORKERS
from tidegate.services.planning.config import PlannerConfig, Signals
from tidegate.services.planning.degradation import unaccounted_ms
from tidegate.services.planning.draft_ledger import drafts_pay
from tidegate.services.planning.experience import PlannerState
from tidegate.services.planning.planner import PlanRequest, make_plan, plan_degradations
from tidegate.services.planning.standing import rung_of
from tidegate.services.policies.crossings import find_reason_to_stay
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.writing import choose_writing
from tidegate.services.settings import Settings
from tidegate.services.stages.router.handler import route
from tidegate.services.stages.router.planner_metrics import PlannerMetrics
from tidegate.services.stages.router.planner_state import kept_in, load_state
from tidegate.services.stages.router.signals import SignalCollector
from tidegate.services.stages.settings import RouterSettings

METRICS = PlannerMetrics()
"""One for the process, as the registry is."""
QUEUES = ("retriever", "drafter")
"""The stages whose queues show how busy the edge is: those that work, not those that decide."""


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001 - a root is `open`
    """Yield the handler once the signals have been collected for the first time.

    Raises `PolicyError`: the policies say how answers may be written. The handler raises what has ended the collecting,
    should anything: a router without fresh signals must not plan.
    """
    paths = StatePaths(settings)
    kept = await asyncio.to_thread(load_state, paths.planner)
    collector = SignalCollector(bus, settings.site, [WORKERS[name] for name in QUEUES], settings.tenants, state=kept)
    await collector.learn_from_answers()
    await collector.collect()
    collecting = asyncio.create_task(collector.keep_collecting(settings.router.ping_every_s))

    async with open_tenant_parts(settings, partial(RoutingRules.load, settings)) as rules:

        async def handler(screened: Screened) -> list[Message]:
            if collecting.done():
                collecting.result()
            own = await rules.at(screened.tenant, screened.generation) or RoutingRules(config_of(settings.router))
            [routed] = await route(screened, decide=partial(decide_by, own, collector.signals), clock=time.time)
            return [with_prompts(routed, own.prompts)]

        def changes() -> PlannerState | None:
            current = rules.current(settings.tenants[0])
            return judge_drafts(collector, current.parts.config if current else config_of(settings.router))

        async with kept_in(paths.planner, changes):
            with METRICS.showing(collector.experience):
                try:
                    yield handler
                finally:
                    await end_tasks(collecting)


@dataclass(frozen=True)
class RoutingRules:
    """By what a tenant's questions are planned: the planner's configuration, the policies and the prompts in force."""

    config: PlannerConfig
    policies: tuple[Policy, ...] = ()
    prompts: tuple[SitePrompt, ...] = ()

    @classmethod
    def load(cls, running: Settings, pack: PackInForce) -> RoutingRules:
        """Raises `PolicyError`, `PackError`, `SettingsError`."""
        return cls(config_of(with_live_settings(running, pack).router), pack.policies, pack.prompts)


def decide_by(
    rules: RoutingRules, signals: Signals, screened: Screened, now_ms: float
) -> tuple[Plan, tuple[Degradation, ...]]:
    """The plan for a question by the rules in force when it was screened, and what it gives up."""
    writing = choose_writing(screened.question, rules.policies)
    kept_here = find_reason_to_stay(screened.question, rules.policies)
    planned = without_idle_instructions(screened, writing)
    return decide(signals, rules.config, planned, now_ms, writing=writing, kept_here=kept_here)


def judge_drafts(collector: SignalCollector, config: PlannerConfig) -> PlannerState | None:
    """What the collector has learned since the last time, with whether drafts pay; None where that is nothing."""
    state = collector.take_changes()
    for line in state.drafts if state is not None else ():
        step_ms = collector.signals.cloud.step_ms or config.step_ms
        line.pays = drafts_pay(line.record, step_ms, config.uplink_ms_per_byte, config.worth_ms)
    return state


def with_prompts(routed: Message, prompts: Sequence[SitePrompt]) -> Message:
    """A question that a model may answer in its own words, with what the site tells that one; the asker's own
    instructions come before it."""
    assert isinstance(routed, Routed)
    question, plan = routed.question, routed.plan
    if not prompts or question.instructions or plan.writing == "quote" or not plan.may_escalate:
        return routed
    instructed = msgspec.structs.replace(question, instructions="\n\n".join(prompt.text for prompt in prompts))
    lineage = (*routed.lineage, *(prompt.part for prompt in prompts))
    return msgspec.structs.replace(routed, question=instructed, lineage=lineage)


def config_of(router: RouterSettings) -> PlannerConfig:
    """The planner's configuration that the settings ask for."""
    config = PlannerConfig()
    return replace(
        config,
        k=router.k,
        k_under_load=router.k_under_load,
        queue_depth_high=router.queue_depth_high,
        economy=router.economy,
        mode=router.mode or None,
        answer_tokens=router.answer_tokens,
        knee_positions=router.knee_positions,
        drafters={**config.drafters, "lm": router.draft_token_ms},
        uplink_ms_per_byte=8 / router.uplink_kbps if router.uplink_kbps else 0.0,
    )


def without_idle_instructions(screened: Screened, writing: Writing) -> Screened:
    """The question as it is planned: with its instructions only where a model may write under them."""
    if writing != "quote" or not screened.question.instructions:
        return screened
    return msgspec.structs.replace(screened, question=msgspec.structs.replace(screened.question, instructions=""))


def decide(
    signals: Signals,
    config: PlannerConfig,
    screened: Screened,
    now_ms: float,
    *,
    writing: Writing = "quote",
    kept_here: str = "",
) -> tuple[Plan, tuple[Degradation, ...]]:
    """The plan for a question whose answer may be written so, and what it gives up. `kept_here` is why no
    policy lets the cloud be asked; empty where all let it."""
    question, remaining_ms = screened.question, screened.deadline_at_ms - int(now_ms)
    request = PlanRequest(
        question,
        max(0, remaining_ms),
        tenant=screened.tenant,
        rid=screened.rid,
        can_retract=screened.can_retract,
        writing=writing,
        spent_ms=max(0.0, now_ms - screened.asked_at_ms),
        kept_here=reason_to_keep(screened) or kept_here,
    )
    plan = make_plan(request, signals, config)
    waited_ms = unaccounted_ms(screened, now_ms)
    given_up = plan_degradations(question, remaining_ms, signals, config, screened.timings, waited_ms)
    if request.kept_here:  # the receipt shows already that the cloud is not asked, and why
        given_up = tuple(made for made in given_up if made.level != "edge_only")
    return plan, given_up


def reason_to_keep(screened: Screened) -> str:
    """Why the cloud may not be asked by a site that is out of date; empty where it may."""
    rung = rung_of(screened.degradations)
    return "" if rung == "full" else f"the site is out of date ({rung})"
