"""Which tokenizer a model's directory has: our own control-token format, or a foreign one with a chat template."""

from __future__ import annotations

from pathlib import Path

from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer
from tidegate.services.llm.text.tokenizer import TokenizerRefusedError, TokenText
from tidegate.services.llm.text.tokenizer_check import check_tokenizer


def load_vocabulary(directory: Path) -> TokenText | ChatTokenizer:
    """The tokenizer in `tokenizer.json` of the directory. Raises `TokenizerRefusedError`, for one of another model too,
    `ChatTemplateError`."""
    try:
        stored = (directory / "tokenizer.json").read_bytes()
    except OSError as error:
        raise TokenizerRefusedError(f"no tokenizer at {directory / 'tokenizer.json'}: {error}") from error
    tokens = TokenText(stored) if TokenText.is_ours(stored) else ChatTokenizer.load(directory)
    check_tokenizer(tokens, directory)
    return tokens
