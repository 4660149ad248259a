"""Draft and verify: the target reads several guesses in one pass and keeps those that it would have made itself.

Promises the same answer whatever is drafted; next: `verification`, for drafts that come from afar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tidegate.schemas import Speculation
from tidegate.services.llm.constraints.base import Constraint
from tidegate.services.llm.decoding.generated import Generated
from tidegate.services.llm.drafters.base import MOST_DRAFTED, Drafter, NoDrafter, count_common, in_vocabulary
from tidegate.services.llm.errors import ContextOverflowError
from tidegate.services.llm.model.causal_lm import CausalLM, ModelContext
from tidegate.services.llm.model.sampling import Row, Sampling, choose


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
    check_request(lm, prompt, options)
    answer = DecodingState(lm, prompt, options)
    context = lm.open(prompt)
    tried = options.k
    while not answer.is_over and not (is_stopped is not None and is_stopped()):
        before = len(answer.ids)
        drafted = _draft(drafter or NoDrafter(), answer, context, min(tried, options.k), lm.vocabulary)
        agreed = run_step(answer, context, drafted)
        if drafted:
            tried = 2 * agreed + 1
        if on_tokens is not None and len(answer.ids) > before:
            on_tokens(answer.ids[before:])
    return answer.generated()


def check_request(lm: CausalLM, prompt: Sequence[int], options: DecodingOptions) -> None:
    """Raises `ContextOverflowError`, `ValueError` for what makes no sense."""
    if not 0 <= options.k <= MOST_DRAFTED:
        raise ValueError(f"k must be in 0 … {MOST_DRAFTED}, not {options.k}")
    if not prompt or options.max_tokens < 1:
        raise ValueError("there must be a prompt, and room for a token of answer")
    if not all(0 <= each < lm.vocabulary for each in prompt):
        raise ValueError("the prompt holds ids that the vocabulary does not have")
    if len(prompt) >= lm.context:
        raise ContextOverflowError(len(prompt), lm.context)


class DecodingState:
    """An answer in the making: prompt and answer in `ids`, which holds no end mark."""

    def __init__(self, lm: CausalLM, prompt: Sequence[int], options: DecodingOptions) -> None:
        self.ids: list[int] = list(prompt)
        self.start = len(prompt)
        self.steps = self.drafted = self.accepted = 0
        self._most = min(options.max_tokens, lm.context - len(prompt))
        self._end = lm.tokens.end
        self._sampling = options.sampling
        self._constraint = options.constraint
        self._on_choice = options.on_choice
        self._is_finished = False
        self._forced: list[int] = []
        self._force()
        self.append_forced()

    @property
    def left(self) -> int:
        """How many more tokens there may be."""
        return self._most - (len(self.ids) - self.start)

    @property
    def is_over(self) -> bool:
        """Whether it is finished or has no room for more."""
        return self._is_finished or self.left <= 0

    @property
    def is_forced(self) -> bool:
        """Whether the next token has no alternative."""
        return bool(self._forced)

    def next(self, row: Row) -> int:
        """Append the next token, given the logits before it."""
        if self._forced:
            token = self._forced.pop(0)
        else:
            token = self._choose(row)
            if self._on_choice is not None:
                self._on_choice(row, token)
        self._append(token)
        return token

    def _choose(self, row: Row) -> int:
        if self._constraint is None:
            return choose(row, self._sampling, len(self.ids))
        token = self._constraint.choose(row, self._sampling, len(self.ids))
        self._constraint.accept((token,))
        self._force()
        return token

    def append_forced(self) -> None:
        """Append what has no alternative; it takes no step."""
        while self._forced and not self._is_finished and (self.left or self._forced[0] == self._end):
            self._append(self._forced.pop(0))

    def generated(self) -> Generated:
        """All of it."""
        ids = tuple(self.ids[self.start :])
        spent = Speculation(
            steps=self.steps, tokens=len(ids) + self._is_finished, drafted=self.drafted, accepted=self.accepted
        )
        return Generated(ids, spent, self._is_finished)

    def _force(self) -> None:
        if self._constraint is not None:
            self._forced = self._constraint.forced()
            self._constraint.accept(self._forced)

    def _append(self, token: int) -> None:
        if token == self._end:
            self._is_finished = True
        else:
            self.ids.append(token)


def _draft(drafter: Drafter, answer: DecodingState, context: ModelContext, k: int, vocabulary: int) -> list[int]:
    """What the drafter proposes for this step, as much of it as has room and is in the vocabulary."""
    unread = len(answer.ids) - context.length
    room = min(k, answer.left - 1, context.room - unread)
    return in_vocabulary(drafter.propose(answer.ids, room)[:room] if room > 0 else [], vocabulary)


def run_step(answer: DecodingState, context: ModelContext, drafted: list[int], known: int = 0) -> int:
    """One pass of the target; how many of `drafted` agreed. The first `known` of them are nobody's draft: they
    are not counted, and neither is what is forced."""
    unread = answer.ids[context.length :]
    rows = context.forward([*unread, *drafted])[len(unread) - 1 :]
    known = min(known, len(drafted))
    agreed = forced = accepted = 0
    for row, guess in zip(rows, [*drafted, None], strict=True):
        counts = agreed >= known
        is_forced = answer.is_forced
        token = answer.next(row)
        forced += counts and is_forced and guess is not None
        if token != guess:
            break
        agreed += 1
        accepted += counts and not is_forced
        if answer.is_over:
            break
    answer.steps += 1
    answer.drafted += len(drafted) - known - forced
    answer.accepted += accepted
    answer.append_forced()
    if not answer.is_over:
        context.rollback(count_common(context.ids, answer.ids[:-1]))
    return agreed
