"""What the fast lane decides: whether the hub has answered, is to be asked again, or the edge finishes alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tidegate.schemas import (
    Answer,
    Artefact,
    Check,
    Committed,
    Concession,
    Drafted,
    Escalated,
    Message,
    RetryLaterError,
    Rung,
    Verified,
    Withheld,
    changed,
)

ASK_AGAIN_S = 0.5
LAST_TRY_S = 0.05
"""What the hub is given when the time is up already: a verdict that it remembers is here by then."""
_TRIES = 8

AskHub = Callable[[Escalated, float], Awaitable[Verified]]
"""Asks within so many seconds; raises `ConnectionError` when nobody answers, `RejectError` when the hub refuses."""


Alone = Callable[[Escalated], Awaitable[tuple[Answer, tuple[Artefact, ...]]]]
"""The edge's own answer, as it stood when it was escalated; an empty one where there is none any more."""

Stands = Callable[[Escalated], Awaitable[Committed]]
"""What the cloud has said of its answer before it was lost, and is shown for ever."""


async def hurry(
    escalated: Escalated,
    *,
    ask_hub: AskHub,
    clock: Callable[[], float],
    alone: Alone,
    alone_from: float,
    stands: Stands,
) -> list[Message]:
    """The hub's verdict; while it cannot be reached, `RetryLaterError` until the time is up. Then the edge finishes:
    with its own answer, where it vouches for that, or with Withheld; see `finished`. Either says what was given up,
    and why.

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
            raise RetryLaterError(f"the cloud cannot be reached: {error}", after_s) from error
    answer, parts = await alone(escalated)
    return [finished(escalated, answer, parts, await stands(escalated), alone_from, left_ms(left_s))]


def finished(
    escalated: Escalated,
    answer: Answer,
    parts: tuple[Artefact, ...],
    stands: Committed,
    alone_from: float,
    time_ms: float,
) -> Drafted | Withheld:
    """How the edge ends an answer that the cloud does not, with `time_ms` left.

    Where nothing is committed: by its own, from the confidence `alone_from` on. Where the cloud has begun: by its own
    where that goes on from what is committed, and else with no more than that, which is the publisher's to say.
    """
    vouched = continued(answer, stands) if stands.text else unaided(answer, alone_from)
    rung: Rung = "edge_only" if vouched is not None or stands.text else "abstain"
    needed_ms = escalated.plan.shares_ms.get("cloud-verifier", 0.0)
    given_up = Concession("fast-lane", rung, time_ms, needed_ms, "the cloud cannot be reached")
    if vouched is not None:
        fields = {"question": escalated.question, "plan": escalated.plan, "answer": vouched}
        return escalated.followed_by(Drafted, *parts, concessions=(given_up,), **fields)
    return escalated.followed_by(
        Withheld,
        reason="cloud_unreachable",
        stage="fast-lane",
        language=escalated.question.language,
        plan=escalated.plan,
        route="edge",
        concessions=(given_up,),
    )


def unaided(answer: Answer, alone_from: float) -> Answer | None:
    """The edge's own answer where it is sure enough of it by itself; else None."""
    return answer if answer.text and answer.confidence >= alone_from else None


def continued(answer: Answer, stands: Committed) -> Answer | None:
    """The edge's own answer where it goes on from what the cloud began, out of the same documents; else None.

    Its confidence is then the cloud's, where that is higher: confidence is calibrated to be the probability that the
    right document is cited, and this is the document that the cloud answers from. The check `continuation` is the share
    of the text that was committed.
    """
    text, evidence = stands.text, stands.evidence
    documents = {(cited.document_id, cited.document_version) for cited in answer.citations}
    begun = {(cited.document_id, cited.document_version) for cited in evidence.citations}
    if stands.is_over or not answer.text.startswith(text) or documents != begun:
        return None
    check = Check("continuation", True, len(text) / len(answer.text))
    return changed(answer, confidence=max(answer.confidence, evidence.confidence), checks=(*answer.checks, check))


def left_ms(left_s: float) -> float:
    """What is left, in whole milliseconds; nothing is left of what is overspent."""
    return float(round(max(0.0, left_s) * 1000))
