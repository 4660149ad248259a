"""Writes BERT-like encoders down as ONNX graphs, node by node, without torch. Next: embedding.py, multilingual.py."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from tidegate.infra.models.export.balance import balance

HEADS = 12
EPSILON = 1e-12

Weights = Mapping[str, np.ndarray[Any, Any]]
ValueInfo = tuple[str, int, Sequence[int | str]]


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

    def output(self, name: str, value: str) -> None:
        """Give a value the name of an output."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=name))

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


def embeddings(graph: Graph, weights: Weights, ids: str = "input_ids") -> str:
    """Word + position + token type 0 (a single text is all of one type), normalised: (batch, tokens, width)."""
    words = graph.constant("words", weights["embeddings.word_embeddings.weight"])
    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    length = graph.op("Shape", ids, start=1, end=2)
    position = graph.op("Slice", graph.constant("places", places), graph.ints(0), length)
    summed = graph.op("Add", graph.op("Gather", words, ids), position)
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


def padding_bias(graph: Graph, mask: str) -> str:
    """What is added to the attention scores: 0 at a token, -1e9 at the padding; `mask` is 1 and 0 in floats."""
    hidden = graph.op("Mul", graph.op("Sub", graph.number(1.0), mask), graph.number(-1e9))
    return graph.op("Unsqueeze", hidden, graph.ints(1, 2))


def layers(graph: Graph, weights: Weights, x: str, bias: str, numbers: Sequence[int]) -> str:
    """The encoder layers with these numbers, one after the other."""
    for number in numbers:
        x = layer(graph, weights, x, bias, f"encoder.layer.{number}", HEADS)
    return x


def mean_of_tokens(graph: Graph, x: str, mask: str) -> str:
    """The mean state of the tokens that are not padding: (batch, width)."""
    total = graph.op(
        "ReduceSum", graph.op("Mul", x, graph.op("Unsqueeze", mask, graph.ints(2))), graph.ints(1), keepdims=0
    )
    return graph.op("Div", total, graph.op("ReduceSum", mask, graph.ints(1), keepdims=1))


def unit_length(graph: Graph, x: str, output: str) -> None:
    """Write `x` at unit length as the output of that name."""
    length = graph.op("Max", graph.op("ReduceL2", x, axes=[1], keepdims=1), graph.number(1e-12))
    graph.nodes.append(helper.make_node("Div", [x, length], [output], name=output))


def finish(graph: Graph, name: str, inputs: Sequence[ValueInfo], outputs: Sequence[ValueInfo]) -> onnx.ModelProto:
    """The checked model; `inputs` and `outputs` are (name, element type, axes), an axis being a number or a name."""
    taken, given = ([helper.make_tensor_value_info(*each) for each in side] for side in (inputs, outputs))
    body = helper.make_graph(graph.nodes, name, taken, given, list(graph.constants.values()))
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def write_int8(model: onnx.ModelProto, path: Path, samples: Sequence[Mapping[str, np.ndarray[Any, Any]]]) -> bytes:
    """Quantise per output channel with reduced range into `path` (changing `model`); returns the fp32 graph's bytes.

    What its products take is balanced first, as `samples` of its inputs make it. Raises `ValueError` without any.
    """
    serialised: bytes = model.SerializeToString()
    balance(model, samples)
    logging.getLogger().setLevel(logging.ERROR)  # it warns of a pre-processing that these graphs have no need of
    quantize_dynamic(model, path, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    return serialised
