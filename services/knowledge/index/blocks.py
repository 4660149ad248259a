"""The blocks of a document, whatever it is written in. Next: markdown.py and html_blocks.py, which find them."""

from __future__ import annotations

from typing import Literal

import msgspec

BlockKind = Literal["paragraph", "item", "header", "row"]


class Block(msgspec.Struct, frozen=True, gc=False):
    """Characters `start` to `end`, without the white space around them; an item's words begin at `body`.

    `section` counts the headings before it, so that two sections of the same name stay two.
    """

    kind: BlockKind
    start: int
    end: int
    body: int
    heading: str
    section: int


class BlockList:
    """The blocks found so far, and the headings that the next one stands under."""

    def __init__(self) -> None:
        self.found: list[Block] = []
        self._path: list[tuple[int, str]] = []
        self._section = 0

    def add_heading(self, level: int, words: str) -> None:
        """Begin a section; `level` counts from 1."""
        self._path = [step for step in self._path if step[0] < level] + [(level, words)]
        self._section += 1

    def add(self, kind: BlockKind, start: int, end: int, body: int) -> None:
        """Add a block; one without a character is none."""
        if body < end:
            heading = " › ".join(words for _, words in self._path if words)
            self.found.append(Block(kind, start, end, body, heading, self._section))
