"""Cuts a text into the tokens of the multilingual model, each with its characters. Next: embedding.py.

Promises that no text is read as a control token: `</s>` in a question is spelled out (decision 0061)."""

from __future__ import annotations

from typing import NamedTuple

from sentencepiece import SentencePieceProcessor

TOKENIZER_FILE = "tokenizer.model"


class TokenizedText(NamedTuple):
    """The ids of tokens, and the characters of the text that each stands for, from and to: at least one."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class PieceTokenizer:
    """Cuts by a vocabulary of pieces with their probabilities (Kudo and Richardson, "SentencePiece", EMNLP 2018).

    Safe to use from several threads at once. White space at both ends of a text makes no tokens, and a run of it
    within makes one; a text of nothing else has none.
    """

    def __init__(self, model: bytes) -> None:
        """`model`: a SentencePiece model. Raises `ValueError` for what is none."""
        try:
            self._pieces = SentencePieceProcessor()
            self._pieces.load_from_serialized_proto(model)
        except RuntimeError as error:
            raise ValueError(f"not a SentencePiece model: {error}") from error
        self._start, self._end = self._pieces.bos_id(), self._pieces.eos_id()

    def encode(self, text: str) -> TokenizedText:
        """The tokens of a text, without those that frame it; takes some 90 µs for 300 characters."""
        found = self._pieces.encode(text, return_type="offset_mapping")
        # a piece is at no character where what it begins with stands for one that the next piece ends
        offsets = [(start, end) if start < end else (start, start + 1) for start, end in found["offsets"]]
        return TokenizedText(found["ids"], offsets)

    def frame(self, text: str) -> list[int]:
        """The ids of a text between the two that frame it, in half the time of `encode`."""
        ids: list[int] = self._pieces.encode(text)
        return [self._start, *ids, self._end]
