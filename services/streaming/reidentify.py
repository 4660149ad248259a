"""Puts values back in place of vault tokens in a piece of text that cuts no token; the grammar is in schemas.

Next: services/streaming/events.py, which cuts the pieces; services/privacy/vault.py, which has the values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from tidegate.schemas.vault_token import VAULT_TOKEN

ValueOf = Callable[[str], str]
"""From one token to its value, or to the token itself."""


def reidentify_text(text: str, value_of: ValueOf, *, is_json: bool = False) -> str:
    """`text` with every token's value; inside a JSON document, where tokens stand in strings only, escaped for it."""

    def replacement(found: re.Match[str]) -> str:
        token = found.group()
        value = value_of(token)
        return json.dumps(value, ensure_ascii=False)[1:-1] if is_json and value != token else value

    return VAULT_TOKEN.sub(replacement, text)
