"""Fills a schema from texts whose vault tokens are numbered, so that the digits that were drawn change nothing.

Pure. Next: extraction.py."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tidegate.schemas import Answer
from tidegate.schemas.vault_token import number_tokens


def fill_numbered(fill: Callable[..., Answer], *texts: str) -> Answer:
    """What `fill` makes of the text, the schema and whatever else it reads, with the tokens that stand in them. An
    option that is a token is still the one that the text has: all of the texts are numbered together."""
    numbered = number_tokens(texts)
    answer = fill(*numbered.texts)
    if not numbered.tokens:
        return answer
    return msgspec.json.decode(numbered.restore(msgspec.json.encode(answer).decode()), type=Answer)
