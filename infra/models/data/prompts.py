"""The samples of training as token ids: the prompts are the product's own, and answers are written as it reads them.

Promises the format of `services/llm/text`, where text that somebody else wrote never becomes a control token.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from tidegate.services.llm.text.prompts import answer_prompt, encode_words, json_prompt
from tidegate.services.llm.text.tokenizer import TokenText

EOS, QUESTION, PASSAGE, ANSWER = TokenText.END, TokenText.QUESTION, TokenText.PASSAGE, TokenText.ANSWER
BOS, NONE, TEXT = TokenText.BEGIN, TokenText.NONE, TokenText.TEXT
MARKS = tuple(range(TokenText.FIRST_MARK, TokenText.FIRST_MARK + TokenText.MOST_PASSAGES))


class Prompts:
    """Prompts and answers as token ids. Passages are numbered from 1; there are at most nine."""

    def __init__(self, tokenizer_json: Path) -> None:
        self.tokens = TokenText.load(tokenizer_json)
        self.tokenizer = Tokenizer.from_file(str(tokenizer_json))
        self.plain = self.tokens.plain

    def text(self, text: str) -> list[int]:
        """The ids of somebody's text: never one below 19."""
        return self.tokens.encode(text)

    def question(self, question: str, passages: Sequence[str]) -> list[int]:
        """See `answer_prompt`; nothing is cut, and a ValueError beyond nine passages."""
        if len(passages) > len(MARKS):
            raise ValueError(f"{len(passages)} passages, at most {len(MARKS)} can be cited")
        return [*answer_prompt(self.tokens, question, passages, sys.maxsize).ids]

    def answer(self, parts: Sequence[tuple[int, str]]) -> list[int]:
        """`[n] sentence [m] sentence<|eos|>` of (number, sentence) pairs; none: `<|none|><|eos|>`."""
        if not parts:
            return [NONE, EOS]
        ids: list[int] = []
        for index, (number, sentence) in enumerate(parts):
            ids += self.text(" ") if index else []
            ids += [MARKS[number - 1], *self.text(" " + sentence)]
        return [*ids, EOS]

    def extraction(self, schema: str, text: str) -> list[int]:
        """See `json_prompt`; nothing is cut."""
        return [*json_prompt(self.tokens, schema, text, sys.maxsize)]

    def json(self, compact: str) -> list[int]:
        """A JSON object as it is generated, with its end."""
        return [*encode_words(self.tokens, compact), EOS]

    def decoded(self, ids: Sequence[int]) -> str:
        """The text of generated ids, marks and `<|none|>` spelled out, without `<|eos|>`."""
        text: str = self.tokenizer.decode([i for i in ids if i != EOS], skip_special_tokens=False)
        return text
