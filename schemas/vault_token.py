"""The grammar of a vault token, for whoever makes, finds, replaces or must not cut one: `<KIND_0123456789ab>`.

Its digits are another ones for each asker, so that whatever judges a text must read it without them: `read_kinds`,
`without_tokens`, or `number_tokens` where the outcome holds tokens again (decision 0067).
Pure; next: services/privacy/vault.py, which makes tokens and stores their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

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


def read_kinds(text: str, show: Callable[[str], str] = "<{}>".format) -> str:
    """`text` with what `show` makes of its kind in the place of each token, `<KIND>` where nothing else is said: the
    same for every asker."""
    return VAULT_TOKEN.sub(lambda token: show(token[1]), text) if "<" in text else text


def without_tokens(text: str) -> str:
    """`text` with a blank in the place of each token, for what reads words alone."""
    return read_kinds(text, lambda _kind: " ")


class NumberedTexts(NamedTuple):
    """Texts whose tokens are numbered; `tokens` maps each of these to the one in whose place it stands."""

    texts: tuple[str, ...]
    tokens: Mapping[str, str]

    def restore(self, text: str) -> str:
        """What was made of the texts, with the tokens that stood in them; any other token stays as it is."""
        return VAULT_TOKEN.sub(lambda token: self.tokens.get(token[0], token[0]), text)


def number_tokens(texts: Sequence[str]) -> NumberedTexts:
    """The texts with the number of its first appearance among all of them as the digits of each token.

    Two texts that differ in the digits alone become the same one; equal tokens stay equal, others stay different, and
    every character stays at its place.
    """
    numbers = {token: number for number, token in enumerate(tokens_in("\0".join(texts)), start=1)}

    def numbered(token: str) -> str:
        return vault_token(token[1 : -DIGITS - 2], f"{numbers[token]:0{DIGITS}x}")

    changed = tuple(VAULT_TOKEN.sub(lambda token: numbered(token[0]), text) for text in texts)
    return NumberedTexts(changed, {numbered(token): token for token in numbers})


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
