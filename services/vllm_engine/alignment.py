"""Where a guess at an answer and the answer itself agree, and how much of the guess is worth proposing next."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 16
"""Most tokens proposed at once."""
SHORTEST = 2
LONGEST = 8
"""Tokens of a suffix that is looked up in the draft: no fewer, no more."""
GUESS = 4
"""Tokens proposed where the last token said is not the draft's, or only it is."""
PATIENCE = 3
"""Proposals in a row of which nothing stood before it takes a suffix of `LONGEST` to propose again."""
CREDIT = 24
"""Tokens that may be wasted beyond as many as stood."""
SAME_PAIR = 32
"""Places of one pair of tokens that are remembered: a draft of one word repeated shall not cost a search a step."""
MARKS = range(10, 19)
"""The ids of the citation marks `[1]` to `[9]`."""


class Alignment:
    """One draft, followed along the one answer that it guesses at.

    After a mismatch it goes on where the longest suffix of the answer (`LONGEST` down to `SHORTEST` tokens) is found in
    the draft, nearest to where it was; else it takes the mismatch for one token put for another and goes on behind it,
    with `WIDTH` tokens if both are citation marks, with `GUESS` otherwise, once.

    Promises, whatever the draft: `drafted - accepted <= CREDIT + accepted` at every moment, so that of an answer of n
    tokens never more than `CREDIT + 2 n` are proposed; and after `PATIENCE` proposals in a row of which nothing stood,
    nothing is proposed unless the last `LONGEST` tokens said are in the draft before what is proposed.
    Prompt lookup decoding (Saxena, 2023) and LLMA (Yang et al., arXiv 2304.04487) copy from a text in the same way.
    """

    __slots__ = (
        "_at",
        "_lost",
        "_misses",
        "_places",
        "_proposed",
        "_run",
        "_swapped",
        "_tail",
        "accepted",
        "draft",
        "drafted",
        "said",
        "steps",
    )

    def __init__(self, draft: Sequence[int] = (), said: Sequence[int] = ()) -> None:
        self.said = self.steps = self.drafted = self.accepted = 0
        self._misses = 0
        self._proposed: list[int] = []
        self.take(draft, said)

    def take(self, draft: Sequence[int], said: Sequence[int]) -> None:
        """Go on with another draft of the same answer, of which all of `said` has been said; old misses still count."""
        self.draft = tuple(draft)
        self.said = len(said)
        self._at = self._run = self._lost = 0
        self._swapped = False
        self._places: dict[tuple[int, int], list[int]] | None = None
        for token in said:
            self._follow(token)
        self._tail = list(said[-LONGEST:])
        self._realign()

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
        for token in new:
            self._follow(token)
        self.said += len(new)
        self._tail = [*self._tail, *new][-LONGEST:]
        self._realign()

    def next(self, room: int = WIDTH) -> list[int]:
        """At most `room` tokens to propose after what was said; none where nothing better than chance is known."""
        self._proposed = []
        if self._misses >= PATIENCE and self._run < LONGEST:
            return []
        credit = CREDIT + 2 * self.accepted - self.drafted
        length = min(self._width(), room, credit)
        if length > 0:
            self._proposed = list(self.draft[self._at : self._at + length])
        return list(self._proposed)

    def _follow(self, token: int) -> None:
        expected = self.draft[self._at] if self._at < len(self.draft) else None
        self._at += 1
        if token == expected:
            self._run += 1
            return
        self._swapped = expected in MARKS and token in MARKS
        self._lost = 1 if self._run else self._lost + 1
        self._run = 0

    def _width(self) -> int:
        if self._run >= GUESS or (self._run and self._run == self.said) or not self.said:
            return WIDTH
        if self._run:
            return WIDTH if self._swapped else 2 * GUESS if self._run > 1 else GUESS
        if self._lost > 1:
            return 0
        return WIDTH if self._swapped else GUESS

    def _realign(self) -> None:
        if self._run >= LONGEST or self._run == self.said:
            return
        end, length = self._longest()
        if length > max(self._run, SHORTEST - 1):
            self._at, self._run = end, length

    def _longest(self) -> tuple[int, int]:
        """Where in the draft the longest suffix of what was said ends, and its length; (0, 0) when none is there."""
        if len(self._tail) < SHORTEST:
            return 0, 0
        if self._places is None:
            self._places = {}
            for end in range(SHORTEST, len(self.draft) + 1):
                ends = self._places.setdefault((self.draft[end - 2], self.draft[end - 1]), [])
                if len(ends) < SAME_PAIR:
                    ends.append(end)
        best = (0, 0)
        for end in self._places.get((self._tail[-2], self._tail[-1]), ()):
            length = SHORTEST
            while length < min(len(self._tail), end) and self.draft[end - 1 - length] == self._tail[-1 - length]:
                length += 1
            if (length, -abs(end - self._at)) > (best[1], -abs(best[0] - self._at)):
                best = (end, length)
        return best
