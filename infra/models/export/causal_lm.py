"""Writes a decoder of the Llama family down as an ONNX graph with a key-value cache: no torch, the same bytes always.

Inputs: `input_ids` int64 (1, n), `attention_mask` int64 (1, past + n), `position_ids` int64 (1, n) and, for layer i,
`past_key_values.i.key|value` float32 (1, key heads, past, head). Outputs: `logits` float32 (1, n, vocabulary) and
`present.i.key|value` (1, key heads, past + n, head). `past` may be 0; among the n new tokens attention is causal.
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

from tidegate.infra.models.data import packing
from tidegate.infra.models.export import reference
from tidegate.infra.models.export.architecture import Architecture, LayerKind, Rotary
from tidegate.infra.models.export.building import say
from tidegate.infra.models.export.encoder_graph import Graph
from tidegate.infra.models.export.weights import read_weights

Array = np.ndarray[Any, Any]
Weights = Mapping[str, Array]
Plan = Mapping[str, str]
OPSET, FAR = 18, 1e9


def read(directory: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """The config and the weights, as float32 whatever they are stored as. Raises `ArchitectureRefusedError`."""
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return config, read_weights(directory)


def matrices(config: Mapping[str, Any], weights: Weights) -> dict[str, Array]:
    """Each matrix product of the graph by name, (out, in); products over one input are one matrix.

    The queries carry the attention's scale, which for heads of 64 is a power of two and so exact; where queries are
    normed, their norm carries it.
    """
    like = Architecture.of(config)
    found: dict[str, Array] = {}
    for number in range(len(like.layers)):
        at = f"model.layers.{number}"
        q, k, v = (weights[f"{at}.self_attn.{part}_proj.weight"] for part in "qkv")
        scale = 1.0 if f"{at}.self_attn.q_norm.weight" in weights else like.attention_scale
        found[f"{number}.qkv"] = np.concatenate([q * np.float32(scale), k, v])
        found[f"{number}.o"] = weights[f"{at}.self_attn.o_proj.weight"]
        found[f"{number}.gate_up"] = np.concatenate(
            [weights[f"{at}.mlp.{part}_proj.weight"] for part in ("gate", "up")]
        )
        found[f"{number}.down"] = weights[f"{at}.mlp.down_proj.weight"]
    is_tied = config.get("tie_word_embeddings", "lm_head.weight" not in weights)
    found["head"] = weights["model.embed_tokens.weight" if is_tied else "lm_head.weight"]
    return found


def biases(like: Architecture, weights: Weights) -> dict[str, Array]:
    """The biases behind those products, if any."""
    found: dict[str, Array] = {}
    for number in range(len(like.layers)):
        at = f"model.layers.{number}"
        for name, parts in (
            ("qkv", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
            ("o", ("self_attn.o_proj",)),
            ("gate_up", ("mlp.gate_proj", "mlp.up_proj")),
            ("down", ("mlp.down_proj",)),
        ):
            if f"{at}.{parts[0]}.bias" in weights:
                found[f"{number}.{name}"] = np.concatenate([weights[f"{at}.{part}.bias"] for part in parts])
        if f"{number}.qkv" in found and f"{at}.self_attn.q_norm.weight" not in weights:
            found[f"{number}.qkv"][: like.heads * like.head] *= np.float32(like.attention_scale)
    return found


class Writer(Graph):
    """The graph of one model, at the precision that `plan` names for each matrix (fp32 where it names none)."""

    def __init__(self, config: Mapping[str, Any], weights: Weights, plan: Plan) -> None:
        super().__init__()
        self.like, self.weights, self.plan = Architecture.of(config), weights, plan
        self.matrices = matrices(config, weights)
        self.biases = biases(self.like, weights)
        self.heads, self.key_heads, self.head = self.like.heads, self.like.key_heads, self.like.head

    def into(self, name: str, kind: str, *inputs: str, **attributes: Any) -> None:
        """An operation whose result has a name of its own: an output of the graph."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))

    def product(self, x: str, name: str, result: str | None = None) -> str:
        """x · Wᵀ + b for the matrix of that name; one that is no whole blocks stays as it is."""
        matrix, precision = self.matrices[name], self.plan.get(name, "fp32")
        bias = self.biases.get(name)
        result = result or f"{name}.product"
        if precision == "fp32" or matrix.shape[1] % packing.BLOCK:
            self.into(result, "MatMul", x, self.constant(f"{name}.weight", matrix.T))
        else:
            self.packed_product(x, name, result)
        return result if bias is None else self.op("Add", result, self.constant(f"{name}.bias", bias))

    def packed_product(self, x: str, name: str, result: str) -> None:
        matrix, precision = self.matrices[name], self.plan[name]
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

    def norm(self, x: str, weights: Weights, prefix: str, scale: float = 1.0) -> str:
        mean = self.op("ReduceMean", self.op("Mul", x, x), self.ints(-1))
        root = self.op("Sqrt", self.op("Add", mean, self.number(self.like.epsilon)))
        weight = (weights[f"{prefix}.weight"] + np.float32(self.like.norm_offset)) * np.float32(scale)
        return self.op("Mul", self.op("Div", x, root), self.constant(prefix, weight))

    def capped(self, x: str, cap: float) -> str:
        """cap · tanh(x / cap), where the model caps."""
        return self.op("Mul", self.op("Tanh", self.op("Div", x, self.number(cap))), self.number(cap)) if cap else x

    def embedded(self) -> str:
        """The rows of the vocabulary for `input_ids`."""
        words = self.weights["model.embed_tokens.weight"]
        if self.plan.get("head", "fp32") == "fp32":
            row = self.op("Gather", self.constant("words", words), "input_ids")
        else:
            scales = np.maximum(np.abs(words).max(axis=1, keepdims=True), 1e-30) / np.float32(127)
            whole = np.rint(words / scales).astype(np.int8)
            row = self.op("Cast", self.op("Gather", self.constant("words", whole), "input_ids"), to=TensorProto.FLOAT)
            row = self.op("Mul", row, self.op("Gather", self.constant("word_scales", scales), "input_ids"))
        scale = self.like.embedding_scale
        return row if scale == 1.0 else self.op("Mul", row, self.number(scale))

    def rotations(self, rotary: Rotary) -> tuple[str, str]:
        """Cosine and sine of each new token's position, (1, 1, n, head)."""
        name = f"rates_{sum(constant.startswith('rates_') for constant in self.constants)}"
        rates = self.constant(name, np.tile(rotary.rates, 2)[None])
        places = self.op("Unsqueeze", self.op("Cast", "position_ids", to=TensorProto.FLOAT), self.ints(2))
        angles = self.op("Unsqueeze", self.op("Mul", places, rates), self.ints(1))
        cos, sin = self.op("Cos", angles), self.op("Sin", angles)
        if rotary.factor == 1.0:
            return cos, sin
        return self.op("Mul", cos, self.number(rotary.factor)), self.op("Mul", sin, self.number(rotary.factor))

    def bias(self, window: int) -> str:
        """0 where a new token may look and -10⁹ where not, (1, 1, n, past + n)."""
        total = self.op("Squeeze", self.op("Shape", "attention_mask", start=1, end=2), self.ints(0))
        new = self.op("Squeeze", self.op("Shape", "input_ids", start=1, end=2), self.ints(0))
        zero, one = self.constant("zero", np.array(0)), self.constant("one", np.array(1))
        keys = self.op("Range", zero, total, one)
        queries = self.op("Unsqueeze", self.op("Range", self.op("Sub", total, new), total, one), self.ints(1))
        seen = self.op("LessOrEqual", keys, queries)
        if window:
            nearest = self.op("Sub", queries, self.constant(f"window_{window}", np.array(window)))
            seen = self.op("And", seen, self.op("Greater", keys, nearest))
        real = self.op("Unsqueeze", self.op("Cast", "attention_mask", to=TensorProto.BOOL), self.ints(1, 2))
        return self.op("Where", self.op("And", real, seen), self.number(0.0), self.number(-FAR))

    def rotated(self, x: str, cos: str, sin: str) -> str:
        half = self.ints(self.head // 2)
        left = self.op("Slice", x, self.ints(0), half, self.ints(3))
        right = self.op("Slice", x, half, self.ints(self.head), self.ints(3))
        turned = self.op("Concat", self.op("Neg", right), left, axis=3)
        return self.op("Add", self.op("Mul", x, cos), self.op("Mul", turned, sin))

    def looking(self, x: str, number: int, turn: tuple[str, str] | None) -> tuple[str, str, str]:
        """Queries, keys and values of the new tokens, (1, heads, n, head): normed and turned as the model does."""
        h, kv, at = self.heads, self.key_heads, f"model.layers.{number}.self_attn"
        joint = self.op("Reshape", self.product(x, f"{number}.qkv"), self.ints(0, 0, h + 2 * kv, self.head))
        joint = self.op("Transpose", joint, perm=[0, 2, 1, 3])
        query, key, value = (
            self.op("Slice", joint, self.ints(begin), self.ints(end), self.ints(1))
            for begin, end in ((0, h), (h, h + kv), (h + kv, h + 2 * kv))
        )
        if f"{at}.q_norm.weight" in self.weights:
            query = self.norm(query, self.weights, f"{at}.q_norm", self.like.attention_scale)
            key = self.norm(key, self.weights, f"{at}.k_norm")
        if turn is not None:
            query, key = self.rotated(query, *turn), self.rotated(key, *turn)
        return query, key, value

    def attention(self, x: str, number: int, turn: tuple[str, str] | None, bias: str) -> str:
        """Heads that share a key stand next to each other, so that they are more rows of one product."""
        query, key, value = self.looking(x, number, turn)
        for part, new in (("key", key), ("value", value)):
            self.into(f"present.{number}.{part}", "Concat", f"past_key_values.{number}.{part}", new, axis=2)
        turned = self.op("Transpose", f"present.{number}.key", perm=[0, 1, 3, 2])
        folded, h, kv = self.heads != self.key_heads, self.heads, self.key_heads
        new = self.op("Shape", "input_ids", start=1, end=2)
        query = self.op("Reshape", query, self.ints(1, kv, -1, self.head)) if folded else query
        scores = self.op("MatMul", query, turned)
        total = self.op("Shape", "attention_mask", start=1, end=2)
        if folded:
            scores = self.op("Reshape", scores, self.op("Concat", self.ints(1, h), new, total, axis=0))
        scores = self.op("Softmax", self.op("Add", self.capped(scores, self.like.attention_cap), bias), axis=-1)
        if folded:
            scores = self.op("Reshape", scores, self.op("Concat", self.ints(1, kv, -1), total, axis=0))
        mixed = self.op("MatMul", scores, f"present.{number}.value")
        if folded:
            mixed = self.op("Reshape", mixed, self.op("Concat", self.ints(1, h), new, self.ints(self.head), axis=0))
        mixed = self.op("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.product(self.op("Reshape", mixed, self.ints(0, 0, h * self.head)), f"{number}.o")

    def activated(self, gate: str) -> str:
        if self.like.activation == "silu":
            return self.op("Mul", gate, self.op("Sigmoid", gate))
        if self.like.activation == "gelu":
            return self.gelu(gate)
        cube = self.op("Mul", self.op("Mul", gate, gate), gate)
        inside = self.op("Add", gate, self.op("Mul", cube, self.number(0.044715)))
        bent = self.op("Tanh", self.op("Mul", inside, self.number(float(np.sqrt(2.0 / np.pi)))))
        return self.op("Mul", self.op("Mul", gate, self.op("Add", bent, self.number(1.0))), self.number(0.5))

    def inner(self, x: str, number: int) -> str:
        joint, width = self.product(x, f"{number}.gate_up"), self.like.inner
        gate = self.op("Slice", joint, self.ints(0), self.ints(width), self.ints(2))
        up = self.op("Slice", joint, self.ints(width), self.ints(2 * width), self.ints(2))
        return self.product(self.op("Mul", self.activated(gate), up), f"{number}.down")

    def layer(self, x: str, number: int, turn: tuple[str, str] | None, bias: str) -> str:
        """One layer; Gemma 2 and 3 norm what a part puts out too, before it is added."""
        at = f"model.layers.{number}"
        sandwiched = f"{at}.pre_feedforward_layernorm.weight" in self.weights
        mixed = self.attention(self.norm(x, self.weights, f"{at}.input_layernorm"), number, turn, bias)
        if sandwiched:
            mixed = self.norm(mixed, self.weights, f"{at}.post_attention_layernorm")
        x = self.op("Add", x, mixed)
        before = "pre_feedforward_layernorm" if sandwiched else "post_attention_layernorm"
        mixed = self.inner(self.norm(x, self.weights, f"{at}.{before}"), number)
        if sandwiched:
            mixed = self.norm(mixed, self.weights, f"{at}.post_feedforward_layernorm")
        return self.op("Add", x, mixed)

    def write(self) -> None:
        turns: dict[int, tuple[str, str]] = {}
        looks: dict[int, str] = {}
        x = self.embedded()
        for number, kind in enumerate(self.like.layers):
            if kind.window not in looks:
                looks[kind.window] = self.bias(kind.window)
            x = self.layer(x, number, self.turn(kind, turns), looks[kind.window])
        normed = self.norm(x, self.weights, "model.norm")
        if self.like.logit_cap:
            self.into("logits", "Identity", self.capped(self.product(normed, "head"), self.like.logit_cap))
        else:
            self.product(normed, "head", "logits")

    def turn(self, kind: LayerKind, turns: dict[int, tuple[str, str]]) -> tuple[str, str] | None:
        """The rotations of a layer; layers of one kind share them."""
        if kind.rotary is None:
            return None
        if id(kind.rotary) not in turns:
            turns[id(kind.rotary)] = self.rotations(kind.rotary)
        return turns[id(kind.rotary)]


def build(config: Mapping[str, Any], weights: Weights, plan: Plan | None = None) -> onnx.ModelProto:
    """The graph; `plan` maps the names of `matrices` to fp32, int8 or int4. Raises `ArchitectureRefusedError`."""
    writer = Writer(config, weights, plan or {})
    writer.write()
    like = writer.like
    cache, grown = (1, like.key_heads, "past", like.head), (1, like.key_heads, "total", like.head)
    names = [f"{i}.{part}" for i in range(len(like.layers)) for part in ("key", "value")]
    whole, real, info = TensorProto.INT64, TensorProto.FLOAT, helper.make_tensor_value_info
    inputs = [info("input_ids", whole, [1, "new"]), info("attention_mask", whole, [1, "total"])]
    inputs += [info("position_ids", whole, [1, "new"])]
    inputs += [info(f"past_key_values.{name}", real, cache) for name in names]
    outputs = [info("logits", real, [1, "new", len(writer.matrices["head"])])]
    outputs += [info(f"present.{name}", real, grown) for name in names]
    body = helper.make_graph(writer.nodes, "llama", inputs, outputs, list(writer.constants.values()))
    domains = [helper.make_opsetid("", OPSET)] + ([helper.make_opsetid("com.microsoft", 1)] if plan else [])
    return helper.make_model(body, opset_imports=domains, ir_version=10)


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
    apart = "against numpy {:.2e}, token by token {:.2e}".format(*reference.differences(content, config, weights))
    say(f"{arguments.out}: {len(content)} bytes; {apart}")


if __name__ == "__main__":
    main()
