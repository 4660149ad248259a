"""Weights kept in the repository: matrices as int8 with a scale for each row, the rest as float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tidegate.infra.models.export.encoder_graph import Weights

LARGE = 4096
"""Matrices of fewer numbers stay as they are."""
_SCALE = "|scale"


def save(path: Path, weights: Weights) -> None:
    """Write the weights; each number of a large matrix is off by at most half a 127th of its row's largest."""
    stored: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in weights.items():
        if value.ndim == 2 and value.size >= LARGE:
            scale = np.maximum(np.abs(value).max(axis=1, keepdims=True), 1e-12) / 127.0
            stored[name] = np.rint(value / scale).astype(np.int8)
            stored[name + _SCALE] = scale.astype(np.float32)
        else:
            stored[name] = np.ascontiguousarray(value, dtype=np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(stored, path)


def load(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The weights as float32, under the names that `save` was given."""
    stored = load_file(path)
    return {
        name: value.astype(np.float32) * stored[name + _SCALE] if name + _SCALE in stored else value
        for name, value in stored.items()
        if not name.endswith(_SCALE)
    }
