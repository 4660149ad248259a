"""The reader's own layers as an ONNX graph: question and window read together. Next: multilingual.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto

from tidegate.infra.models.export.encoder_graph import Graph, Weights, finish, layers, padding_bias

NORM_EPSILON = 1e-5


def build_reader(weights: Weights, numbers: Sequence[int]) -> onnx.ModelProto:
    """The graph; batch is pairs of question and window, tokens the question's states followed by the window's.

    In: `states` float (batch, tokens, width); `parts` int64 (batch, tokens), 0 at the question, 1 at the window;
    `attention_mask` int64 (batch, tokens); `pooling` float (units, tokens), 1/n at the n tokens of each unit; `rows`
    int64 (units), the pair of each unit. Out: `answers` (units), logits; `starts`, `ends` (batch, tokens), logits;
    `mixed` (units, width), the states that `answers` is linear in, for a tenant's own head (reader/tuning.py).
    """
    graph = Graph()
    width = weights["centre"].shape[0]
    mask = graph.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    marked = graph.op("Add", "states", graph.op("Gather", graph.constant("parts.weight", weights["parts"]), "parts"))
    x = layers(graph, weights, marked, padding_bias(graph, mask), numbers)
    mixed = _mixed(graph, weights, x, mask)
    answers = graph.op("Squeeze", graph.linear(mixed, weights, "answer"), graph.ints(1))
    for name, value in (("answers", answers), ("mixed", mixed)):
        graph.output(name, value)
    ends = graph.linear(x, weights, "span")
    for name, column in (("starts", 0), ("ends", 1)):
        graph.output(name, graph.op("Gather", ends, graph.constant(f"column_{column}", np.array(column)), axis=2))
    pairs = ("batch", "tokens")
    inputs = [
        ("states", TensorProto.FLOAT, (*pairs, width)),
        ("parts", TensorProto.INT64, pairs),
        ("attention_mask", TensorProto.INT64, pairs),
        ("pooling", TensorProto.FLOAT, ("units", "tokens")),
        ("rows", TensorProto.INT64, ("units",)),
    ]
    outputs = [
        ("answers", TensorProto.FLOAT, ("units",)),
        ("starts", TensorProto.FLOAT, pairs),
        ("ends", TensorProto.FLOAT, pairs),
        ("mixed", TensorProto.FLOAT, ("units", width)),
    ]
    return finish(graph, "tidegate-multilingual-read", inputs, outputs)


def _mixed(graph: Graph, weights: Weights, x: str, mask: str) -> str:
    """A state for each unit, from its mean state, the question's, and the first token's."""
    in_window = graph.op("Cast", "parts", to=TensorProto.FLOAT)
    in_question = graph.op("Mul", mask, graph.op("Sub", graph.number(1.0), in_window))
    asked = _rows(graph, _pooled(graph, _share(graph, in_question), x))
    unit = graph.op(
        "Squeeze", graph.op("MatMul", graph.op("Unsqueeze", "pooling", graph.ints(1)), _rows(graph, x)), graph.ints(1)
    )
    first = graph.op("Gather", _rows(graph, x), graph.constant("first", np.array(0)), axis=1)
    unit, asked = (_normalised(graph, weights, each) for each in (unit, asked))
    apart = graph.op("Abs", graph.op("Sub", unit, asked))
    features = graph.op("Concat", unit, first, graph.op("Mul", unit, asked), apart, axis=1)
    return graph.op("Tanh", graph.linear(features, weights, "mix"))


def _share(graph: Graph, mask: str) -> str:
    return graph.op("Div", mask, graph.op("ReduceSum", mask, graph.ints(1), keepdims=1))


def _pooled(graph: Graph, shares: str, x: str) -> str:
    return graph.op("Squeeze", graph.op("MatMul", graph.op("Unsqueeze", shares, graph.ints(1)), x), graph.ints(1))


def _rows(graph: Graph, x: str) -> str:
    return graph.op("Gather", x, "rows", axis=0)


def _normalised(graph: Graph, weights: Weights, x: str) -> str:
    """Less the centre, then mean 0 and deviation 1."""
    width = weights["centre"].shape[0]
    scale = graph.constant("plain_scale", np.ones(width, np.float32))
    bias = graph.constant("plain_bias", np.zeros(width, np.float32))
    centred = graph.op("Sub", x, graph.constant("centre", weights["centre"]))
    return graph.op("LayerNormalization", centred, scale, bias, axis=-1, epsilon=1e-5)
