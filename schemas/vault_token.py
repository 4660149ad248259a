"""The grammar of a vault token, for whoever makes, finds, replaces or must not cut one: `<KIND_0123456789ab>`.

Pure; next: services/privacy/vault.py, which makes tokens and stores their values."""

from __future__ import annotations

import re

VAULT_TOKEN = re.compile(r"<([A-Z]{2,16})_([0-9a-f]{12})>")
"""The kind of its value, and 48 bits that only the site can make. ASCII alone; nothing shorter or longer."""
DIGITS = 12
_BEGUN = re.compile(r"<(?:[A-Z]{0,16}|[A-Z]{2,16}_[0-9a-f]{0,12})")
_LONGEST_BEGUN = len("<") + 16 + len("_") + DIGITS


def vault_token(kind: str, digest: str) -> str:
    """The token of a kind, by the first 12 of the digest's hex digits. Raises `ValueError` for what would be none."""
    token = f"<{kind}_{digest[:DIGITS]}>"
    if not VAULT_TOKEN.fullmatch(token):
        raise ValueError(f"{kind!r} is not a kind: 2 to 16 capital letters")
    return token


def tokens_in(text: str) -> tuple[str, ...]:
    """The vault tokens in `text`, each once, in order of appearance."""
    return tuple(dict.fromkeys(match.group() for match in VAULT_TOKEN.finditer(text)))


def complete_length(text: str) -> int:
    """How many characters of `text` no continuation can make part of a token that is not whole yet."""
    begun = text.rfind("<", max(0, len(text) - _LONGEST_BEGUN))
    return begun if begun >= 0 and _BEGUN.fullmatch(text, begun) else len(text)


def next_boundary(text: str, offset: int) -> int:
    """The first offset from `offset` on that is not inside a token of `text`."""
    for found in VAULT_TOKEN.finditer(text, max(0, offset - _LONGEST_BEGUN)):
        if found.start() >= offset:
            break
        if offset < found.end():
            return found.end()
    return offset
