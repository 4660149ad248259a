"""A real causal language model with random weights, small enough to be made for a test, and its tokenizer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tidegate.services.llm.text.tokenizer import CONTROLS, MARKS

PROSE = (
    "The branch opens at nine on Saturday and closes at one in the afternoon. ",
    "Counting a coin roll costs two euros; holders of a current account pay nothing. ",
    'A lost card is blocked by phone at any hour. {"name":"Vale","count":3,"open":true} ',
    "Die Filiale öffnet um neun Uhr. La carte perdue est bloquée à toute heure. ",
)
CONTEXT = 320


@cache
def tokenizer_json() -> bytes:
    """A byte-level BPE tokenizer of 400 tokens with the controls and marks in place."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[*CONTROLS, *MARKS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(PROSE * 8, trainer)
    return tokenizer.to_str().encode()


class Graph:
    """Nodes and weights in the making."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._rng = np.random.default_rng(seed)

    def weight(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant((self._rng.normal(0, scale, shape) / np.sqrt(shape[0])).astype(np.float32))

    def constant(self, value: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def __call__(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        out = name or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a tiny model is like: its sizes, what it takes besides ids, how seldom it stops."""

    layers: int = 2
    heads: int = 4
    key_heads: int = 2
    width: int = 8
    takes_mask: bool = True
    takes_positions: bool = True
    chattiness: float = 4.0
    context: int = CONTEXT

    @property
    def hidden(self) -> int:
        return self.heads * self.width


def save(directory: Path, *, seed: int = 1, **shape: Any) -> Path:
    """Write `config.json`, `tokenizer.json` and `model.onnx` of a decoder with learned positions into `directory`."""
    like = Shape(**shape)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer.json").write_bytes(tokenizer_json())
    config = {
        "max_position_embeddings": like.context,
        "num_attention_heads": like.heads,
        "num_key_value_heads": like.key_heads,
        "head_dim": like.width,
        "hidden_size": like.hidden,
    }
    (directory / "config.json").write_text(json.dumps(config))
    onnx.save(_model(Graph(seed), like), directory / "model.onnx")
    return directory


def _model(g: Graph, like: Shape) -> Any:
    vocabulary = len(json.loads(tokenizer_json())["model"]["vocab"])
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "n"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "n", vocabulary])]
    positions, bias = _attention(g, like, inputs)
    words = g.weight(vocabulary, like.hidden, scale=np.sqrt(vocabulary))
    learned = g.weight(like.context, like.hidden, scale=np.sqrt(like.context) / 2)
    x = g("Add", g("Gather", words, "input_ids"), g("Gather", learned, positions))
    for layer in range(like.layers):
        past = [f"past_key_values.{layer}.{kind}" for kind in ("key", "value")]
        present = [f"present.{layer}.{kind}" for kind in ("key", "value")]
        for names, listed, length in ((past, inputs, "past"), (present, outputs, "total")):
            size: list[str | int | None] = [1, like.key_heads, length, like.width]
            listed += [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name in names]
        x = _layer(g, like, x, bias, past, present)
    scores = g("MatMul", _norm(g, x, like.hidden), g.weight(like.hidden, vocabulary, scale=like.chattiness))
    controls = np.zeros(vocabulary, np.float32)
    controls[: len(CONTROLS) + len(MARKS)] = -30.0
    controls[2] = -like.chattiness * 0.5
    g("Add", scores, g.constant(controls), name="logits")
    graph = helper.make_graph(g.nodes, "tiny", inputs, outputs, g.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _attention(g: Graph, like: Shape, inputs: list[Any]) -> tuple[str, str]:
    """The positions of the ids, and what hides from each of them all that comes later."""
    past_length = g("Gather", g("Shape", "past_key_values.0.key"), g.constant(np.int64(2)), axis=0)
    length = g("Gather", g("Shape", "input_ids"), g.constant(np.int64(1)), axis=0)
    total = g("Add", past_length, length)
    one = g.constant(np.int64(1))
    indices = g("Range", g.constant(np.int64(0)), total, one)
    if like.takes_positions:
        inputs.append(helper.make_tensor_value_info("position_ids", TensorProto.INT64, [1, "n"]))
        positions = g("Squeeze", "position_ids", g.constant(np.array([0])))
    else:
        positions = g("Range", past_length, total, one)
    columns = g("Unsqueeze", indices, g.constant(np.array([0])))
    seen = g("LessOrEqual", columns, g("Unsqueeze", positions, g.constant(np.array([1]))))
    if like.takes_mask:
        inputs.append(helper.make_tensor_value_info("attention_mask", TensorProto.INT64, [1, "total"]))
        seen = g("And", seen, g("Cast", "attention_mask", to=TensorProto.BOOL))
    return positions, g("Where", seen, g.constant(np.float32(0)), g.constant(np.float32(-1e9)))


def _layer(g: Graph, like: Shape, x: str, bias: str, past: list[str], present: list[str]) -> str:
    hidden, heads, key_heads, width = like.hidden, like.heads, like.key_heads, like.width

    def split(value: str, count: int) -> str:
        return g("Transpose", g("Reshape", value, g.constant(np.array([1, -1, count, width]))), perm=[0, 2, 1, 3])

    def shared(value: str) -> str:
        each = g("Unsqueeze", value, g.constant(np.array([2])))
        wide = g("Expand", each, g.constant(np.array([1, 1, heads // key_heads, 1, 1])))
        return g("Reshape", wide, g.constant(np.array([1, heads, -1, width])))

    normal = _norm(g, x, hidden)
    query = split(g("MatMul", normal, g.weight(hidden, hidden, scale=1.5)), heads)
    key = split(g("MatMul", normal, g.weight(hidden, key_heads * width, scale=1.5)), key_heads)
    value = split(g("MatMul", normal, g.weight(hidden, key_heads * width, scale=1.5)), key_heads)
    key = g("Concat", past[0], key, name=present[0], axis=2)
    value = g("Concat", past[1], value, name=present[1], axis=2)
    scores = g("MatMul", query, g("Transpose", shared(key), perm=[0, 1, 3, 2]))
    scores = g("Add", g("Mul", scores, g.constant(np.float32(width**-0.5))), bias)
    mixed = g("MatMul", g("Softmax", scores, axis=-1), shared(value))
    mixed = g("Reshape", g("Transpose", mixed, perm=[0, 2, 1, 3]), g.constant(np.array([1, -1, hidden])))
    x = g("Add", x, g("MatMul", mixed, g.weight(hidden, hidden)))
    inner = g("Relu", g("MatMul", _norm(g, x, hidden), g.weight(hidden, 2 * hidden)))
    return g("Add", x, g("MatMul", inner, g.weight(2 * hidden, hidden)))


def _norm(g: Graph, x: str, hidden: int) -> str:
    return g("LayerNormalization", x, g.constant(np.ones(hidden, np.float32)), axis=-1)
