"""The weights of a Hugging Face directory as float32, whatever they are stored as, in one file or in several."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tidegate.infra.models.export.architecture import ArchitectureRefusedError

Array = np.ndarray[Any, Any]
TYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64}
MOST_HEADER = 100 << 20


def read_weights(directory: Path) -> dict[str, Array]:
    """Every tensor of the language model by its usual name (`model.layers.0…`, `lm_head.weight`).

    Raises `ArchitectureRefusedError` for files that are no safetensors or are quantised.
    """
    paths = sorted(directory.glob("*.safetensors"))
    if not paths:
        raise ArchitectureRefusedError(f"{directory} holds no safetensors")
    found: dict[str, Array] = {}
    for path in paths:
        for name, tensor in _tensors(path):
            if not any(part in name for part in ("vision_tower", "multi_modal_projector")):
                found[_usual(name)] = tensor
    return found


def _usual(name: str) -> str:
    """A name without what a model that also sees puts before it."""
    bare = name.replace("language_model.", "")
    return bare if bare.startswith(("model.", "lm_head.")) else f"model.{bare}"


def _tensors(path: Path) -> Iterator[tuple[str, Array]]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > MOST_HEADER:
            raise ArchitectureRefusedError(f"{path.name} is no safetensors file")
        try:
            header: dict[str, Any] = json.loads(file.read(size))
        except ValueError as error:
            raise ArchitectureRefusedError(f"{path.name} is no safetensors file") from error
    content = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + size)
    for name, described in header.items():
        if name != "__metadata__":
            begin, end = described["data_offsets"]
            yield name, _read(content[begin:end], described["dtype"], path.name).reshape(described["shape"])


def _read(content: Array, kind: str, name: str) -> Array:
    if kind == "BF16":  # the upper half of a float32
        halves: Array = np.frombuffer(content.tobytes(), dtype="<u2").astype(np.uint32) << 16
        return halves.view(np.float32)
    if kind not in TYPES:
        raise ArchitectureRefusedError(f"{name} holds {kind}")
    return np.frombuffer(content.tobytes(), dtype=TYPES[kind]).astype(np.float32)
