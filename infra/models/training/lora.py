"""A tenant's habits as a low-rank addition to the draft: files as PEFT names them, merged before export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

Array = np.ndarray[Any, Any]
PREFIX = "base_model.model."


def merged(weights: Mapping[str, Array], adapter: Path) -> dict[str, Array]:
    """W + B·A·alpha/r for every matrix that the adapter names; a ValueError if it names one that is not there."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    scale = np.float32(config["lora_alpha"] / config["r"])
    found = {name: value.astype(np.float32) for name, value in load_file(adapter / "adapter_model.safetensors").items()}
    result = dict(weights)
    for name, down in found.items():
        if not name.endswith(".lora_A.weight"):
            continue
        base = name.removeprefix(PREFIX).replace(".lora_A.weight", ".weight")
        if base not in result:
            raise ValueError(f"the adapter in {adapter} is for another model: {base} is not in this one")
        up = found[name.replace("lora_A", "lora_B")]
        result[base] = (result[base] + scale * (up @ down)).astype(np.float32)
    return result
