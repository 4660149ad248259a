"""Several drafters as one, in the order of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.services.llm.drafters.base import Drafter
from tidegate.services.llm.drafters.lm_drafter import LmDrafter


class ChainedDrafter:
    """Asks drafters in the order of the plan, anew after each run of tokens that one of them had an idea of.

    A language model behind others is asked for one token at a time, so that the cheaper ones may take over again.
    """

    def __init__(self, drafters: Sequence[Drafter]) -> None:
        self._drafters = tuple(drafters)

    def propose(self, ids: Sequence[int], k: int) -> list[int]:
        proposed: list[int] = []
        while len(proposed) < k:
            more = self._next([*ids, *proposed] if proposed else ids, k - len(proposed))
            if not more:
                break
            proposed += more
        return proposed

    def _next(self, ids: Sequence[int], k: int) -> list[int]:
        for index, drafter in enumerate(self._drafters):
            more = drafter.propose(ids, 1 if index and isinstance(drafter, LmDrafter) else k)
            if more:
                return more
        return []
