"""Whether a text that a server writes piece by piece can still become a JSON object, so that it is stopped when not.

Promises that no beginning of a JSON object (RFC 8259) is refused, and that what is whole is one. Pure. Next:
json_grammar.py, which lets our own models write nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_BLANKS = " \t\r\n"
_LITERALS = ("true", "false", "null")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_NUMBER_SO_FAR = re.compile(r"-?(?:(?:0|[1-9]\d*)(?:\.\d*)?(?:(?<=\d)[eE](?:[+-]?\d*))?)?", re.ASCII)
_CLOSES = {"}": "{", "]": "["}


@dataclass
class JsonPrefix:
    """One text. `expected` is what may come next: `start`, a `value`, a `value or ]`, a `key`, a `key or }`, a `colon`,
    or what stands `after` a value; `over` once the object is closed."""

    expected: str = "start"
    is_broken: bool = False
    _open: list[str] = field(default_factory=list)
    _word: str = ""
    _string: str = ""
    """Of a string that is open: `key` or `value`; whether the next character is escaped, and how many digits follow."""
    _is_escaped: bool = False
    _digits: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether the object is closed, and nothing but blanks came behind it."""
        return self.expected == "over" and not self.is_broken

    def feed(self, text: str) -> bool:
        """Take in the next piece; False once nothing that follows can make an object of it."""
        for char in text:
            if self.is_broken:
                break
            self.is_broken = not self._take(char)
        return not self.is_broken

    def _take(self, char: str) -> bool:
        if self._string:
            return self._in_string(char)
        if self._word:
            if char not in f"{_BLANKS},]}}":
                self._word += char
                return self._can_be_word()
            if not (self._word in _LITERALS or _NUMBER.fullmatch(self._word)):
                return False
            self._word, self.expected = "", "after"
        return char in _BLANKS or self._between(char)

    def _between(self, char: str) -> bool:
        if self.expected == "start":
            return char == "{" and self._enter(char)
        if self.expected == "colon":
            self.expected = "value"
            return char == ":"
        if char in _CLOSES:
            return self._leave(char)
        if self.expected == "after" and char == ",":
            self.expected = "key" if self._open[-1] == "{" else "value"
            return True
        if self.expected in ("key", "key or }") and char == '"':
            self._string = "key"
            return True
        return self.expected in ("value", "value or ]") and self._begin(char)

    def _begin(self, char: str) -> bool:
        if char == '"':
            self._string = "value"
            return True
        if char in "{[":
            return self._enter(char)
        self._word = char
        return self._can_be_word()

    def _enter(self, char: str) -> bool:
        self._open.append(char)
        self.expected = "key or }" if char == "{" else "value or ]"
        return True

    def _leave(self, char: str) -> bool:
        may = self.expected == "after" or self.expected.endswith(f"or {char}")
        if not may or not self._open or self._open.pop() != _CLOSES[char]:
            return False
        self.expected = "after" if self._open else "over"
        return True

    def _in_string(self, char: str) -> bool:
        if self._digits:
            self._digits -= 1
            return char in "0123456789abcdefABCDEF"
        if self._is_escaped:
            self._is_escaped, self._digits = False, 4 if char == "u" else 0
            return char in '"\\/bfnrtu'
        if char == "\\":
            self._is_escaped = True
        elif char == '"':
            self.expected = "colon" if self._string == "key" else "after"
            self._string = ""
        return char >= " "

    def _can_be_word(self) -> bool:
        return any(each.startswith(self._word) for each in _LITERALS) or bool(_NUMBER_SO_FAR.fullmatch(self._word))
