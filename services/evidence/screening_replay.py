"""Screens a question again by what was recorded of it, and says whether that is what was decided then. Pure.

Promises that a probability which a machine computes a little otherwise is no difference, and a decision that follows
from it is. Next: rescreening.py, by whose models; replay.py, what the policy made of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple

from tidegate.schemas import (
    Asked,
    Message,
    Replied,
    Screened,
    TidegateError,
    Withheld,
    replace,
)
from tidegate.services.evidence.difference import find_difference

STAGE = "prefilter"
NEAR = 0.01
"""Texts that are embedded together, and other processors, give other last digits."""

ReplayVerdict = Literal["identical", "differs", "not_derived"]
First = Screened | Withheld | Replied
ScreenAgain = Callable[[Asked, First], Awaitable[First]]
"""The first fact of a request, under the generation and the age that the recorded one states. Raises
`GenerationGoneError` and others of `TidegateError` where that cannot be done here."""


class ScreeningReplay(NamedTuple):
    """What became of a question when it was screened again; see `replay.ReplayOutcome`."""

    verdict: ReplayVerdict
    difference: str = ""
    reason: str = ""


async def replay_screening(facts: Sequence[Message], screen: ScreenAgain) -> ScreeningReplay:
    """Screen the question among these facts again."""
    asked = next((fact for fact in facts if isinstance(fact, Asked)), None)
    recorded = find_first(facts)
    if asked is None or recorded is None:
        return ScreeningReplay("not_derived", reason="its question is no longer stored")
    try:
        again = await screen(asked, recorded)
    except TidegateError as error:
        return ScreeningReplay("not_derived", reason=f"it cannot be screened here: {error.reason}")
    difference = find_difference(recorded, _with_near_numbers(recorded, again))
    return ScreeningReplay("differs" if difference else "identical", difference)


def find_first(facts: Sequence[Message]) -> First | None:
    """What the prefilter has left behind."""
    for fact in facts:
        if isinstance(fact, Screened) or (isinstance(fact, (Withheld, Replied)) and fact.stage == STAGE):
            return fact
    return None


def _with_near_numbers(recorded: First, again: First) -> First:
    """The new fact with the recorded probabilities, where they are near enough to be the same."""
    if isinstance(recorded, Screened) and isinstance(again, Screened):
        before, now = recorded.question.intent_confidence, again.question.intent_confidence
        if abs(before - now) <= NEAR:
            return replace(again, question=replace(again.question, intent_confidence=before))
    if (
        isinstance(recorded, Replied)
        and isinstance(again, Replied)
        and abs(recorded.confidence - again.confidence) <= NEAR
    ):
        same = [each.rule for each in recorded.decisions] == [each.rule for each in again.decisions]
        return replace(again, confidence=recorded.confidence, decisions=recorded.decisions if same else again.decisions)
    return again
