"""Router: from a screened question, a plan for it and what the plan had to give up."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.schemas import Artefact, Degradation, Message, Plan, Routed, Screened

Decide = Callable[[Screened, float], tuple[Plan, tuple[Degradation, ...]]]
"""From a question and the Unix time in milliseconds, a plan and what was degradation in it. Pure; raises nothing."""


async def route(screened: Screened, *, decide: Decide, clock: Callable[[], float]) -> list[Message]:
    """One `Routed`, always: a question that is too late still gets the cheapest plan, for it must get an answer.

    `clock` gives Unix seconds.
    """
    plan, degradations = decide(screened, clock() * 1000)
    part = Artefact("config", "router", plan.config_version)
    return [screened.followed_by(Routed, part, question=screened.question, plan=plan, degradations=degradations)]
