"""Where a decision that was derived again is not the one that was recorded. Pure. Next: replay.py."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Fact, Withheld

MEASURED = ("timings", "speculation")
"""What says how long it took, which is not decided."""
LONGEST = 250


def find_difference(recorded: Fact, again: Fact) -> str:
    """The first field of a decision that is not as it was recorded; empty: all are."""
    if type(recorded) is not type(again):
        names = (type(recorded).__name__.lower(), type(again).__name__.lower())
        return f"it was {names[0]}, and would be {names[1]}: {reasons_of(again)}"
    for field in msgspec.structs.fields(type(recorded)):
        before, now = getattr(recorded, field.name), getattr(again, field.name)
        if field.name not in MEASURED and before != now:
            return f"{field.name}: {before!r}"[:LONGEST] + f" then, {now!r}"[:LONGEST] + " now"
    return ""


def reasons_of(fact: Fact) -> str:
    """Why, by the rules that decided, or by the code of a refusal that no rule gave."""
    decisions = getattr(fact, "decisions", ())
    if not decisions and isinstance(fact, Withheld):
        return fact.reason
    return ", ".join(f"{decision.rule}: {decision.reason}" for decision in decisions)[:LONGEST]
