"""The model in a few lines of numpy, and an ONNX session that decodes with it: each checks the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

Array = np.ndarray[Any, Any]


def normed(x: Array, scale: Array, epsilon: float) -> Array:
    result: Array = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(epsilon)) * scale
    return result


def turned(x: Array, theta: float) -> Array:
    """Rotary positions from 0 on; x is (heads, tokens, head)."""
    head = x.shape[-1]
    rates = theta ** (-np.arange(0, head, 2) / head)
    angles = np.tile(np.outer(np.arange(x.shape[1]), rates), (1, 2)).astype(np.float32)
    left, right = np.split(x, 2, axis=-1)
    result: Array = x * np.cos(angles) + np.concatenate((-right, left), -1) * np.sin(angles)
    return result


def logits(config: Mapping[str, Any], weights: Mapping[str, Array], ids: Sequence[int]) -> Array:
    """(tokens, vocabulary) float32 of one prompt."""
    heads, head, epsilon = config["num_attention_heads"], config["head_dim"], config["rms_norm_eps"]
    x = weights["model.embed_tokens.weight"][list(ids)]
    future = np.triu(np.full((len(ids), len(ids)), -np.inf, dtype=np.float32), 1)
    for number in range(config["num_hidden_layers"]):
        w = {name.split(f"layers.{number}.")[1]: v for name, v in weights.items() if f"layers.{number}." in name}
        y = normed(x, w["input_layernorm.weight"], epsilon)
        q, k, v = (
            (y @ w[f"self_attn.{part}_proj.weight"].T).reshape(len(ids), heads, head).transpose(1, 0, 2)
            for part in "qkv"
        )
        q, k = turned(q, config["rope_theta"]), turned(k, config["rope_theta"])
        scores = q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(head)) + future
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        x = x + (shares @ v).transpose(1, 0, 2).reshape(len(ids), -1) @ w["self_attn.o_proj.weight"].T
        y = normed(x, w["post_attention_layernorm.weight"], epsilon)
        gate = y @ w["mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w["mlp.up_proj.weight"].T)) @ w["mlp.down_proj.weight"].T
    result: Array = normed(x, weights["model.norm.weight"], epsilon) @ weights["model.embed_tokens.weight"].T
    return result


class Decoder:
    """An ONNX causal model with its cache, one prompt at a time, greedily."""

    def __init__(self, model: bytes | str, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.empty: dict[str, Array] = {}
        for entry in self.session.get_inputs():
            if entry.name.startswith("past"):
                self.empty[entry.name] = np.zeros((1, entry.shape[1], 0, entry.shape[3]), dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        self.cache = dict(self.empty)
        self.length = 0

    def feed(self, ids: Sequence[int]) -> Array:
        """Append tokens; the logits behind each, (tokens, vocabulary)."""
        total = self.length + len(ids)
        feeds = {
            "input_ids": np.array([ids], dtype=np.int64),
            "attention_mask": np.ones((1, total), dtype=np.int64),
            "position_ids": np.arange(self.length, total, dtype=np.int64)[None],
            **self.cache,
        }
        found, *present = self.session.run(None, feeds)
        self.cache = dict(zip(self.empty, present, strict=True))
        self.length = total
        result: Array = found[0]
        return result

    def generate(self, prompt: Sequence[int], stop: int, limit: int = 160) -> list[int]:
        """Greedily, until `stop` (which is left out) or `limit` tokens."""
        self.reset()
        token = int(self.feed(prompt)[-1].argmax())
        made: list[int] = []
        while token != stop and len(made) < limit:
            made.append(token)
            token = int(self.feed([token])[-1].argmax())
        return made


def differences(
    model: bytes, config: Mapping[str, Any], weights: Mapping[str, Array], draw: Callable[[int], Array] | None = None
) -> tuple[float, float]:
    """Largest difference of the logits from numpy's for a whole prompt, and fed in pieces, on 48 random tokens."""
    ids = [int(i) for i in (draw or np.random.default_rng(5).permutation)(config["vocab_size"])[:48]]
    expected = logits(config, weights, ids)
    decoder = Decoder(model)
    whole = float(np.abs(decoder.feed(ids) - expected).max())
    decoder.reset()
    pieces = [decoder.feed(ids[:17]), decoder.feed(ids[17:20]), *(decoder.feed([i]) for i in ids[20:])]
    return whole, float(np.abs(np.concatenate(pieces) - expected).max())
