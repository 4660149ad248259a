"""Router: from a screened question, a plan for it and what the plan had to give up."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.schemas import Artefact, Concession, Message, Plan, Routed, Screened

Decide = Callable[[Screened, float], tuple[Plan, tuple[Concession, ...]]]
"""From a question and the Unix time in milliseconds, a plan and what was conceded in it. Pure; raises nothing."""


async def route(screened: Screened, *, decide: Decide, clock: Callable[[], float]) -> list[Message]:
    """One `Routed`, always: a question that is too late still gets the cheapest plan, for it must get an answer.

    `clock` gives Unix seconds.
    """
    plan, concessions = decide(screened, clock() * 1000)
    part = Artefact("table", "router", plan.table)
    return [screened.followed_by(Routed, part, question=screened.question, plan=plan, concessions=concessions)]
