"""The prompt format of the pair and its tokenizer: what every user of the models has to agree on.

Text that somebody else wrote never becomes a control token: it is encoded by the same merges with no added tokens, so
`<|eos|>` or `[3]` spelled out in a question is a run of harmless pieces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

PAD, BOS, EOS, QUESTION, PASSAGE, ANSWER, NONE, TEXT, SCHEMA, JSON = range(10)
SPECIAL = ("pad", "bos", "eos", "question", "passage", "answer", "none", "text", "schema", "json")
CONTROL = tuple(f"<|{name}|>" for name in SPECIAL)
MARKS = tuple(range(10, 19))
SPACE = re.compile("( )")
MARK_TEXT = tuple(f"[{number}]" for number in range(1, 10))


class Prompts:
    """Prompts and answers as token ids. Passages are numbered from 1; there are at most nine."""

    def __init__(self, tokenizer_json: Path) -> None:
        stored = json.loads(tokenizer_json.read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_str(json.dumps(stored))
        stored["added_tokens"] = []
        stored["post_processor"] = None
        self.plain = Tokenizer.from_str(json.dumps(stored))

    def text(self, text: str) -> list[int]:
        """The ids of somebody's text: never one below 19."""
        ids: list[int] = self.plain.encode(text, add_special_tokens=False).ids
        return ids

    def question(self, question: str, passages: Sequence[str]) -> list[int]:
        """`<|bos|><|question|>Q<|passage|>[1] P1<|passage|>[2] P2…<|answer|>`; a ValueError beyond nine passages."""
        if len(passages) > len(MARKS):
            raise ValueError(f"{len(passages)} passages, at most {len(MARKS)} can be cited")
        ids = [BOS, QUESTION, *self.text(question)]
        for mark, passage in zip(MARKS, passages, strict=False):
            ids += [PASSAGE, mark, *self.text(" " + passage)]
        return [*ids, ANSWER]

    def answer(self, parts: Sequence[tuple[int, str]]) -> list[int]:
        """`[n] sentence [m] sentence<|eos|>` of (number, sentence) pairs; none: `<|none|><|eos|>`."""
        if not parts:
            return [NONE, EOS]
        ids: list[int] = []
        for place, (number, sentence) in enumerate(parts):
            ids += self.text(" ") if place else []
            ids += [MARKS[number - 1], *self.text(" " + sentence)]
        return [*ids, EOS]

    def extraction(self, schema: str, text: str) -> list[int]:
        """`<|bos|><|schema|>name:type name:type<|text|>TEXT<|json|>`, each word by itself."""
        return [BOS, SCHEMA, *self.words(schema), TEXT, *self.words(text), JSON]

    def json(self, compact: str) -> list[int]:
        return [*self.words(compact), EOS]

    def words(self, text: str) -> list[int]:
        """The ids of a text, each space a token of its own: a word has the same ids behind a space as behind `"`."""
        return [token for part in SPACE.split(text) if part for token in self.text(part)]

    def decoded(self, ids: Sequence[int]) -> str:
        """The text of generated ids, marks and `<|none|>` spelled out, without `<|eos|>`."""
        text: str = self.tokenizer.decode([i for i in ids if i != EOS], skip_special_tokens=False)
        return text
