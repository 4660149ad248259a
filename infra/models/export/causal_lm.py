"""Writes a Llama directory down as an ONNX graph with a key-value cache: no torch, the same bytes each time.

Inputs: `input_ids` int64 (1, n), `attention_mask` int64 (1, past + n), `position_ids` int64 (1, n) and, for layer i,
`past_key_values.i.key|value` float32 (1, heads, past, head). Outputs: `logits` float32 (1, n, vocabulary) and
`present.i.key|value` (1, heads, past + n, head). `past` may be 0; among the n new tokens attention is causal.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from safetensors.numpy import load_file

from tidegate.infra.models.data import packing
from tidegate.infra.models.export import reference
from tidegate.infra.models.export.embedding import Graph, say

Array = np.ndarray[Any, Any]
Weights = Mapping[str, Array]
Plan = Mapping[str, str]

PLACES = 1024
OPSET = 18


def read(directory: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The config and the weights, as float32 whatever they are stored as."""
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    weights = {name: value.astype(np.float32) for name, value in load_file(directory / "model.safetensors").items()}
    return config, weights


def matrices(config: Mapping[str, Any], weights: Weights) -> dict[str, Array]:
    """Each matrix product of the graph by name, (out, in); products over one input are one matrix.

    The queries carry the attention's scale, which for heads of 64 is a power of two and so exact.
    """
    found: dict[str, Array] = {}
    for number in range(config["num_hidden_layers"]):
        at = f"model.layers.{number}"
        q, k, v = (weights[f"{at}.self_attn.{part}_proj.weight"] for part in "qkv")
        found[f"{number}.qkv"] = np.concatenate([q * np.float32(config["head_dim"] ** -0.5), k, v])
        found[f"{number}.o"] = weights[f"{at}.self_attn.o_proj.weight"]
        found[f"{number}.gate_up"] = np.concatenate(
            [weights[f"{at}.mlp.{part}_proj.weight"] for part in ("gate", "up")]
        )
        found[f"{number}.down"] = weights[f"{at}.mlp.down_proj.weight"]
    found["head"] = weights["model.embed_tokens.weight"]
    return found


class Writer(Graph):
    """The graph of one model, at the precision that `plan` names for each matrix (fp32 where it names none)."""

    def __init__(self, config: Mapping[str, Any], weights: Weights, plan: Plan) -> None:
        super().__init__()
        self.config, self.weights, self.plan = config, weights, plan
        self.matrices = matrices(config, weights)
        self.heads, self.head = config["num_attention_heads"], config["head_dim"]
        self.outputs: list[str] = []

    def into(self, name: str, kind: str, *inputs: str, **attributes: Any) -> None:
        """An operation whose result has a name of its own: an output of the graph."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))

    def product(self, x: str, name: str, result: str | None = None) -> str:
        """x · Wᵀ for the matrix of that name."""
        matrix, precision = self.matrices[name], self.plan.get(name, "fp32")
        result = result or f"{name}.product"
        if precision == "fp32":
            self.into(result, "MatMul", x, self.constant(f"{name}.weight", matrix.T))
            return result
        packed = packing.packed(matrix, packing.BITS[precision])
        inputs = [x, self.constant(f"{name}.{precision}", packed.data), self.constant(f"{name}.scales", packed.scales)]
        self.into(
            result,
            "MatMulNBits",
            *inputs,
            domain="com.microsoft",
            K=matrix.shape[1],
            N=matrix.shape[0],
            bits=packed.bits,
            block_size=packing.BLOCK,
            accuracy_level=packing.ACCURACY[packed.bits],
        )
        return result

    def norm(self, x: str, weights: Weights, prefix: str) -> str:
        mean = self.op("ReduceMean", self.op("Mul", x, x), self.ints(-1))
        root = self.op("Sqrt", self.op("Add", mean, self.number(self.config["rms_norm_eps"])))
        return self.op("Mul", self.op("Div", x, root), self.constant(prefix, weights[f"{prefix}.weight"]))

    def embedded(self) -> str:
        """The rows of the vocabulary for `input_ids`."""
        words = self.weights["model.embed_tokens.weight"]
        if self.plan.get("head", "fp32") == "fp32":
            return self.op("Gather", self.constant("words", words), "input_ids")
        scales = np.abs(words).max(axis=1, keepdims=True) / np.float32(127)
        whole = np.rint(words / scales).astype(np.int8)
        row = self.op("Cast", self.op("Gather", self.constant("words", whole), "input_ids"), to=TensorProto.FLOAT)
        return self.op("Mul", row, self.op("Gather", self.constant("word_scales", scales), "input_ids"))

    def rotations(self) -> tuple[str, str]:
        """Cosine and sine of each new token's position, (1, 1, n, head)."""
        rates = np.float32(self.config["rope_theta"]) ** (-np.arange(0, self.head, 2, dtype=np.float32) / self.head)
        angles = np.tile(np.outer(np.arange(PLACES, dtype=np.float32), rates.astype(np.float32)), (1, 2))
        tables = (self.constant("cosines", np.cos(angles)), self.constant("sines", np.sin(angles)))
        cos, sin = (self.op("Unsqueeze", self.op("Gather", table, "position_ids"), self.ints(1)) for table in tables)
        return cos, sin

    def bias(self) -> str:
        """0 where a new token may look and -10⁹ where not, (1, 1, n, past + n)."""
        total = self.op("Squeeze", self.op("Shape", "attention_mask", start=1, end=2), self.ints(0))
        new = self.op("Squeeze", self.op("Shape", "input_ids", start=1, end=2), self.ints(0))
        zero, one = self.constant("zero", np.array(0)), self.constant("one", np.array(1))
        keys = self.op("Range", zero, total, one)
        queries = self.op("Unsqueeze", self.op("Range", self.op("Sub", total, new), total, one), self.ints(1))
        causal = self.op("LessOrEqual", keys, queries)
        real = self.op("Unsqueeze", self.op("Cast", "attention_mask", to=TensorProto.BOOL), self.ints(1, 2))
        return self.op("Where", self.op("And", real, causal), self.number(0.0), self.number(-1e9))

    def rotated(self, x: str, cos: str, sin: str) -> str:
        half = self.ints(self.head // 2)
        left = self.op("Slice", x, self.ints(0), half, self.ints(3))
        right = self.op("Slice", x, half, self.ints(self.head), self.ints(3))
        turned = self.op("Concat", self.op("Neg", right), left, axis=3)
        return self.op("Add", self.op("Mul", x, cos), self.op("Mul", turned, sin))

    def attention(self, x: str, number: int, turn: tuple[str, str], bias: str) -> str:
        joint = self.op("Reshape", self.product(x, f"{number}.qkv"), self.ints(0, 0, 3 * self.heads, self.head))
        joint = self.op("Transpose", joint, perm=[0, 2, 1, 3])
        h = self.heads
        looking = self.rotated(self.op("Slice", joint, self.ints(0), self.ints(2 * h), self.ints(1)), *turn)
        query = self.op("Slice", looking, self.ints(0), self.ints(h), self.ints(1))
        new = {
            "key": self.op("Slice", looking, self.ints(h), self.ints(2 * h), self.ints(1)),
            "value": self.op("Slice", joint, self.ints(2 * h), self.ints(3 * h), self.ints(1)),
        }
        for part, value in new.items():
            self.into(f"present.{number}.{part}", "Concat", f"past_key_values.{number}.{part}", value, axis=2)
        key = self.op("Transpose", f"present.{number}.key", perm=[0, 1, 3, 2])
        scores = self.op("Softmax", self.op("Add", self.op("MatMul", query, key), bias), axis=-1)
        mixed = self.op("Transpose", self.op("MatMul", scores, f"present.{number}.value"), perm=[0, 2, 1, 3])
        return self.product(self.op("Reshape", mixed, self.ints(0, 0, h * self.head)), f"{number}.o")

    def inner(self, x: str, number: int) -> str:
        joint = self.product(x, f"{number}.gate_up")
        width = self.config["intermediate_size"]
        gate = self.op("Slice", joint, self.ints(0), self.ints(width), self.ints(2))
        up = self.op("Slice", joint, self.ints(width), self.ints(2 * width), self.ints(2))
        return self.product(self.op("Mul", self.op("Mul", gate, self.op("Sigmoid", gate)), up), f"{number}.down")

    def write(self) -> None:
        turn, bias = self.rotations(), self.bias()
        x = self.embedded()
        for number in range(self.config["num_hidden_layers"]):
            at = f"model.layers.{number}"
            normed = self.norm(x, self.weights, f"{at}.input_layernorm")
            x = self.op("Add", x, self.attention(normed, number, turn, bias))
            normed = self.norm(x, self.weights, f"{at}.post_attention_layernorm")
            x = self.op("Add", x, self.inner(normed, number))
        self.product(self.norm(x, self.weights, "model.norm"), "head", "logits")


def build(config: Mapping[str, Any], weights: Weights, plan: Plan | None = None) -> onnx.ModelProto:
    """The graph; `plan` maps the names of `matrices` to fp32, int8 or int4."""
    writer = Writer(config, weights, plan or {})
    writer.write()
    cache = (1, config["num_attention_heads"], "past", config["head_dim"])
    grown = (1, config["num_attention_heads"], "total", config["head_dim"])
    names = [f"{i}.{part}" for i in range(config["num_hidden_layers"]) for part in ("key", "value")]
    whole, real, info = TensorProto.INT64, TensorProto.FLOAT, helper.make_tensor_value_info
    inputs = [info("input_ids", whole, [1, "new"]), info("attention_mask", whole, [1, "total"])]
    inputs += [info("position_ids", whole, [1, "new"])]
    inputs += [info(f"past_key_values.{name}", real, cache) for name in names]
    outputs = [info("logits", real, [1, "new", config["vocab_size"]])]
    outputs += [info(f"present.{name}", real, grown) for name in names]
    body = helper.make_graph(writer.nodes, "llama", inputs, outputs, list(writer.constants.values()))
    domains = [helper.make_opsetid("", OPSET)] + ([helper.make_opsetid("com.microsoft", 1)] if plan else [])
    model = helper.make_model(body, opset_imports=domains, ir_version=10)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="holds config.json and model.safetensors")
    parser.add_argument("--out", type=Path, required=True, help="the model.onnx to write")
    parser.add_argument("--precision", choices=("fp32", *packing.BITS), default="fp32")
    arguments = parser.parse_args()
    config, weights = read(arguments.directory)
    plan = {} if arguments.precision == "fp32" else dict.fromkeys(matrices(config, weights), arguments.precision)
    content = build(config, weights, plan).SerializeToString(deterministic=True)
    arguments.out.write_bytes(content)
    whole, stepwise = reference.differences(content, config, weights)
    say(f"{arguments.out}: {len(content)} bytes; against numpy {whole:.2e}, token by token {stepwise:.2e}")


if __name__ == "__main__":
    main()
