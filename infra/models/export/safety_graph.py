"""The safety head as an ONNX graph over the shared states. Next: multilingual.py, training/safety.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto

from tidegate.infra.models.export.encoder_graph import Graph, Weights, finish, layers, mean_of_tokens, padding_bias


def build_safety(weights: Weights, numbers: Sequence[int]) -> onnx.ModelProto:
    """`states` (batch, tokens, width), `attention_mask` int64 (batch, tokens) to `classes` (batch, classes), logits."""
    graph = Graph()
    classes, width = weights["classes.weight"].shape[0], weights["classes.weight"].shape[1] // 2
    mask = graph.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    x = layers(graph, weights, "states", padding_bias(graph, mask), numbers)
    first = graph.op("Gather", x, graph.constant("first", np.array(0)), axis=1)
    both = graph.op("Concat", mean_of_tokens(graph, x, mask), first, axis=1)
    graph.output("classes", graph.linear(both, weights, "classes"))
    tokens = ("batch", "tokens")
    inputs = [("states", TensorProto.FLOAT, (*tokens, width)), ("attention_mask", TensorProto.INT64, tokens)]
    return finish(graph, "tidegate-multilingual-safety", inputs, [("classes", TensorProto.FLOAT, ("batch", classes))])
