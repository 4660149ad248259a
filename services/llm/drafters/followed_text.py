"""Texts that an answer may be copied from, followed along it: the draft that guesses at it, the prompt it quotes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from tidegate.services.llm.drafters.base import MOST_DRAFTED
from tidegate.services.llm.text.token_ids import TokenIds

WIDTH = MOST_DRAFTED
SHORTEST = 2
LONGEST = 8
"""Tokens of a suffix that is looked up in a text: no fewer, no more."""
GUESS = 4
"""Tokens proposed where the last token of the answer is not the text's, or only it is."""
FOREIGN = "\U0010ffff"
"""Stands for ids that no vocabulary has; they are never proposed."""


def as_code_points(ids: Sequence[int]) -> str:
    """The ids as code points, so that to look up a suffix is to search a string: microseconds, no index to build."""
    try:
        return "".join(map(chr, ids))
    except (ValueError, OverflowError):
        return "".join(chr(each) if 0 <= each < ord(FOREIGN) else FOREIGN for each in ids)


class FollowedText:
    """A text, and the position in it where the answer is: behind `run` tokens that agree with the answer's last ones.

    After a mismatch it goes on where the longest suffix of the answer (`LONGEST` down to `SHORTEST` tokens) is found,
    nearest to where it was; else it takes the mismatch for one token put for another and goes on behind it.
    """

    __slots__ = ("_at", "_marks", "_mismatches", "_swapped", "_text", "run")

    def __init__(self, text: str, *, is_marked: bool = True) -> None:
        """`is_marked`: it holds citation marks; in the ids of another tokenizer than ours there are none."""
        self._text = text
        self._marks = TokenIds.MARKS if is_marked else range(0)
        self._at = self.run = self._mismatches = 0
        self._swapped = False

    @property
    def is_sure(self) -> bool:
        """Whether so much agrees that it may propose whatever was wrong before."""
        return self.run >= LONGEST

    @property
    def _searched(self) -> int:
        """How much of the text is looked through."""
        return len(self._text)

    def follow(self, token: int) -> None:
        """`token` was appended to the answer."""
        expected = ord(self._text[self._at]) if self._at < len(self._text) else None
        self._at += 1
        if token == expected:
            self.run += 1
            return
        self._swapped = expected in self._marks and token in self._marks
        self._mismatches = 1 if self.run else self._mismatches + 1
        self.run = 0

    def realign(self, tail: str) -> None:
        """Go on behind the longest suffix of `tail`, the answer's end, where that is longer than what agrees."""
        if self.run >= LONGEST:
            return
        for length in range(min(len(tail), LONGEST), max(self.run, SHORTEST - 1), -1):
            end = self._nearest(tail[-length:])
            if end:
                self._at, self.run = end, length
                return

    def width(self) -> int:
        """How many tokens are worth proposing."""
        if self.run >= GUESS:
            return WIDTH
        if self.run:
            return WIDTH if self._swapped else 2 * GUESS if self.run > 1 else GUESS
        if self._mismatches > 1:
            return 0
        return WIDTH if self._swapped else GUESS

    def next(self, length: int) -> list[int]:
        """At most `length` tokens that come next in the text."""
        return [ord(each) for each in self._text[self._at : self._at + length].partition(FOREIGN)[0]]

    def _nearest(self, words: str) -> int:
        """Where `words` end, nearest to where it is; 0 where they are not in the text."""
        until = self._searched
        before = self._text.rfind(words, 0, min(self._at, until)) + len(words)
        after = self._text.find(words, max(0, self._at - len(words) + 1), until) + len(words)
        ends = [end for end in (before, after) if end >= len(words)]
        return min(ends, key=lambda end: abs(end - self._at), default=0)


class FollowedDraft(FollowedText):
    """A guess at the whole answer: as long as all of it agrees it goes on, however little that is."""

    __slots__ = ("_followed",)

    def __init__(self, text: str, *, is_marked: bool = True) -> None:
        super().__init__(text, is_marked=is_marked)
        self._followed = 0

    def follow(self, token: int) -> None:
        super().follow(token)
        self._followed += 1

    def realign(self, tail: str) -> None:
        if self.run != self._followed:
            super().realign(tail)

    def width(self) -> int:
        return WIDTH if self.run == self._followed else super().width()


class FollowedPrompt(FollowedText):
    """The prompt and the answer to it. Behind a citation mark it goes on with that passage, up to its end.

    The more agrees, the more it proposes, and nothing by guess: most of a prompt is never in an answer. A text that
    ends while it is copied repeats itself, as in Lempel and Ziv (1977).
    """

    __slots__ = ("_anchors", "_ends", "_is_anchored", "_quotes")

    def __init__(self, text: str, *, quotes: bool = False, is_marked: bool = True) -> None:
        """`quotes`: behind a mark the passage comes, and nothing else can."""
        super().__init__(text, is_marked=is_marked)
        self._quotes = quotes
        self._is_anchored = False
        self._anchors: dict[int, int] = {}
        self._ends: list[int] = []
        begin = text.find(chr(TokenIds.PASSAGE)) if is_marked else -1
        while 0 <= begin < len(text) - 1:
            if (mark := ord(text[begin + 1])) in self._marks:
                self._anchors[mark] = begin + 2
                self._ends.append(begin)
            begin = text.find(chr(TokenIds.PASSAGE), begin + 1)
        if self._ends:
            self._ends.append(len(text) - 1)

    @property
    def is_sure(self) -> bool:
        return self.run >= LONGEST or self._is_anchored

    @property
    def _searched(self) -> int:
        """All but the last token: a suffix shall not be found where it stands itself."""
        return len(self._text) - 1

    def follow(self, token: int) -> None:
        super().follow(token)
        self._text += as_code_points((token,))
        self._is_anchored = self.run < SHORTEST and token in self._anchors
        if self._is_anchored:
            self._at, self.run = self._anchors[token], 1

    def realign(self, tail: str) -> None:
        if not self._is_anchored:
            super().realign(tail)

    def width(self) -> int:
        if self._is_anchored:
            return WIDTH if self._quotes else 2 * GUESS
        return min(WIDTH, GUESS * self.run) if self.run >= SHORTEST else 0

    def next(self, length: int) -> list[int]:
        passed = bisect_right(self._ends, self._at - 1)
        if passed < len(self._ends):
            return super().next(min(length, self._ends[passed] - self._at))
        words = super().next(length)
        return (words * (length // len(words) + 1))[:length] if words else []
