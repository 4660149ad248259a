"""Verify drafts that come from afar: one answer, a pass of the target for each draft, its state kept in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tidegate.schemas import Speculation
from tidegate.services.llm.decoding.sampling import Sampling
from tidegate.services.llm.decoding.speculative import Answering, Constraint, checked, step
from tidegate.services.llm.drafters.drafters import common

if TYPE_CHECKING:
    from tidegate.services.llm.decoding.causal_lm import CausalLM


class Verdict(NamedTuple):
    """The first `stood` of what was proposed are the target's own choices, and `ids` are what it says behind them."""

    stood: int
    ids: tuple[int, ...]


class Verification:
    """What `lm` says to `prompt`, whoever proposes it: the same tokens as `speculate` says, up to rounding.

    Not safe to use from several threads at once.
    """

    def __init__(
        self,
        lm: CausalLM,
        prompt: Sequence[int],
        *,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        max_tokens: int = 160,
        constraint: Constraint | None = None,
    ) -> None:
        """Raises `ContextOverflow`, `ValueError` for what makes no sense."""
        checked(lm, prompt, 0, max_tokens)
        self.prompt = tuple(prompt)
        self._answer = Answering(prompt, min(max_tokens, lm.context - len(prompt)), lm.tokens.end, sampling, constraint)
        self._context = lm.open(prompt)

    @property
    def ids(self) -> tuple[int, ...]:
        """What is said so far, without the end mark."""
        return tuple(self._answer.ids[len(self.prompt) :])

    @property
    def is_over(self) -> bool:
        """Whether it is finished, or may say no more."""
        return self._answer.is_over

    @property
    def speculation(self) -> Speculation:
        """What it has cost so far. As in `speculate`, what has no alternative counts as neither drafted nor accepted,
        whoever proposed it."""
        return self._answer.generated().speculation

    def step(self, proposed: Sequence[int], *, known: int = 0) -> Verdict:
        """One pass: what of `proposed` stands, and at least one token more unless the answer is over.

        The ids must be the vocabulary's. The first `known` of them were verified before, by somebody who has forgotten
        it; they are verified again and not counted.
        """
        said = len(self.ids) if self._answer.steps else 0  # what is forced from the start was told to nobody
        behind = common(self.ids[said:], proposed)
        if self.is_over:
            return Verdict(behind, ())
        drafted = list(proposed[behind:]) if behind == len(self.ids) - said else []
        unread = len(self._answer.ids) - self._context.length
        drafted = drafted[: max(0, min(self._answer.left - 1, self._context.room - unread))]
        step(self._answer, self._context, drafted, known=max(0, known - behind))
        new = self.ids[said:]
        stood = common(new, proposed)
        return Verdict(stood, new[stood:])
