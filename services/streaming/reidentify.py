"""Putting values back in place of vault tokens in a text that comes in pieces.

A piece is held back only while its end can still become a token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

TOKEN = re.compile(r"<[A-Z]{2,16}_[0-9a-f]{12}>")
"""What tidegate.services.privacy.vault writes."""
_BEGUN = re.compile(r"<(?:[A-Z]{0,16}|[A-Z]{2,16}_[0-9a-f]{0,12})")
_LONGEST = 1 + 16 + 1 + 12

Restore = Callable[[str], str]
"""From one token to its value, or to the token itself."""


def clear_end(text: str) -> int:
    """How many characters of `text` no continuation can make part of a token that is not whole yet."""
    begun = text.rfind("<", max(0, len(text) - _LONGEST))
    return begun if begun >= 0 and _BEGUN.fullmatch(text, begun) else len(text)


def outside(text: str, end: int) -> int:
    """The first place from `end` on that is not inside a token of `text`."""
    for found in TOKEN.finditer(text, max(0, end - _LONGEST)):
        if found.start() >= end:
            break
        if end < found.end():
            return found.end()
    return end


def restored(text: str, restore: Restore, *, is_json: bool = False) -> str:
    """`text` with every token's value; inside a JSON document, where tokens stand in strings only, escaped for it."""

    def value(found: re.Match[str]) -> str:
        token = found.group()
        said = restore(token)
        return json.dumps(said, ensure_ascii=False)[1:-1] if is_json and said != token else said

    return TOKEN.sub(value, text)


class Restorer:
    """The transducer: whatever the pieces, what it gives out is together `restored` of them together."""

    def __init__(self, restore: Restore, *, is_json: bool = False) -> None:
        self._restore = restore
        self._is_json = is_json
        self.held = ""

    def feed(self, piece: str) -> str:
        """As much as can be told now."""
        text = self.held + piece
        end = clear_end(text)
        self.held = text[end:]
        return restored(text[:end], self._restore, is_json=self._is_json)

    def finish(self) -> str:
        """What was held back: it did not become a token."""
        rest, self.held = self.held, ""
        return rest
