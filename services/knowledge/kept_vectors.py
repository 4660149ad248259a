"""The vectors of the texts that something was trained on, kept in a file: the next time only new texts are embedded.

Promises the vectors of the embedder. A file of another model, or one that is not as it was written, gives none. Next:
intent_classifier.py, whose texts are nearly the same each time."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from tidegate.services.knowledge.text_embedder import TextEmbedder, TextRole, Vector

_DIGEST_BYTES = 32


class KeptVectors:
    """An embedder that knows what the first usable of some files holds, by text and model version.

    It keeps what it was asked for, and nothing else: a file never has more than the texts of one training.
    """

    def __init__(self, embedder: TextEmbedder, files: Iterable[Path] = ()) -> None:
        """Raises nothing for files that are missing or damaged: their texts are embedded anew."""
        self.version = embedder.version
        self._embedder = embedder
        self._known = next(filter(None, (_read(file, embedder.version) for file in files)), {})
        self._asked: dict[bytes, Vector] = {}

    def embed(self, text: str, role: TextRole = "query") -> Vector:
        """See `TextEmbedder`."""
        key = hashlib.sha256(f"{role} {text}".encode("utf-8", "surrogatepass")).digest()
        if key not in self._asked:
            found = self._known.get(key)
            self._asked[key] = self._embedder.embed(text, role) if found is None else found
        return self._asked[key]

    def save(self, path: Path) -> None:
        """Write what was asked for, whole or not at all. Raises `OSError`."""
        keys = np.frombuffer(b"".join(self._asked), np.uint8).reshape(-1, _DIGEST_BYTES)
        vectors = np.stack(list(self._asked.values())).astype(np.float32)
        about = {"version": self.version, "sha256": _checksum(keys, vectors)}
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        fresh.write_bytes(safetensors.numpy.save({"keys": keys, "vectors": vectors}, about))
        os.replace(fresh, path)


def _read(file: Path, version: str) -> dict[bytes, Vector]:
    """Nothing where the file is missing, damaged, or another model's: to embed anew is always right."""
    try:
        with safe_open(file, framework="numpy") as saved:
            about, keys, vectors = saved.metadata(), saved.get_tensor("keys"), saved.get_tensor("vectors")
        is_good = about["version"] == version and about["sha256"] == _checksum(keys, vectors)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return {}
    return {key.tobytes(): vector for key, vector in zip(keys, vectors, strict=True)} if is_good else {}


def _checksum(keys: NDArray[Any], vectors: NDArray[Any]) -> str:
    """Of both, with their shapes: a vector under another text's key would spoil what is trained, unnoticed."""
    digest = hashlib.sha256(repr((keys.shape, vectors.shape)).encode())
    for each in (keys, vectors):
        digest.update(np.ascontiguousarray(each).tobytes())
    return digest.hexdigest()
