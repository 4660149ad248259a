"""The field reader's upper half as an ONNX graph: fields and a window read together. Next: multilingual.py."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto

from tidegate.infra.models.export.encoder_graph import Graph, Weights, finish, layers

HIDDEN, SHARED = 160, 96
"""Units of the network over a field and a value, and dimensions of the product of both."""


def build_extraction(weights: Weights, numbers: Sequence[int], hidden: int = HIDDEN) -> onnx.ModelProto:
    """The graph; tokens are those of some fields followed by those of a window, read at once and without padding.

    In: `states` float (1, tokens, width); `parts` int64 (1, tokens), 0 at the fields, 1 at the window; `starts`, `ends`
    int64 (spans), tokens; `pooling` float (spans, tokens), 1/n at the n tokens of each span; `asking` float (fields,
    tokens), the same of each field; `pair_spans`, `pair_fields` int64 (pairs), what is to be scored.
    Out: `logits` (pairs), and `absent` (fields), the logit of the window not saying it.
    """
    graph = Graph()
    width = weights["parts"].shape[1]
    shared = weights["asked.bias"].shape[0] - hidden
    marked = graph.op("Add", "states", graph.op("Gather", graph.constant("parts.weight", weights["parts"]), "parts"))
    x = layers(graph, weights, marked, graph.number(0.0), numbers)
    x = graph.op("Squeeze", x, graph.ints(0))
    first, last = (graph.op("Gather", x, token, axis=0) for token in ("starts", "ends"))
    asking = graph.op("MatMul", "asking", x)
    spans = graph.linear(graph.op("Concat", first, last, graph.op("MatMul", "pooling", x), axis=1), weights, "span")
    spans = graph.op("Gather", spans, "pair_spans", axis=0)
    asked = graph.op("Gather", graph.linear(asking, weights, "asked"), "pair_fields", axis=0)
    axis, begin, cut, end = (graph.ints(each) for each in (1, 0, hidden, hidden + shared))
    mixed = graph.gelu(graph.op("Add", *(graph.op("Slice", each, begin, cut, axis) for each in (spans, asked))))
    product = graph.op("Mul", *(graph.op("Slice", each, cut, end, axis) for each in (spans, asked)))
    product = graph.op("ReduceSum", product, axis, keepdims=0)
    scored = graph.op("Squeeze", graph.linear(mixed, weights, "score"), graph.ints(1))
    graph.output("logits", graph.op("Add", scored, graph.op("Div", product, graph.number(shared**0.5))))
    graph.output("absent", graph.op("Squeeze", graph.linear(asking, weights, "absent"), graph.ints(1)))
    inputs = [
        ("states", TensorProto.FLOAT, (1, "tokens", width)),
        ("parts", TensorProto.INT64, (1, "tokens")),
        ("starts", TensorProto.INT64, ("spans",)),
        ("ends", TensorProto.INT64, ("spans",)),
        ("pooling", TensorProto.FLOAT, ("spans", "tokens")),
        ("asking", TensorProto.FLOAT, ("fields", "tokens")),
        ("pair_spans", TensorProto.INT64, ("pairs",)),
        ("pair_fields", TensorProto.INT64, ("pairs",)),
    ]
    outputs = [("logits", TensorProto.FLOAT, ("pairs",)), ("absent", TensorProto.FLOAT, ("fields",))]
    return finish(graph, "tidegate-multilingual-extract", inputs, outputs)
