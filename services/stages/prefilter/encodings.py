"""Reads what a text says in base64, in hexadecimal digits or letter by letter. Next: safety.py."""

from __future__ import annotations

import base64
import binascii
import re

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(r"\b(?:0x)?(?:[0-9A-Fa-f]{2}[\s:,]{0,2}){8,}")
_SPELLED = re.compile(r"(?:(?<=\s)|^)\w(?:[ \t.\-_]{1,4}\w){7,}(?=\s|[.?!,]|$)")
_BETWEEN_WORDS = re.compile(r"[ \t]{2,}")
_NO_LETTER = re.compile(r"[^\w]|_")
LETTERS = 0.8
"""The share of letters and spaces from which on bytes are taken for writing."""


def decode_hidden(text: str) -> list[str]:
    """What is written in `text` so that a reader of words would not see it, each in plain writing; seldom anything.

    Promises nothing about other codes: a model that obeys those has to be told by the words around them.
    """
    bytes_found = [*map(_from_base64, _BASE64.findall(text)), *map(_from_hex, _HEX.findall(text))]
    written = [each for each in map(_read, bytes_found) if each]
    spelled = [
        " ".join(_NO_LETTER.sub("", word) for word in _BETWEEN_WORDS.split(each)) for each in _SPELLED.findall(text)
    ]
    return written + spelled


def _from_base64(run: str) -> bytes:
    plain = run.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4))
    except (binascii.Error, ValueError):
        return b""


def _from_hex(run: str) -> bytes:
    return bytes.fromhex(re.sub(r"0x|[^0-9A-Fa-f]", "", run))


def _read(data: bytes) -> str:
    """The bytes as writing in UTF-8, or nothing where they are something else, such as a key or a picture."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ""
    letters = sum(each.isalpha() or each.isspace() for each in text)
    return text if text.isprintable() and len(text) > 5 and letters >= LETTERS * len(text) else ""
