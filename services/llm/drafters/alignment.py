"""The one drafting engine: a shipped draft and the prompt, followed along an answer; a plain `Drafter` and one on a
budget.

Pure Python, for targets in this process, on servers and in vLLM's worker alike; next: `followed_text`.
Prompt lookup decoding (Saxena, 2023) and LLMA (Yang et al., arXiv 2304.04487) copy from a text in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.services.llm.drafters.base import count_common, in_vocabulary
from tidegate.services.llm.drafters.followed_text import (
    GUESS,
    LONGEST,
    WIDTH,
    FollowedDraft,
    FollowedPrompt,
    FollowedText,
    as_code_points,
)

MOST_DRAFT_TOKENS = 512
"""What `schemas.Draft` may hold; longer ones are cut."""
PATIENCE = 3
"""Proposals in a row of which nothing was accepted before it takes a suffix of `LONGEST` to propose again."""
CREDIT = 48
"""Tokens that may be wasted beyond as many as were accepted."""
RESERVE = GUESS
"""Where a prompt is followed, so much of the credit is left to suffixes of `LONGEST` and to marks: an answer that
diverged often repeats itself, and without credit there would be no way back.
"""


class Alignment:
    """A draft of an answer, and the prompt behind it, followed along that answer.

    Of the two the one that agrees longer with the end of the answer proposes, the prompt where they agree as long; the
    other one, where the first has nothing to propose. What is proposed depends on draft, prompt and answer alone.
    """

    def __init__(
        self, draft: Sequence[int] = (), prompt: Sequence[int] = (), *, quotes: bool = False, is_marked: bool = True
    ) -> None:
        """`quotes`: the answer is held to the rule of quoting (see `tidegate.services.llm.constraints.quoting`).

        `is_marked`: prompt and answer hold our own marks (`TokenIds`); the ids of another tokenizer have none.
        """
        self.draft = tuple(draft)
        self._read = as_code_points(prompt)
        self._quotes, self._is_marked = quotes, is_marked
        self.restart(())

    def restart(self, answer: Sequence[int]) -> None:
        """Follow `answer` from its beginning, whatever was followed before."""
        self.length = 0
        self._tail = ""
        self._draft = FollowedDraft(as_code_points(self.draft), is_marked=self._is_marked)
        prompt = FollowedPrompt(self._read, quotes=self._quotes, is_marked=self._is_marked) if self._read else None
        self._prompt = prompt
        self.follow(answer)

    def follow(self, new: Sequence[int]) -> None:
        """`new` was appended to the answer; about 3 µs a token."""
        self.length += len(new)
        for token in new:
            self._tail = (self._tail + as_code_points((token,)))[-LONGEST:]
            for text in (self._draft, self._prompt):
                if text is not None:
                    text.follow(token)
                    text.realign(self._tail)

    def propose(self, most: int = WIDTH) -> list[int]:
        """At most `most` tokens that may come next; none where nothing better than chance is known."""
        for text in self._likelier_first():
            length = min(most, text.width(), self._allowance(text))
            proposed = text.next(length) if length > 0 else []
            if proposed:
                return proposed
        return []

    def _allowance(self, text: FollowedText) -> int:  # noqa: ARG002 - one with a budget looks at it
        return WIDTH

    def _likelier_first(self) -> tuple[FollowedText, ...]:
        if self._prompt is None:
            return (self._draft,)
        if self._prompt.run and self._prompt.run >= self._draft.run:
            return self._prompt, self._draft
        return self._draft, self._prompt


class AlignedDrafter:
    """A `Drafter` for one prompt: from a draft that came with it, and from the prompt itself (`lookup`).

    Where the ids are not that prompt and an answer to it, it has no idea.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        vocabulary: int,
        draft: Sequence[int] = (),
        *,
        lookup: bool = True,
        quotes: bool = False,
        is_marked: bool = True,
    ) -> None:
        """`vocabulary` is the size of the target's; no proposal leaves it. `quotes`, `is_marked`: see `Alignment`."""
        self._prompt = tuple(prompt)
        self._vocabulary = vocabulary
        known = self._prompt if lookup else ()
        self._alignment = Alignment(draft[:MOST_DRAFT_TOKENS], known, quotes=quotes, is_marked=is_marked)
        self._answer: list[int] = []

    def propose(self, ids: Sequence[int], k: int) -> list[int]:
        """See `Drafter`. An answer that does not go on from the last one is followed anew, in under a millisecond."""
        start = len(self._prompt)
        if k < 1 or tuple(ids[:start]) != self._prompt:
            return []
        answer = list(ids[start:])
        known = len(self._answer)
        if count_common(self._answer, answer) == known:
            self._alignment.follow(answer[known:])
        else:
            self._alignment.restart(answer)
        self._answer = answer
        return in_vocabulary(self._alignment.propose(k), self._vocabulary)


class BudgetedAlignment(Alignment):
    """An alignment that counts what its proposals cost, and proposes less the more of them were wrong.

    Promises, whatever the draft and the prompt: `drafted - accepted <= CREDIT + accepted` at every moment, so that of
    an answer of n tokens never more than `CREDIT + 2 n` are proposed; and after `PATIENCE` proposals in a row of which
    nothing was accepted, nothing is proposed unless the answer's last `LONGEST` tokens are in the text before what is
    proposed, or the last one is the mark of the passage that is.
    """

    def __init__(
        self,
        draft: Sequence[int] = (),
        answer: Sequence[int] = (),
        prompt: Sequence[int] = (),
        *,
        quotes: bool = False,
        is_marked: bool = True,
    ) -> None:
        """`answer` is what of it is there already."""
        super().__init__(draft, prompt, quotes=quotes, is_marked=is_marked)
        self.steps = self.drafted = self.accepted = 0
        self._misses = 0
        self._proposed: list[int] = []
        self.follow(answer)

    def observe(self, new: Sequence[int]) -> None:
        """The engine made one step and appended `new` (ids, at least one) to the answer."""
        accepted = count_common(new, self._proposed)
        self.steps += 1
        self.drafted += len(self._proposed)
        self.accepted += accepted
        if self._proposed:
            self._misses = 0 if accepted else self._misses + 1
        self._proposed = []
        self.follow(new)

    def propose(self, most: int = WIDTH) -> list[int]:
        """See `Alignment`; all of it counts as drafted with the next step."""
        self._proposed = super().propose(most)
        return list(self._proposed)

    def _allowance(self, text: FollowedText) -> int:
        credit = CREDIT + 2 * self.accepted - self.drafted
        if text.is_sure:
            return credit
        return 0 if self._misses >= PATIENCE else credit - (RESERVE if self._prompt is not None else 0)
