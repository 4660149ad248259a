"""A drafter that is a smaller language model of the target's vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.services.llm.drafters.base import count_common
from tidegate.services.llm.model.causal_lm import CausalLM, ModelContext
from tidegate.services.llm.model.sampling import Sampling, choose


class LmDrafter:
    """Implements `Drafter`; it chooses as the target does: same seed, same noise."""

    def __init__(self, lm: CausalLM, sampling: Sampling = Sampling()) -> None:  # noqa: B008 - frozen
        self._lm = lm
        self._sampling = sampling
        self._context: ModelContext | None = None

    def propose(self, ids: Sequence[int], k: int) -> list[int]:
        """See `Drafter`. Beyond the model's context it has no idea."""
        if not ids or k < 1 or len(ids) >= self._lm.context or not all(0 <= i < self._lm.vocabulary for i in ids):
            return []
        context = self._rewind(ids)
        proposed: list[int] = []
        unread = list(ids[context.length :])
        while len(proposed) < k and len(unread) <= context.room:
            row = context.forward(unread)[-1]
            token = choose(row, self._sampling, context.length)
            proposed.append(token)
            unread = [token]
        return proposed

    def _rewind(self, ids: Sequence[int]) -> ModelContext:
        """The context, back at what it shares with `ids`; at least the last of them is left to be read."""
        if self._context is None:
            self._context = self._lm.open(ids)
        shared = count_common(self._context.ids, ids[:-1])
        if shared == 0 and self._context.length:
            self._context = self._lm.open(ids)
        else:
            self._context.rollback(shared)
        return self._context
