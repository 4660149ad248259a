"""The blocks of a document, whatever it is written in. Next: markdown.py and html_blocks.py, which find them."""

from __future__ import annotations

from typing import Literal

import msgspec

BlockKind = Literal["paragraph", "item", "header", "row"]
BULLET = "•"


class Block(msgspec.Struct, frozen=True, gc=False):
    """Characters `start` to `end`, without the white space around them; an item's words begin at `body`.

    `section` counts the headings before it, so that two sections of the same name stay two. `group` is the number of
    the list or table that it belongs to (-1: none); `marker` is an item's number or bullet as the document shows it.
    """

    kind: BlockKind
    start: int
    end: int
    body: int
    heading: str
    section: int
    group: int = -1
    marker: str = ""


class BlockList:
    """The blocks found so far, and the headings that the next one stands under."""

    def __init__(self) -> None:
        self.found: list[Block] = []
        self._path: list[tuple[int, str]] = []
        self._section = 0
        self._groups = 0
        self._lists: list[int | None] = []

    def open_list(self, first: int | None = None) -> None:
        """Begin a list or a table; `first` is the number of its first item, where it is numbered."""
        if not self._lists:
            self._groups += 1
        self._lists.append(first)

    def close_list(self) -> None:
        """End what was begun last, if anything was."""
        if self._lists:
            self._lists.pop()

    def next_marker(self, behind: str = ".") -> str:
        """The marker of the next item of the list that was begun last: its number and what is `behind`, or a bullet;
        two spaces before it for each list that this one is in."""
        number = self._lists[-1] if self._lists else None
        if number is not None:
            self._lists[-1] = number + 1
        return "  " * (len(self._lists) - 1) + (BULLET if number is None else f"{number}{behind}")

    def add_heading(self, level: int, words: str) -> None:
        """Begin a section; `level` counts from 1."""
        self._path = [step for step in self._path if step[0] < level] + [(level, words)]
        self._section += 1

    def add(self, kind: BlockKind, start: int, end: int, body: int, marker: str = "") -> None:
        """Add a block; one without a character is none."""
        if body < end:
            heading = " › ".join(words for _, words in self._path if words)
            group = self._groups - 1 if self._lists else -1
            self.found.append(Block(kind, start, end, body, heading, self._section, group, marker))
