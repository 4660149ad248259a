"""Makes what an int8 product takes alike over its channels, so that one scale fits all. Next: samples.py.

A few channels of a normalised state are ten to twenty times as large as the others, in every text and every layer, and
the runtime quantises a tensor by its largest value: the others are left with four bits. So those channels are divided
by as much as they stand out, and the rows of the weights that meet them multiplied by the same, which changes nothing
in exact numbers (Xiao et al., "SmoothQuant", ICML 2023; Wei et al., "Outlier Suppression", NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tidegate.infra.models.export.session import open_session

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]

OUTSTANDING = 3.0
"""A channel may be so many times as large as the median of all; at 2, 2.5 and 4 the logits of the reader stray more."""


def balance(model: onnx.ModelProto, samples: Iterable[Feeds]) -> None:
    """Divide the outstanding channels of what each product with fixed weights takes, as large as `samples` make them.

    Changes `model`. Its outputs stay the same up to rounding. Raises `ValueError` where there are no samples.
    """
    graph = model.graph
    fixed = {each.name: each for each in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in fixed]
    largest = largest_of(model, sorted({node.input[0] for node in products}), samples)
    numbered = {node.name for node in products}
    nodes = []
    for node in graph.node:
        excess = _excess(largest[node.input[0]]) if node.name in numbered else None
        if excess is not None:
            nodes.append(_divide(graph, node, fixed[node.input[1]], excess))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)


def largest_of(model: onnx.ModelProto, names: Iterable[str], samples: Iterable[Feeds]) -> dict[str, Array]:
    """The largest absolute value (channels,) of each named tensor over all samples, channels being its last axis."""
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    given = {each.name for each in model.graph.input}
    computed = [name for name in names if name not in given]
    known = {each.name for each in seen.graph.output}
    seen.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in computed if name not in known
    )
    session = open_session(seen.SerializeToString())
    largest: dict[str, Array] = {}
    for feeds in samples:
        found = dict(zip(computed, session.run(computed, dict(feeds)), strict=True))
        for name in names:
            value = np.abs(found[name] if name in found else feeds[name])
            peaks = value.reshape(-1, value.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, 0.0), peaks)
    if not largest:
        raise ValueError("there are no samples to balance the products by")
    return largest


def _excess(largest: Array) -> Array | None:
    """How many times each channel is larger than it may be, 1 where it is not; None where none is."""
    bound = OUTSTANDING * float(np.median(largest))
    if bound <= 0.0 or not (largest > bound).any():
        return None
    return np.maximum(largest / bound, 1.0).astype(np.float32)


def _divide(graph: onnx.GraphProto, node: onnx.NodeProto, weights: onnx.TensorProto, excess: Array) -> onnx.NodeProto:
    """Let a product take its input divided by `excess`, with weights to match; the node that divides."""
    matrix = numpy_helper.to_array(weights) * excess[:, None]
    weights.CopyFrom(numpy_helper.from_array(matrix.astype(np.float32), weights.name))
    factors, divided = f"{node.name}_factors", f"{node.name}_divided"
    graph.initializer.append(numpy_helper.from_array(1.0 / excess, factors))
    taken = node.input[0]
    node.input[0] = divided
    return helper.make_node("Mul", [taken, factors], [divided], name=f"{node.name}_divide")
