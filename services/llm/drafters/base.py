"""Guesses at the next tokens, from whoever can make them; a guess changes the number of steps and never the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

MOST_DRAFTED = 16
"""Tokens that are proposed for one step at most."""


class Drafter(Protocol):
    """Proposes what follows. One belongs to one request; `tests/support/drafter_conformance.py` is what each passes.

    A drafter may remember what it was shown; what it proposes depends on the ids shown last alone.
    """

    def propose(self, ids: Sequence[int], k: int) -> list[int]:
        """At most `k` ids of the vocabulary that may follow `ids` (prompt and answer so far); [] for no idea.

        Each call may go on from the ids of the last one, fall back behind them, or be about something else.
        """


def count_common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with."""
    most = min(len(left), len(right))
    if list(left[:most]) == list(right[:most]):
        return most
    return next(at for at in range(most) if left[at] != right[at])


def in_vocabulary(ids: Sequence[int], size: int) -> list[int]:
    """The ids up to the first that a vocabulary of `size` tokens does not have."""
    foreign = next((at for at, each in enumerate(ids) if not 0 <= each < size), len(ids))
    return list(ids[:foreign])
