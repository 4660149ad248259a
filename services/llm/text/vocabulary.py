"""What decoding and drafting need of a tokenizer, ours or anybody's; next: `tokenizer`, `chat_tokenizer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Vocabulary(Protocol):
    """Text as token ids and back. Safe to use from several threads at once."""

    digest: str
    """Twelve hex digits of the sha256 of `tokenizer.json`: ids mean the same under the same digest alone."""
    size: int
    """One more than the highest id."""
    end: int
    """The token that ends an answer; one of `ends`."""
    ends: frozenset[int]
    """All tokens that end an answer."""

    def encode(self, text: str) -> list[int]:
        """The ids of somebody's text; no control token is among them, whatever it says."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; control tokens are left out, bytes that are no UTF-8 become U+FFFD."""

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        """The bytes of the ids, control tokens left out."""
