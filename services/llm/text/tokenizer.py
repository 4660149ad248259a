"""Text as token ids and back: one byte-level BPE vocabulary that the edge and the cloud share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tidegate.schemas import TidegateError
from tidegate.services.llm.text.pieces import byte_table
from tidegate.services.llm.text.token_ids import TokenIds

CONTROLS = tuple(
    f"<|{name}|>" for name in ("pad", "bos", "eos", "question", "passage", "answer", "none", "text", "schema", "json")
)
MARKS = tuple(f"[{number}]" for number in range(1, TokenIds.MOST_PASSAGES + 1))


class TokenizerRefusedError(TidegateError, ValueError):
    """There is no tokenizer that can be used where one is expected."""

    hint = "run `make models`"


class TokenText(TokenIds):
    """Encodes and decodes. Safe to use from several threads at once.

    What people wrote never becomes a control token: `<|eos|>` or `[3]` in it is spelled in ordinary pieces.
    """

    def __init__(self, stored: bytes) -> None:
        """Read a `tokenizer.json`. Raises `TokenizerRefusedError` where it is no byte-level BPE with our marks."""
        self.digest: str = hashlib.sha256(stored).hexdigest()[:12]
        try:
            described: dict[str, Any] = json.loads(stored)
            described |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
            self._described = described
            self.plain = Tokenizer.from_str(json.dumps(described))
            vocabulary: dict[str, int] = described["model"]["vocab"]
        except Exception as error:  # the library raises no other kind
            raise TokenizerRefusedError(f"no tokenizer.json: {error}") from error
        expected = {token: number for number, token in enumerate((*CONTROLS, *MARKS))}
        misplaced = [token for token, number in expected.items() if vocabulary.get(token) != number]
        if misplaced:
            raise TokenizerRefusedError(f"{misplaced[0]!r} is not token {expected[misplaced[0]]}")
        if (self._described.get("decoder") or {}).get("type") != "ByteLevel":
            raise TokenizerRefusedError("the decoder is not ByteLevel: tokens are no runs of bytes")
        self.size: int = max(vocabulary.values()) + 1
        self.end: int = self.END
        self.ends: frozenset[int] = frozenset((self.END,))
        self._bytes = _pieces(vocabulary, self.size, len(expected))

    @classmethod
    def load(cls, path: Path) -> TokenText:
        """The tokenizer in the file `path`. Raises `TokenizerRefusedError`."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise TokenizerRefusedError(f"no tokenizer at {path}: {error}") from error

    @staticmethod
    def is_ours(stored: bytes) -> bool:
        """Whether a `tokenizer.json` has our control tokens; any other is read by `ChatTokenizer`."""
        try:
            vocabulary = json.loads(stored)["model"]["vocab"]
            return isinstance(vocabulary, dict) and all(name in vocabulary for name in CONTROLS[:4])
        except (ValueError, KeyError, TypeError):
            return True  # what is no tokenizer at all is refused there, with its reason

    def encode(self, text: str) -> list[int]:
        """The ids of somebody's text; no control token is among them."""
        ids: list[int] = self.plain.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids; control tokens and marks are left out, bytes that are no UTF-8 become U+FFFD."""
        return self.bytes_of(ids).decode("utf-8", "replace")

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        """The bytes of the ids, control tokens and marks left out."""
        return b"".join(self._bytes[each] for each in ids)

    def marked(self, id: int) -> int | None:
        """The number of the passage that this token cites, from 1 on."""
        number = id - self.FIRST_MARK + 1
        return number if 1 <= number <= self.MOST_PASSAGES else None

    def is_control(self, id: int) -> bool:
        """Whether it is a control token or a citation mark: it has no text."""
        return 0 <= id < self.FIRST_MARK + self.MOST_PASSAGES

    def with_marks_as_controls(self) -> str:
        """This tokenizer as JSON in which all control tokens and marks are special, for the grammar engine."""
        added = [
            {"id": number, "content": token, "special": True, "normalized": False}
            | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
            for number, token in enumerate((*CONTROLS, *MARKS))
        ]
        return json.dumps({**self._described, "added_tokens": added})


def _pieces(vocabulary: dict[str, int], size: int, controls: int) -> list[bytes]:
    """The bytes of each id; none of control tokens and marks."""
    table = byte_table()
    pieces = [b""] * size
    for token, number in vocabulary.items():
        if number >= controls:
            pieces[number] = bytes(map(table.__getitem__, token))
    return pieces
