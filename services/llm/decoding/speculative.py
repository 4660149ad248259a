"""Draft and verify: the target reads several guesses in one pass and keeps those that it would have said itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from tidegate.schemas import Speculation
from tidegate.services.llm.decoding.sampling import Row, Sampling, choose
from tidegate.services.llm.drafters.drafters import MOST_DRAFTED, Drafter, common
from tidegate.services.llm.targets.base import ContextOverflow, Generated

if TYPE_CHECKING:
    from tidegate.services.llm.decoding.causal_lm import CausalLM, Context


class Constraint(Protocol):
    """What the answer must keep to; see `tidegate.services.llm.constraints.json_grammar.JsonConstraint`."""

    def forced(self) -> list[int]:
        """The tokens that come next whatever the model wants, the end mark among them; [] where there is a choice."""

    def choose(self, row: Row, sampling: Sampling, position: int) -> int:
        """The model's choice among what is allowed."""

    def accept(self, ids: Sequence[int]) -> None:
        """`ids` were said."""


class Nothing:
    """Has no idea."""

    def propose(self, ids: Sequence[int], k: int) -> list[int]:  # noqa: ARG002 - it is the drafter's signature
        """See `Drafter`."""
        return []


def speculate(
    lm: CausalLM,
    prompt: Sequence[int],
    drafter: Drafter | None = None,
    *,
    sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    k: int = MOST_DRAFTED,
    max_tokens: int = 160,
    constraint: Constraint | None = None,
    said: Callable[[Sequence[int]], None] | None = None,
    weighed: Callable[[Row, int], None] | None = None,
    is_stopped: Callable[[], bool] | None = None,
) -> Generated:
    """What `lm` says to `prompt`: the same tokens whatever the drafter, up to rounding in sums of floats.

    Each step reads the last token and at most `k` drafted ones in one pass (the first: the prompt too), keeps the ones
    that agree with the target's own choices and its choice behind them, and forgets the rest. After a step without
    agreement fewer are tried. A drafter that is always wrong costs at most `k` positions for each token that is said,
    so at most (k + 1) times the positions of plain decoding, and no step. Forced tokens take no step, and count neither
    as drafted nor as accepted, whoever proposed them: they say nothing of how good a drafter is.
    `said` is called with the new ids of each step, `weighed` with the logits and the choice wherever there was one,
    `is_stopped` before each step. Raises `ContextOverflow`, `ValueError` for what makes no sense.
    """
    checked(lm, prompt, k, max_tokens)
    answer = Answering(prompt, min(max_tokens, lm.context - len(prompt)), lm.tokens.end, sampling, constraint)
    answer.weighed = weighed
    context = lm.open(prompt)
    tried = k
    while not answer.is_over and not (is_stopped is not None and is_stopped()):
        before = len(answer.ids)
        drafted = _drafted(drafter or Nothing(), answer, context, min(tried, k), lm.vocabulary)
        agreed = step(answer, context, drafted)
        if drafted:
            tried = 2 * agreed + 1
        if said is not None and len(answer.ids) > before:
            said(answer.ids[before:])
    return answer.generated()


def checked(lm: CausalLM, prompt: Sequence[int], k: int, max_tokens: int) -> None:
    """Raises `ContextOverflow`, `ValueError` for what makes no sense."""
    if not 0 <= k <= MOST_DRAFTED:
        raise ValueError(f"k must be in 0 … {MOST_DRAFTED}, not {k}")
    if not prompt or max_tokens < 1:
        raise ValueError("there must be a prompt, and room for a token of answer")
    if not all(0 <= each < lm.vocabulary for each in prompt):
        raise ValueError("the prompt holds ids that the vocabulary does not have")
    if len(prompt) >= lm.context:
        raise ContextOverflow(len(prompt), lm.context)


class Answering:
    """An answer that is being said: prompt and answer in `ids`, which holds no end mark."""

    def __init__(
        self, prompt: Sequence[int], most: int, end: int, sampling: Sampling, constraint: Constraint | None
    ) -> None:
        self.ids: list[int] = list(prompt)
        self.start = len(prompt)
        self.steps = self.drafted = self.accepted = 0
        self._most = most
        self._end = end
        self._sampling = sampling
        self._constraint = constraint
        self._is_finished = False
        self._forced: list[int] = []
        self.weighed: Callable[[Row, int], None] | None = None
        self._force()
        self.say_forced()

    @property
    def left(self) -> int:
        """How many more tokens may be said."""
        return self._most - (len(self.ids) - self.start)

    @property
    def is_over(self) -> bool:
        """Whether it is finished or may say no more."""
        return self._is_finished or self.left <= 0

    @property
    def is_forced(self) -> bool:
        """Whether the next token has no alternative."""
        return bool(self._forced)

    def next(self, row: Row) -> int:
        """Say the next token, given the logits before it."""
        if self._forced:
            token = self._forced.pop(0)
        else:
            token = self._chosen(row)
            if self.weighed is not None:
                self.weighed(row, token)
        self._say(token)
        return token

    def _chosen(self, row: Row) -> int:
        if self._constraint is None:
            return choose(row, self._sampling, len(self.ids))
        token = self._constraint.choose(row, self._sampling, len(self.ids))
        self._constraint.accept((token,))
        self._force()
        return token

    def say_forced(self) -> None:
        """Say what has no alternative; it takes no step."""
        while self._forced and not self._is_finished and (self.left or self._forced[0] == self._end):
            self._say(self._forced.pop(0))

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

    def _say(self, token: int) -> None:
        if token == self._end:
            self._is_finished = True
        else:
            self.ids.append(token)


def _drafted(drafter: Drafter, answer: Answering, context: Context, k: int, vocabulary: int) -> list[int]:
    """What the drafter proposes for this step, as much of it as has room and is in the vocabulary."""
    unread = len(answer.ids) - context.length
    room = min(k, answer.left - 1, context.room - unread)
    drafted = drafter.propose(answer.ids, room)[:room] if room > 0 else []
    foreign = next((at for at, each in enumerate(drafted) if not 0 <= each < vocabulary), len(drafted))
    return drafted[:foreign]


def step(answer: Answering, context: Context, drafted: list[int], known: int = 0) -> int:
    """One pass of the target; how many of `drafted` agreed. The first `known` of them are no draft of anybody's: they
    are not counted, and neither is what is forced."""
    unread = answer.ids[context.length :]
    rows = context.forward([*unread, *drafted])[len(unread) - 1 :]
    known = min(known, len(drafted))
    agreed = forced = stood = 0
    for row, guess in zip(rows, [*drafted, None], strict=True):
        counts = agreed >= known
        is_forced = answer.is_forced
        token = answer.next(row)
        forced += counts and is_forced and guess is not None
        if token != guess:
            break
        agreed += 1
        stood += counts and not is_forced
        if answer.is_over:
            break
    answer.steps += 1
    answer.drafted += len(drafted) - known - forced
    answer.accepted += stood
    answer.say_forced()
    if not answer.is_over:
        context.rollback(common(context.ids, answer.ids[:-1]))
    return agreed
