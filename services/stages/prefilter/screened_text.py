"""The text of a request as it is screened: whether it is one, what is written in it, and with tokens in place of
personal data. Next: handler.py, which decides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol


class PersonalData(Protocol):
    """A piece of personal data: characters `start` to `end` of the text."""

    @property
    def kind(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def value(self) -> str: ...


def redact(text: str, findings: Sequence[PersonalData], tokens: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """`text` with a token instead of each finding, and the tokens, each once. Raises if one finding has no token."""
    kept: list[str] = []
    end = 0
    for finding, token in zip(findings, tokens, strict=True):
        kept += (text[end : finding.start], token)
        end = finding.end
    return "".join((*kept, text[end:])), tuple(dict.fromkeys(tokens))


def readable_text(text: str, max_chars: int) -> str:
    """The text. Raises `ValueError` where it is none that can be screened and stored."""
    if not text.strip() or len(text) > max_chars or "\x00" in text:
        raise ValueError("empty, too long or not text")
    text.encode()  # half a surrogate pair is no character, and could not be stored
    return text


def spellings_of(schema: str) -> tuple[str, ...]:
    """The schema as it stands and with its escapes resolved, so that nothing hides; `ValueError` if it is not JSON."""
    return (schema, json.dumps(json.loads(schema), ensure_ascii=False)) if schema else ()
