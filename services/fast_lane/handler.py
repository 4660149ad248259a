"""What the fast lane decides: whether the hub has answered, is to be asked again, or the edge finishes alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from schemas import Answer, Artefact, Concession, Drafted, Escalated, Later, Message, Verified, Withheld

ASK_AGAIN_S = 0.5
LAST_TRY_S = 0.05
"""What the hub is given when the time is up already: a verdict that it remembers is here by then."""
_TRIES = 8

AskHub = Callable[[Escalated, float], Awaitable[Verified]]
"""Asks within so many seconds; raises `ConnectionError` when nobody answers, `Reject` when the hub refuses."""


Alone = Callable[[Escalated], Awaitable[tuple[Answer, tuple[Artefact, ...]]]]
"""The edge's own answer, as it stood when it was escalated; an empty one where there is none any more."""


async def hurry(
    escalated: Escalated, *, ask_hub: AskHub, clock: Callable[[], float], alone: Alone, alone_from: float
) -> list[Message]:
    """The hub's verdict; while it cannot be reached, `Later` until the time is up. Then the edge finishes: with its own
    answer, where that reaches the confidence `alone_from`, or with Withheld. Either says what was given up, and why.

    `clock` gives Unix time in seconds. The time is up before the deadline, by the publisher's share of the budget, so
    that the asker hears of it in time. The durable lane goes on beside it and may still answer first. Half a second
    lies between tries, longer where more than four seconds are left, so that the stage's tries last to the end.
    A try takes half of what is left, so that one that a dying link swallowed is not the last; the hub computes once.
    """
    due_s = (escalated.deadline_at_ms - escalated.plan.shares_ms.get("publisher", 0.0)) / 1000
    left_s = due_s - clock()
    try:
        return [await ask_hub(escalated, max(LAST_TRY_S, min(left_s, 1.0), left_s / 2))]
    except ConnectionError as error:
        left_s = due_s - clock()
        if left_s > 0:
            after_s = min(left_s, max(ASK_AGAIN_S, left_s / _TRIES))
            raise Later(f"the cloud cannot be reached: {error}", after_s) from error
    needed_ms = escalated.plan.shares_ms.get("cloud-verifier", 0.0)
    answer, parts = await alone(escalated)
    if answer.text and answer.confidence >= alone_from:
        given_up = Concession("fast-lane", "edge_only", left_ms(left_s), needed_ms, "the cloud cannot be reached")
        fields = {"question": escalated.question, "plan": escalated.plan, "answer": answer}
        return [escalated.followed_by(Drafted, *parts, concessions=(given_up,), **fields)]
    given_up = Concession("fast-lane", "abstain", left_ms(left_s), needed_ms, "the cloud cannot be reached")
    return [
        escalated.followed_by(
            Withheld,
            reason="cloud_unreachable",
            stage="fast-lane",
            language=escalated.question.language,
            plan=escalated.plan,
            route="edge",
            concessions=(given_up,),
        )
    ]


def left_ms(left_s: float) -> float:
    """What is left, in whole milliseconds; nothing is left of what is overspent."""
    return float(round(max(0.0, left_s) * 1000))
