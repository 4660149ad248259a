"""Counts tokens as the language model of the site does, for `usage` and for limits; words where it has no model.

Which of the two it is stands in every `usage`. Next: services/gateway/http/truncation.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

WORD = re.compile(r"\s*\S+")
log = structlog.get_logger()


@dataclass(frozen=True)
class TokenCounter:
    """Says where each token of a text ends. `name`: the digest of the tokenizer, or `words`."""

    name: str
    ends: Callable[[str], list[int]]
    """The number of characters up to the end of each token; of a character in several tokens the last has all."""

    def count(self, text: str) -> int:
        """How many tokens `text` has."""
        return len(self.ends(text))


def load_token_counter(path: Path) -> TokenCounter:
    """The counter of the language model whose `tokenizer.json` is at `path`, else that of words."""
    try:
        from tidegate.services.llm.text.tokenizer import TokenizerRefusedError, TokenText  # needs the engine
    except ModuleNotFoundError as error:
        return _count_words(f"{error.name} is not installed")
    try:
        tokens = TokenText.load(path)
    except TokenizerRefusedError as error:
        return _count_words(error.reason)

    def ends(text: str) -> list[int]:
        spans = tokens.plain.encode(text, add_special_tokens=False).offsets
        following = [start for start, _ in spans[1:]] + [len(text)]
        return [min(end, start) for (_, end), start in zip(spans, following, strict=False)]

    return TokenCounter(tokens.digest, ends)


def _count_words(reason: str) -> TokenCounter:
    log.info("tokens_counted_as_words", reason=reason)
    return TokenCounter("words", lambda text: [match.end() for match in WORD.finditer(text)])
