"""Writes `model.onnx` beside the weights of any Llama, Qwen, Gemma or SmolLM directory, so that it runs embedded.

The graph is held against numpy before it is kept. Next: `causal_lm`; `smollm2` makes the directory in the box.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import onnx

from tidegate.infra.models.data import packing
from tidegate.infra.models.export import causal_lm, reference
from tidegate.infra.models.export.building import say
from tidegate.services.llm.text.vocabularies import load_vocabulary

CLOSE = 2e-3
"""How far the fp32 graph of the first layers may be from numpy, in units of the logits' spread."""
PROBED = 2
MOST_BYTES = 1_900_000_000
"""Above it the weights stand in a file of their own: a protobuf holds 2 GiB."""


def export(source: Path, out: Path, precision: str = "int8") -> None:
    """Write the model of `source` with its graph into `out`, which may be the same directory.

    Raises `ArchitectureRefusedError`, `TokenizerRefusedError`, `ChatTemplateError`; exits where the graph does not
    compute what the weights say.
    """
    load_vocabulary(source)
    config, weights = causal_lm.read(source)
    check(config, weights)
    plan = {} if precision == "fp32" else dict.fromkeys(causal_lm.matrices(config, weights), precision)
    model = causal_lm.build(config, weights, plan)
    out.mkdir(parents=True, exist_ok=True)
    if out.resolve() != source.resolve():
        for path in source.iterdir():
            if path.is_file() and path.suffix in (".json", ".jinja", ".safetensors"):
                shutil.copyfile(path, out / path.name)
    (out / "model.onnx.data").unlink(missing_ok=True)
    apart = model.ByteSize() > MOST_BYTES
    onnx.save_model(model, out / "model.onnx", save_as_external_data=apart, location="model.onnx.data")


def check(config: dict[str, object], weights: causal_lm.Weights) -> None:
    """Hold the fp32 graph of the first layers against numpy: families differ in layers, not in how many there are."""
    few = {**config, **(config.get("text_config") or {}), "num_hidden_layers": PROBED}  # type: ignore[dict-item]
    if few.get("layer_types"):
        few["layer_types"] = list(few["layer_types"])[:PROBED]  # type: ignore[call-overload]
    exact = causal_lm.build(few, weights).SerializeToString(deterministic=True)
    spread = float(np.std(reference.logits(few, weights, list(range(48)))))
    whole, stepwise = reference.differences(exact, few, weights)
    say(f"  graph to numpy {whole / spread:.1e} of the logits' spread, token by token {stepwise / spread:.1e}")
    if not max(whole, stepwise) <= CLOSE * spread:
        raise SystemExit("the graph does not compute what its weights say\nhint: do not use this model embedded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="holds config.json, tokenizer.json and *.safetensors")
    parser.add_argument("--out", type=Path, help="directory to write (default: the same)")
    parser.add_argument("--precision", choices=("fp32", *packing.BITS), default="int8")
    arguments = parser.parse_args()
    out = arguments.out or arguments.directory
    export(arguments.directory, out, arguments.precision)
    name = json.loads((out / "config.json").read_text()).get("model_type")
    say(f"{out} is ready ({name}, {arguments.precision}): name it as `cloud_verifier.model`")


if __name__ == "__main__":
    main()
