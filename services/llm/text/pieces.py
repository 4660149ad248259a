"""The bytes that each token of a vocabulary stands for: byte-level BPE, and BPE or Unigram with byte fallback."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_SPACE = "\u2581"


def byte_table() -> dict[str, int]:
    """GPT-2's table from printable characters to bytes (Radford et al., 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(0x100 + index): byte for index, byte in enumerate(sorted({*range(256)} - {*printable}))}


def parts_of(described: Mapping[str, Any] | None, *keys: str) -> Iterator[Mapping[str, Any]]:
    """A part of a `tokenizer.json`, and the parts of a sequence of them."""
    if described:
        yield described
        for key in keys:
            for part in described.get(key) or ():
                yield from parts_of(part, *keys)


def bytes_of_pieces(described: Mapping[str, Any], vocabulary: Mapping[str, int]) -> dict[int, bytes]:
    """The bytes of each id of the model's own vocabulary. Raises `ValueError` for tokens that are no runs of bytes."""
    decoders = {str(part.get("type")) for part in parts_of(described.get("decoder"), "decoders")}
    if "ByteLevel" in decoders:
        table = byte_table()
        known = {token: number for token, number in vocabulary.items() if table.keys() >= set(token)}
        return {number: bytes(map(table.__getitem__, token)) for token, number in known.items()}
    if decoders & {"ByteFallback", "Metaspace"}:
        return {number: _spelled(token) for token, number in vocabulary.items()}
    raise ValueError(f"the decoder is {sorted(decoders) or 'missing'}: neither ByteLevel nor ByteFallback or Metaspace")


def _spelled(token: str) -> bytes:
    byte = _BYTE.fullmatch(token)
    return bytes((int(byte[1], 16),)) if byte else token.replace(_SPACE, " ").encode()
