"""What the fast lane decides: whether the hub has answered, is to be asked again, or the edge finishes alone.

Next: fast_lane/__init__.py, which asks the hub over the link."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tidegate.schemas import (
    Answer,
    Artefact,
    Check,
    Committed,
    Degradation,
    DegradationLevel,
    Drafted,
    Escalated,
    Message,
    Question,
    RejectError,
    RetryLaterError,
    Verified,
    Where,
    Withheld,
    replace,
)

ASK_AGAIN_S = 0.5
LAST_TRY_S = 0.05
"""What the hub is given when the time is up already: a verdict that it remembers is here by then."""
_TRIES = 8


class EscalationRefusedError(RejectError):
    """The hub does not take this question from this site: it is never answered there."""

    hint = "the hub's audit log says why"


@dataclass(frozen=True)
class FastLanePorts:
    """What the fast lane may call."""

    ask_hub: Callable[[Escalated, float], Awaitable[Verified]]
    """Asks within so many seconds; raises `ConnectionError` when nobody answers, `EscalationRefusedError` when the hub
    does not take the question, `RejectError` when it refuses for another reason."""
    answer_alone: Callable[[Escalated], Awaitable[tuple[Answer, tuple[Artefact, ...]]]]
    """The edge's own answer, as it was when it was escalated; an empty one where there is none any more."""
    committed_part: Callable[[Escalated], Awaitable[Committed]]
    """What is committed of the cloud's answer, and shown for good."""
    clock: Callable[[], float]
    """Unix time in seconds."""


async def ask_in_time(
    escalated: Escalated, ports: FastLanePorts, alone_from: Callable[[Question], float]
) -> list[Message]:
    """The hub's verdict; while it cannot be reached, `RetryLaterError` until the time is up. Then the edge finishes,
    with its own answer where it vouches for that, and says what was given up and why; where it does not, its draft is
    marked as one to abstain from.

    The time is up before the deadline, by the publisher's share of the budget, so that the asker is answered in time.
    The durable lane goes on beside it and may still answer first. Half a second lies between tries, longer where more
    than four seconds are left, so that the stage's tries last to the end. A try takes half of what is left, so that one
    that a dying link swallowed is not the last; the hub computes once.
    """
    due_s = (escalated.deadline_at_ms - escalated.plan.shares_ms.get("publisher", 0.0)) / 1000
    left_s = due_s - ports.clock()
    try:
        return [await ports.ask_hub(escalated, max(LAST_TRY_S, min(left_s, 1.0), left_s / 2))]
    except EscalationRefusedError:
        return [withhold(escalated, "hub_refused", "cloud")]
    except ConnectionError as error:
        left_s = due_s - ports.clock()
        if left_s > 0:
            after_s = min(left_s, max(ASK_AGAIN_S, left_s / _TRIES))
            raise RetryLaterError(f"the cloud cannot be reached: {error}", after_s) from error
    answer, parts = await ports.answer_alone(escalated)
    committed = await ports.committed_part(escalated)
    vouched = continuation(answer, committed) if committed.text else own_answer(answer, alone_from(escalated.question))
    left_ms = float(round(max(0.0, left_s) * 1000))
    return [finish_at_edge(escalated, (answer, vouched), parts, committed, left_ms)]


def finish_at_edge(
    escalated: Escalated,
    own: tuple[Answer, Answer | None],
    parts: tuple[Artefact, ...],
    committed: Committed,
    left_ms: float,
) -> Drafted | Withheld:
    """How the edge ends an answer that the cloud does not: with the answer that it vouches for; else with no more than
    what the cloud has committed, which the publisher reads from the log.

    `own` is the edge's answer, and the same where it vouches for it. Where nothing may be said the policy abstains, so
    that the nearest passages are judged.
    """
    answer, vouched = own
    level: DegradationLevel = "edge_only" if vouched is not None or committed.text else "abstain"
    needed_ms = escalated.plan.shares_ms.get("cloud-verifier", 0.0)
    given_up = Degradation("fast-lane", level, left_ms, needed_ms, "the cloud cannot be reached")
    if vouched is not None or not committed.text:
        used = parts if vouched is not None else tuple(part for part in parts if part.kind != "document")
        fields = {"question": escalated.question, "plan": escalated.plan, "answer": vouched or answer}
        return escalated.followed_by(Drafted, *used, degradations=(given_up,), **fields)
    return withhold(escalated, "cloud_unreachable", "edge", given_up)


def withhold(escalated: Escalated, reason: str, route: Where, *given_up: Degradation) -> Withheld:
    """No answer; the publisher has the sentence for the asker."""
    return escalated.followed_by(
        Withheld,
        reason=reason,
        stage="fast-lane",
        language=escalated.question.language,
        plan=escalated.plan,
        route=route,
        degradations=given_up,
        question=escalated.question,
    )


def own_answer(answer: Answer, alone_from: float) -> Answer | None:
    """The edge's own answer where it is sure enough of it by itself; else None."""
    return answer if answer.text and answer.confidence >= alone_from else None


def continuation(answer: Answer, committed: Committed) -> Answer | None:
    """The edge's own answer where it continues what the cloud began, out of the same documents; else None.

    Its confidence is then the cloud's, where that is higher: confidence is calibrated to be the probability that the
    right document is cited, and this is the document that the cloud answers from. The check `continuation` is the share
    of the text that was committed.
    """
    text, evidence = committed.text, committed.evidence
    documents = {(cited.document_id, cited.document_version) for cited in answer.citations}
    begun = {(cited.document_id, cited.document_version) for cited in evidence.citations}
    if committed.is_over or not answer.text.startswith(text) or documents != begun:
        return None
    check = Check("continuation", True, len(text) / len(answer.text))
    return replace(answer, confidence=max(answer.confidence, evidence.confidence), checks=(*answer.checks, check))
