"""Lets a model only quote: behind a mark comes that passage to the letter, or it answers that none fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from tidegate.services.llm.drafters.base import Drafter
from tidegate.services.llm.model.sampling import Row, Sampling, choose
from tidegate.services.llm.text.tokenizer import TokenText

MOST_QUOTES = 2
"""Passages that one answer may quote: what the shipped pair was trained to do."""


@dataclass(frozen=True)
class QuotationState:
    """How far an answer is: the passages it has cited, what is left of the one it quotes, whether it is over."""

    cited: tuple[int, ...] = ()
    left: tuple[int, ...] = ()
    is_between: bool = True
    """Whether a mark comes next."""
    is_over: bool = False


class QuotingConstraint:
    """A `Constraint`: `<|none|>`, or `[n] P` or `[n] P [m] P` of the passages that the prompt holds.

    The model decides what to cite; what follows a mark has no alternative and takes no step. A small model that picks
    the right passage and garbles the copy, as the shipped ones do when left free, cannot garble it here.
    """

    def __init__(self, tokens: TokenText, passages: dict[int, tuple[int, ...]]) -> None:
        """`passages`: mark token to the ids behind it in the prompt."""
        self._tokens = tokens
        self._passages = passages
        self._space = tuple(tokens.encode(" "))
        self._at = QuotationState()

    @classmethod
    def of(cls, tokens: TokenText, prompt: Sequence[int]) -> QuotingConstraint | None:
        """The rule for the passages of a question's prompt; None where it holds none."""
        passages: dict[int, tuple[int, ...]] = {}
        for begin, token in enumerate(prompt[:-1]):
            mark = prompt[begin + 1]
            if token == tokens.PASSAGE and tokens.marked(mark) is not None:
                text = takewhile(lambda each: not tokens.is_control(each), prompt[begin + 2 :])
                passages[mark] = tuple(text)  # which holds no control token
        return cls(tokens, passages) if passages and prompt[-1] == tokens.ANSWER else None

    def restart(self) -> QuotingConstraint:
        """The same rule, for an answer of which there is nothing yet."""
        return QuotingConstraint(self._tokens, self._passages)

    @property
    def options(self) -> list[int]:
        """What may come next; nothing when it is over."""
        return self._options(self._at)

    def forced(self) -> list[int]:
        ids: list[int] = []
        at = self._at
        while len(options := self._options(at)) == 1:
            ids.append(options[0])
            at = self._after(at, options[0])
        return ids

    def choose(self, row: Row, sampling: Sampling, position: int) -> int:
        mask = np.zeros(row.shape, dtype=np.bool_)
        mask[self.options] = True
        return choose(row, sampling, position, mask)

    def accept(self, ids: Sequence[int]) -> None:
        """See `Constraint`. Raises `ValueError` for what is no quotation."""
        for token in ids:
            if token not in self.options:
                raise ValueError(f"token {token} is no part of a quotation here")
            self._at = self._after(self._at, token)

    def ebnf(self) -> str:
        """The same rule from the beginning of an answer, for grammar engines: of token ids, the end mark left out.

        Written for xgrammar, where `Token(7)` is token 7: named by id, nothing is spelled in other tokens.
        """
        rules = [f"none ::= {_listed((self._tokens.NONE,))}", f"space ::= {_listed(self._space)}"]
        starts = ["none"]
        for mark, passage in self._passages.items():
            others = " | ".join(f"quote{other}" for other in self._passages if other != mark)
            starts.append(f"quote{mark} (space ({others}))?" if others else f"quote{mark}")
            rules.append(f"quote{mark} ::= {_listed((mark, *passage))}")
        return "\n".join((f"root ::= {' | '.join(starts)}", *rules))

    def _options(self, at: QuotationState) -> list[int]:
        if at.is_over:
            return []
        if at.left:
            return [at.left[0]]
        uncited = [mark for mark in self._passages if mark not in at.cited]
        if at.is_between:
            return uncited if at.cited else [self._tokens.NONE, *uncited]
        may_go_on = uncited and len(at.cited) < MOST_QUOTES and self._tokens.NONE not in at.cited
        return [self._tokens.END, self._space[0]] if may_go_on else [self._tokens.END]

    def _after(self, at: QuotationState, token: int) -> QuotationState:
        if token == self._tokens.END:
            return QuotationState(at.cited, is_between=False, is_over=True)
        if at.left:
            left = at.left[1:]
            return QuotationState(at.cited, left, is_between=not left and at.is_between)
        if not at.is_between:  # the space before another mark
            return QuotationState(at.cited, self._space[1:])
        if token == self._tokens.NONE:
            return QuotationState((token,), is_between=False)
        return QuotationState((*at.cited, token), self._passages[token], is_between=False)


class QuotingDrafter:
    """Drafts for a target that may only quote: what has no alternative costs nothing, the rest `drafters` are asked.

    Implements `Drafter`. Where the answer is no quotation it has no idea.
    """

    def __init__(self, rule: QuotingConstraint, start: int, drafters: Sequence[Drafter]) -> None:
        """`rule` is that of the prompt, which has `start` tokens."""
        self._rule = rule
        self._start = start
        self._drafters = tuple(drafters)

    def propose(self, ids: Sequence[int], k: int) -> list[int]:
        rule = self._rule.restart()
        proposed: list[int] = []
        try:
            rule.accept(ids[self._start :])
        except ValueError:
            return []
        while len(proposed) < k and (token := self._next([*ids, *proposed], rule.options)) is not None:
            rule.accept((token,))
            proposed.append(token)
        return proposed

    def _next(self, ids: Sequence[int], options: Sequence[int]) -> int | None:
        if len(options) == 1:
            return options[0]
        guesses = (guess for drafter in self._drafters for guess in drafter.propose(ids, 1))
        return next((guess for guess in guesses if guess in options), None)


def _listed(ids: Sequence[int]) -> str:
    return " ".join(f"Token({each})" for each in ids)
