"""Draft and verify: the target reads several guesses in one pass and keeps those that it would have made itself.

Promises the same answer whatever is drafted; next: `verification`, for drafts that come from afar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from tidegate.schemas import Speculation
from tidegate.services.llm.drafters.base import MOST_DRAFTED, Drafter, count_common, in_vocabulary
from tidegate.services.llm.errors import ContextOverflowError
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.model.sampling import Row, Sampling, choose


class Constraint(Protocol):
    """What an answer must keep to, as JSON of a schema does, or a quotation. Belongs to one answer."""

    def forced(self) -> list[int]:
        """The tokens that come next whatever the model wants, the end mark among them; [] where there is a choice."""

    def choose(self, row: Row, sampling: Sampling, position: int) -> int:
        """The model's choice among what is allowed."""

    def accept(self, ids: Sequence[int]) -> None:
        """`ids` were appended to the answer."""


class Generated(msgspec.Struct, frozen=True):
    """An answer: token ids without the prompt and without the end mark; `is_finished`: the end mark was generated.

    The end mark counts among the speculation's tokens: it was chosen as every other one.
    """

    ids: tuple[int, ...]
    speculation: Speculation
    is_finished: bool


@dataclass(frozen=True)
class DecodingOptions:
    """How an answer is made: at most `max_tokens`, of which at most `k` are drafted for each step.

    `on_choice` is called with the logits and the token wherever the model had a choice.
    """

    sampling: Sampling = field(default_factory=Sampling)
    k: int = MOST_DRAFTED
    max_tokens: int = 160
    constraint: Constraint | None = None
    on_choice: Callable[[Row, int], None] | None = None


def speculate(
    lm: CausalLM,
    prompt: Sequence[int],
    drafter: Drafter | None = None,
    options: DecodingOptions = DecodingOptions(),
    *,
    on_tokens: Callable[[Sequence[int]], None] | None = None,
    is_stopped: Callable[[], bool] | None = None,
) -> Generated:
    """The answer of `lm` to `prompt`: the same tokens whatever the drafter, up to rounding in sums of floats.

    Each step reads the last token and at most `k` drafted ones in one pass (the first: the prompt too), keeps the ones
    that agree with the target's own choices and its choice behind them, and forgets the rest. After a step without
    agreement fewer are tried. A drafter that is always wrong costs at most `k` positions for each token of the answer,
    so at most (k + 1) times the positions of plain decoding, and no step. Forced tokens take no step, and count neither
    as drafted nor as accepted, whoever proposed them: they do not show how good a drafter is.
    `on_tokens` is called with the new ids of each step, `is_stopped` before each step. Raises `ContextOverflowError`,
    `ValueError` for what makes no sense.
    """
    answer = DecodingState(lm, prompt, options)
    tried = options.k
    while not answer.is_over and not (is_stopped is not None and is_stopped()):
        before = len(answer.ids)
        room = min(tried, options.k, answer.room)
        proposed = drafter.propose(answer.ids, room)[:room] if drafter is not None and room > 0 else []
        drafted = in_vocabulary(proposed, lm.vocabulary)
        agreed = answer.step(drafted)
        if drafted:
            tried = 2 * agreed + 1
        if on_tokens is not None and len(answer.ids) > before:
            on_tokens(answer.ids[before:])
    return answer.generated()


class DecodingState:
    """An answer in the making: prompt and answer in `ids`, which holds no end mark, and what the model has read."""

    def __init__(self, lm: CausalLM, prompt: Sequence[int], options: DecodingOptions) -> None:
        """Raises `ContextOverflowError`, `ValueError` for what makes no sense."""
        _check(lm, prompt, options)
        self.ids: list[int] = list(prompt)
        self.start = len(prompt)
        self.steps = self._drafted = self._accepted = self._forced_count = 0
        self._most = min(options.max_tokens, lm.context - len(prompt))
        self._ends = lm.tokens.ends
        self._options = options
        self._constraint = options.constraint
        self._is_finished = False
        self._forced: list[int] = []
        self._force()
        self._append_forced()
        self._context = lm.open(prompt)

    @property
    def is_over(self) -> bool:
        """Whether it is finished or has no room for more."""
        return self._is_finished or self._left <= 0

    @property
    def room(self) -> int:
        """How many tokens may be drafted for the next step."""
        unread = len(self.ids) - self._context.length
        return max(0, min(self._left - 1, self._context.room - unread))

    def step(self, drafted: list[int], known: int = 0) -> int:
        """One pass of the target; how many of `drafted` agreed. The first `known` of them are nobody's draft: they
        are not counted, and neither is what is forced."""
        unread = self.ids[self._context.length :]
        rows = self._context.forward([*unread, *drafted])[len(unread) - 1 :]
        known = min(known, len(drafted))
        agreed = forced = accepted = 0
        for row, guess in zip(rows, [*drafted, None], strict=True):
            counts = agreed >= known
            is_forced = bool(self._forced)
            token = self._next(row)
            forced += counts and is_forced and guess is not None
            if token != guess:
                break
            agreed += 1
            accepted += counts and not is_forced
            if self.is_over:
                break
        self.steps += 1
        self._drafted += len(drafted) - known - forced
        self._accepted += accepted
        self._append_forced()
        if not self.is_over:
            self._context.rollback(count_common(self._context.ids, self.ids[:-1]))
        return agreed

    def generated(self) -> Generated:
        """All of it."""
        ids = tuple(self.ids[self.start :])
        spent = Speculation(
            steps=self.steps,
            tokens=len(ids) + self._is_finished,
            drafted=self._drafted,
            accepted=self._accepted,
            forced=self._forced_count,
        )
        return Generated(ids, spent, self._is_finished)

    @property
    def _left(self) -> int:
        return self._most - (len(self.ids) - self.start)

    def _next(self, row: Row) -> int:
        """Append the next token, given the logits before it."""
        if self._forced:
            token = self._forced.pop(0)
            self._forced_count += 1
        else:
            token = self._choose(row)
            if self._options.on_choice is not None:
                self._options.on_choice(row, token)
        self._append(token)
        return token

    def _choose(self, row: Row) -> int:
        if self._constraint is None:
            return choose(row, self._options.sampling, len(self.ids))
        token = self._constraint.choose(row, self._options.sampling, len(self.ids))
        self._constraint.accept((token,))
        self._force()
        return token

    def _force(self) -> None:
        if self._constraint is not None:
            self._forced = self._constraint.forced()
            self._constraint.accept(self._forced)

    def _append_forced(self) -> None:
        """Append what has no alternative; it takes no step."""
        while self._forced and not self._is_finished and (self._left or self._forced[0] in self._ends):
            self._append(self._forced.pop(0))
            self._forced_count += 1

    def _append(self, token: int) -> None:
        if token in self._ends:
            self._is_finished = True
        else:
            self.ids.append(token)


def _check(lm: CausalLM, prompt: Sequence[int], options: DecodingOptions) -> None:
    if not 0 <= options.k <= MOST_DRAFTED:
        raise ValueError(f"k must be in 0 … {MOST_DRAFTED}, not {options.k}")
    if not prompt or options.max_tokens < 1:
        raise ValueError("there must be a prompt, and room for a token of answer")
    if not all(0 <= each < lm.vocabulary for each in prompt):
        raise ValueError("the prompt holds ids that the vocabulary does not have")
    if len(prompt) >= lm.context:
        raise ContextOverflowError(len(prompt), lm.context)
