"""Where a guess at an answer and the answer itself agree, and how much of the guess is worth proposing next."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.services.llm.targets.vllm.guides import (
    GUESS,
    LONGEST,
    MARKS,
    SHORTEST,
    WIDTH,
    DraftGuide,
    Guide,
    PromptGuide,
    written,
)

__all__ = ["CREDIT", "GUESS", "LONGEST", "MARKS", "PATIENCE", "SHORTEST", "WIDTH", "Alignment"]

PATIENCE = 3
"""Proposals in a row of which nothing stood before it takes a suffix of `LONGEST` to propose again."""
CREDIT = 24
"""Tokens that may be wasted beyond as many as stood."""
RESERVE = GUESS
"""Where a prompt is followed, so much of the credit is left to suffixes of `LONGEST` and to marks: a text that went
astray often repeats itself, and without credit there would be no way back.
"""


class Alignment:
    """One draft, followed along the one answer that it guesses at; and the prompt behind it, where one is given.

    Of the two the one that agrees longer with what was said proposes, the prompt where they agree as long; the other
    one, where the first has nothing to propose. See `guides` for how each is followed.

    Promises, whatever the draft and the prompt: `drafted - accepted <= CREDIT + accepted` at every moment, so that of
    an answer of n tokens never more than `CREDIT + 2 n` are proposed; and after `PATIENCE` proposals in a row of which
    nothing stood, nothing is proposed unless the last `LONGEST` tokens said are in the text before what is proposed, or
    the last one is the mark of the passage that is.
    Prompt lookup decoding (Saxena, 2023) and LLMA (Yang et al., arXiv 2304.04487) copy from a text in the same way.
    """

    __slots__ = (
        "_draft",
        "_misses",
        "_prompt",
        "_proposed",
        "_quotes",
        "_read",
        "_tail",
        "accepted",
        "draft",
        "drafted",
        "said",
        "steps",
    )

    def __init__(
        self, draft: Sequence[int] = (), said: Sequence[int] = (), prompt: Sequence[int] = (), *, quotes: bool = False
    ) -> None:
        """`quotes`: the answer is held to the rule of quoting (see `tidegate.services.llm.constraints.quoting`)."""
        self.said = self.steps = self.drafted = self.accepted = 0
        self._misses = 0
        self._proposed: list[int] = []
        self._read = written(prompt)
        self._quotes = quotes
        self.take(draft, said)

    def take(self, draft: Sequence[int], said: Sequence[int]) -> None:
        """Go on with another draft of the same answer, of which all of `said` has been said; old misses still count."""
        self.draft = tuple(draft)
        self.said = 0
        self._tail = ""
        self._draft = DraftGuide(written(self.draft))
        self._prompt = PromptGuide(self._read, quotes=self._quotes) if self._read else None
        self._follow(said)

    def heard(self, new: Sequence[int]) -> None:
        """The engine made one step and said `new` (ids, at least one)."""
        stood = 0
        for token, proposed in zip(new, self._proposed, strict=False):
            if token != proposed:
                break
            stood += 1
        self.steps += 1
        self.drafted += len(self._proposed)
        self.accepted += stood
        if self._proposed:
            self._misses = 0 if stood else self._misses + 1
        self._proposed = []
        self._follow(new)

    def next(self, room: int = WIDTH) -> list[int]:
        """At most `room` tokens to propose after what was said; none where nothing better than chance is known."""
        self._proposed = []
        credit = CREDIT + 2 * self.accepted - self.drafted
        kept = RESERVE if self._prompt is not None else 0
        for guide in self._guides():
            length = min(room, credit if guide.is_sure else credit - kept, guide.width())
            if length > 0 and (self._misses < PATIENCE or guide.is_sure):
                self._proposed = guide.next(length)
            if self._proposed:
                break
        return list(self._proposed)

    def _guides(self) -> tuple[Guide, ...]:
        """The likelier one first."""
        if self._prompt is None:
            return (self._draft,)
        if self._prompt.run and self._prompt.run >= self._draft.run:
            return self._prompt, self._draft
        return self._draft, self._prompt

    def _follow(self, new: Sequence[int]) -> None:
        self.said += len(new)
        self._tail = (self._tail + written(new[-LONGEST:]))[-LONGEST:]
        for guide in (self._draft, self._prompt):
            if guide is not None:
                for token in new:
                    guide.follow(token)
                guide.realign(self._tail)
