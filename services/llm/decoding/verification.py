"""Verify drafts that come from afar: one answer, a pass of the target for each draft, its state kept in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tidegate.schemas import Speculation
from tidegate.services.llm.decoding.speculative import DecodingOptions, DecodingState
from tidegate.services.llm.drafters.base import count_common
from tidegate.services.llm.model.causal_lm import CausalLM


class VerificationStep(NamedTuple):
    """The first `accepted` of what was proposed are the target's own choices; `ids` are what it puts behind them."""

    accepted: int
    ids: tuple[int, ...]


class Verification:
    """The answer of `lm` to `prompt`, whoever proposes it: the same tokens as from `speculate`, up to rounding.

    Not safe to use from several threads at once.
    """

    def __init__(
        self,
        lm: CausalLM,
        prompt: Sequence[int],
        options: DecodingOptions = DecodingOptions(),  # noqa: B008 - frozen
    ) -> None:
        """Raises `ContextOverflowError`, `ValueError` for what makes no sense."""
        self.prompt = tuple(prompt)
        self._answer = DecodingState(lm, prompt, options)

    @property
    def ids(self) -> tuple[int, ...]:
        """The answer so far, without the end mark."""
        return tuple(self._answer.ids[len(self.prompt) :])

    @property
    def is_over(self) -> bool:
        """Whether it is finished, or has no room for more."""
        return self._answer.is_over

    @property
    def speculation(self) -> Speculation:
        """What it has cost so far, counted as in `speculate`."""
        return self._answer.generated().speculation

    def step(self, proposed: Sequence[int], *, known: int = 0) -> VerificationStep:
        """One pass: what of `proposed` is accepted, and at least one token more unless the answer is over.

        The ids must be the vocabulary's. The first `known` of them were verified before, by somebody who has forgotten
        it; they are verified again and not counted.
        """
        before = len(self.ids) if self._answer.steps else 0  # what is forced from the start was sent to nobody
        behind = count_common(self.ids[before:], proposed)
        if self.is_over:
            return VerificationStep(behind, ())
        drafted = list(proposed[behind:]) if behind == len(self.ids) - before else []
        self._answer.step(drafted[: self._answer.room], known=max(0, known - behind))
        new = self.ids[before:]
        accepted = count_common(new, proposed)
        return VerificationStep(accepted, new[accepted:])
