"""Ends a text where the client wants it to end: before a stop sequence, or after so many tokens.

Whatever the pieces in which the text comes, what is given out is together the same; next: chat.py."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from tidegate.services.llm.text.token_counter import TokenCounter

SPACE = re.compile(r"\s+")
CutReason = Literal["", "stop", "length"]


class TextLimits(msgspec.Struct, frozen=True):
    """Where a text must end. `max_tokens` 0: no limit."""

    stop: tuple[str, ...] = ()
    max_tokens: int = 0

    def __bool__(self) -> bool:
        return bool(self.stop or self.max_tokens)


class Truncation:
    """Takes a text in pieces and gives it out up to its limits. `reason` says which limit ended it, once one did."""

    def __init__(self, limits: TextLimits, counter: TokenCounter) -> None:
        self._limits = limits
        self._counter = counter
        self._text = ""
        self._given = 0
        self.reason: CutReason = ""

    @property
    def text(self) -> str:
        """What was given out so far."""
        return self._text[: self._given]

    def feed(self, piece: str) -> str:
        """As much as is certain now: no stop sequence can begin in it, and no more text can change its tokens."""
        self._text += piece
        return self._give(is_whole=False)

    def finish(self) -> str:
        """The rest, up to the limits."""
        return self._give(is_whole=True)

    def _give(self, *, is_whole: bool) -> str:
        if self.reason:
            return ""
        given, end = self._given, self._find_end(is_whole=is_whole)
        self._given = max(given, end)
        return self._text[given : self._given]

    def _find_end(self, *, is_whole: bool) -> int:
        end = len(self._text)
        if self._limits.max_tokens:
            end = end if is_whole else _settled(self._text)
            ends = self._counter.ends(self._text[:end])
            if len(ends) > self._limits.max_tokens:
                end, self.reason = ends[self._limits.max_tokens - 1], "length"
        found = [(at + len(stop), at) for stop in self._limits.stop if (at := self._text.find(stop, 0, end)) >= 0]
        if found:  # the one that is whole first, as it would be while the text is made
            self.reason = "stop"
            return min(found)[1]
        if is_whole or self.reason:
            return end
        return end - max((_overlap(self._text[:end], stop) for stop in self._limits.stop), default=0)


def _settled(text: str) -> int:
    """Where the last white space begins: tokenizers split there, so that the tokens before it stay what they are."""
    return max((match.start() for match in SPACE.finditer(text)), default=0)


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may begin the stop sequence."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
