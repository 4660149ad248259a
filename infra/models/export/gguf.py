"""Reads a GGUF file: its facts and its tensors as float32. Of the kinds of blocks, those that the box needs.

Source: the GGUF specification and `ggml-quants.c` of llama.cpp (MIT); written here to need no package.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.schemas import TidegateError

Array = np.ndarray[Any, Any]
MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, LIST = 8, 9
BLOCK = 32
F32, F16, Q4_1, Q8_0 = 0, 1, 3, 8
BYTES = {Q4_1: 20, Q8_0: 34}


class GgufRefusedError(TidegateError, ValueError):
    """A file is no GGUF, or holds blocks of a kind that is not read here."""

    hint = "use the pinned package, or a Hugging Face directory"


@dataclass
class GgufFile:
    """`facts` by key, and `tensors` by name: rows first, as Hugging Face stores them."""

    facts: dict[str, Any]
    tensors: dict[str, Array]


class _Cursor:
    def __init__(self, content: memoryview) -> None:
        self.content, self.at = content, 0

    def scalar(self, code: str) -> Any:
        (found,) = struct.unpack_from(f"<{code}", self.content, self.at)
        self.at += struct.calcsize(f"<{code}")
        return found

    def text(self) -> str:
        size = self.scalar("Q")
        self.at += size
        return bytes(self.content[self.at - size : self.at]).decode()

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind == LIST:
            inner, count = self.scalar("I"), self.scalar("Q")
            return [self.value(inner) for _ in range(count)]
        return self.scalar(SCALARS[kind])


def read_gguf(path: Path) -> GgufFile:
    """The whole file. Raises `GgufRefusedError`."""
    content = memoryview(path.read_bytes())
    cursor = _Cursor(content)
    try:
        if bytes(content[:4]) != MAGIC:
            raise GgufRefusedError(f"{path.name} is no GGUF file")
        cursor.at = 4
        if (version := cursor.scalar("I")) not in VERSIONS:
            raise GgufRefusedError(f"{path.name} is of version {version}")
        tensors, facts = cursor.scalar("Q"), cursor.scalar("Q")
        known = {cursor.text(): cursor.value(cursor.scalar("I")) for _ in range(facts)}
        listed = [_describe(cursor) for _ in range(tensors)]
        step = int(known.get("general.alignment", 32))
        begin = -(-cursor.at // step) * step
        return GgufFile(known, {name: _tensor(content, begin + at, shape, kind) for name, shape, kind, at in listed})
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise GgufRefusedError(f"{path.name} cannot be read: {error}") from error


def _describe(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.text()
    sizes = [cursor.scalar("Q") for _ in range(cursor.scalar("I"))]
    return name, tuple(reversed(sizes)), cursor.scalar("I"), cursor.scalar("Q")


def _tensor(content: memoryview, at: int, shape: tuple[int, ...], kind: int) -> Array:
    count = int(np.prod(shape))
    if kind in (F32, F16):
        stored = np.frombuffer(content, np.float32 if kind == F32 else np.float16, count, at)
        return stored.astype(np.float32).reshape(shape)
    if kind not in BYTES:
        raise GgufRefusedError(f"it holds blocks of kind {kind}")
    blocks = np.frombuffer(content, np.uint8, count // BLOCK * BYTES[kind], at).reshape(-1, BYTES[kind])
    return (_q8_0(blocks) if kind == Q8_0 else _q4_1(blocks)).reshape(shape)


def _halves(blocks: Array, begin: int) -> Array:
    found: Array = np.ascontiguousarray(blocks[:, begin : begin + 2]).view(np.float16).astype(np.float32)
    return found


def _q8_0(blocks: Array) -> Array:
    """A scale and 32 whole numbers."""
    result: Array = _halves(blocks, 0) * np.ascontiguousarray(blocks[:, 2:]).view(np.int8)
    return result


def _q4_1(blocks: Array) -> Array:
    """A scale, a least value, and 32 numbers of 4 bits: the low halves of 16 bytes, then the high ones."""
    numbers = np.concatenate((blocks[:, 4:] & 15, blocks[:, 4:] >> 4), axis=1)
    result: Array = _halves(blocks, 0) * numbers + _halves(blocks, 2)
    return result
