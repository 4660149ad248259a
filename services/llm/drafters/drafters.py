"""Guesses at the next tokens, from whoever can make them; a guess changes the number of steps and never the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tidegate.services.llm.decoding.sampling import Row, Sampling, choose

if TYPE_CHECKING:
    from tidegate.services.llm.decoding.causal_lm import CausalLM, Context

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


class Chained:
    """Asks drafters in the order of the plan, anew after each run of tokens that one of them had an idea of.

    A language model behind others is asked for one token at a time, so that the cheaper ones may take over again.
    """

    def __init__(self, drafters: Sequence[Drafter]) -> None:
        self._drafters = tuple(drafters)

    def propose(self, ids: Sequence[int], k: int) -> list[int]:
        """See `Drafter`."""
        said: list[int] = []
        while len(said) < k:
            more = self._next([*ids, *said] if said else ids, k - len(said))
            if not more:
                break
            said += more
        return said

    def _next(self, ids: Sequence[int], k: int) -> list[int]:
        for place, drafter in enumerate(self._drafters):
            more = drafter.propose(ids, 1 if place and isinstance(drafter, LmDrafter) else k)
            if more:
                return more
        return []


class LmDrafter:
    """A smaller language model of the same vocabulary, which chooses as the target does: same seed, same noise."""

    def __init__(self, lm: CausalLM, sampling: Sampling = Sampling(), *, least: float = 0.0) -> None:  # noqa: B008
        """`least`: a token that the model holds less likely than this is not proposed, nor is anything after it."""
        self._lm = lm
        self._sampling = sampling
        self._least = least
        self._context: Context | None = None

    def propose(self, ids: Sequence[int], k: int) -> list[int]:
        """See `Drafter`. Beyond the model's context it has no idea."""
        if not ids or k < 1 or len(ids) >= self._lm.context or not all(0 <= i < self._lm.vocabulary for i in ids):
            return []
        context = self._at(ids)
        said: list[int] = []
        unread = list(ids[context.length :])
        while len(said) < k and len(unread) <= context.room:
            row = context.forward(unread)[-1]
            token = choose(row, self._sampling, context.length)
            if self._least and likelihood(row, token) < self._least:
                break
            said.append(token)
            unread = [token]
        return said

    def _at(self, ids: Sequence[int]) -> Context:
        """The context, back at what it shares with `ids`; at least the last of them is left to be read."""
        if self._context is None:
            self._context = self._lm.open(ids)
        shared = common(self._context.ids, ids[:-1])
        if shared == 0 and self._context.length:
            self._context = self._lm.open(ids)
        else:
            self._context.rollback(shared)
        return self._context


def likelihood(row: Row, token: int) -> float:
    """The probability of `token` under the logits `row`."""
    weights = np.exp(row - row.max(), dtype=np.float64)
    return float(weights[token] / weights.sum())


class Shipped:
    """A whole answer that somebody else expects, for a prompt of `start` tokens; finds its place again after an error.

    Where the answer so far is not how the draft begins, the draft goes on behind the place whose last tokens agree with
    the answer's, the longest agreement first (two tokens at least), the place nearest to the expected one among equals.
    """

    def __init__(self, start: int, draft: Sequence[int], vocabulary: int) -> None:
        self._start = start
        self._vocabulary = vocabulary
        self._draft: tuple[int, ...] = ()
        self.replace(draft)

    def replace(self, draft: Sequence[int]) -> None:
        """Expect this from now on, from any thread; it ends where it leaves the vocabulary."""
        foreign = next((at for at, each in enumerate(draft) if not 0 <= each < self._vocabulary), len(draft))
        self._draft = tuple(draft[: min(foreign, 512)])

    def propose(self, ids: Sequence[int], k: int) -> list[int]:
        """See `Drafter`."""
        draft = self._draft
        said = tuple(ids[self._start :])
        if k < 1 or len(ids) < self._start:
            return []
        if said == draft[: len(said)]:
            return list(draft[len(said) : len(said) + k])
        place = _agreeing(draft, said)
        return list(draft[place : place + k]) if place else []


def _agreeing(draft: tuple[int, ...], said: tuple[int, ...]) -> int:
    """Behind which place of `draft` the end of `said` stands; 0 for none."""
    best = (1, 0, 0)
    for place in range(2, len(draft)):
        if draft[place - 1] == said[-1]:
            length = backwards(draft, place, said, len(said), 32)
            best = max(best, (length, -abs(place - len(said)), place))
    return best[2]


def backwards(left: Sequence[int], left_end: int, right: Sequence[int], right_end: int, most: int) -> int:
    """How many tokens before the two ends agree, `most` at most."""
    length = 0
    while length < min(most, left_end, right_end) and left[left_end - length - 1] == right[right_end - length - 1]:
        length += 1
    return length


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with."""
    most = min(len(left), len(right))
    if list(left[:most]) == list(right[:most]):
        return most
    return next(at for at in range(most) if left[at] != right[at])
