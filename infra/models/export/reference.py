"""The model in a few lines of numpy, and an ONNX session that decodes with it: each checks the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from tidegate.infra.models.export.architecture import Architecture, LayerKind, Rotary

Array = np.ndarray[Any, Any]


def normed(x: Array, scale: Array, epsilon: float) -> Array:
    result: Array = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + np.float32(epsilon)) * scale
    return result


def turned(x: Array, rotary: Rotary | None) -> Array:
    """Rotary positions from 0 on; x is (heads, tokens, head)."""
    if rotary is None:
        return x
    angles = np.tile(np.outer(np.arange(x.shape[1]), rotary.rates), (1, 2)).astype(np.float32)
    left, right = np.split(x, 2, axis=-1)
    whole: Array = x * np.cos(angles) + np.concatenate((-right, left), -1) * np.sin(angles)
    return whole * np.float32(rotary.factor)


def activated(x: Array, kind: str) -> Array:
    if kind == "silu":
        share: Array = 1 / (1 + np.exp(-x))
    elif kind == "gelu_tanh":
        share = 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    else:
        share = (0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))).astype(np.float32)
    result: Array = x * share
    return result


def attended(like: Architecture, kind: LayerKind, w: Mapping[str, Array], y: Array) -> Array:
    """The attention of one layer over a prompt; y is (tokens, hidden)."""
    count, at = len(y), "self_attn"

    def projected(part: str, heads: int) -> Array:
        flat = y @ w[f"{at}.{part}_proj.weight"].T + w.get(f"{at}.{part}_proj.bias", np.float32(0))
        return flat.reshape(count, heads, like.head).transpose(1, 0, 2)

    q, k, v = projected("q", like.heads), projected("k", like.key_heads), projected("v", like.key_heads)
    if f"{at}.q_norm.weight" in w:
        q = normed(q, w[f"{at}.q_norm.weight"] + like.norm_offset, like.epsilon)
        k = normed(k, w[f"{at}.k_norm.weight"] + like.norm_offset, like.epsilon)
    k, v = (np.repeat(each, like.heads // like.key_heads, axis=0) for each in (turned(k, kind.rotary), v))
    scores = turned(q, kind.rotary) @ k.transpose(0, 2, 1) * np.float32(like.attention_scale)
    if like.attention_cap:
        scores = np.tanh(scores / like.attention_cap) * like.attention_cap
    back = np.arange(count)[:, None] - np.arange(count)
    hidden = (back < 0) | (back >= kind.window) if kind.window else back < 0
    scores = np.where(hidden, np.float32(-np.inf), scores)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (shares / shares.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(count, -1)
    result: Array = mixed @ w[f"{at}.o_proj.weight"].T + w.get(f"{at}.o_proj.bias", np.float32(0))
    return result


def fed(like: Architecture, w: Mapping[str, Array], y: Array) -> Array:
    """The feed-forward part of one layer."""

    def through(part: str, x: Array) -> Array:
        product: Array = x @ w[f"mlp.{part}_proj.weight"].T + w.get(f"mlp.{part}_proj.bias", np.float32(0))
        return product

    return through("down", activated(through("gate", y), like.activation) * through("up", y))


def logits(config: Mapping[str, Any], weights: Mapping[str, Array], ids: Sequence[int]) -> Array:
    """(tokens, vocabulary) float32 of one prompt."""
    like = Architecture.of(config)
    words = weights["model.embed_tokens.weight"]
    x = words[list(ids)] * np.float32(like.embedding_scale)
    for number, kind in enumerate(like.layers):
        at = f"model.layers.{number}."
        w = {name.removeprefix(at): value for name, value in weights.items() if name.startswith(at)}

        def norm(y: Array, name: str, w: Mapping[str, Array] = w) -> Array:
            return normed(y, w[f"{name}.weight"] + np.float32(like.norm_offset), like.epsilon)

        mixed = attended(like, kind, w, norm(x, "input_layernorm"))
        if "pre_feedforward_layernorm.weight" in w:
            x = x + norm(mixed, "post_attention_layernorm")
            x = x + norm(fed(like, w, norm(x, "pre_feedforward_layernorm")), "post_feedforward_layernorm")
        else:
            x = x + mixed
            x = x + fed(like, w, norm(x, "post_attention_layernorm"))
    last = normed(x, weights["model.norm.weight"] + np.float32(like.norm_offset), like.epsilon)
    is_tied = config.get("tie_word_embeddings", "lm_head.weight" not in weights)
    found: Array = last @ (words if is_tied else weights["lm_head.weight"]).T
    return np.tanh(found / like.logit_cap) * np.float32(like.logit_cap) if like.logit_cap else found


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
    size = len(weights["model.embed_tokens.weight"])
    ids = [int(i) for i in (draw or np.random.default_rng(5).permutation)(size)[:48]]
    expected = logits(config, weights, ids)
    decoder = Decoder(model)
    whole = float(np.abs(decoder.feed(ids) - expected).max())
    decoder.reset()
    pieces = [decoder.feed(ids[:17]), decoder.feed(ids[17:20]), *(decoder.feed([i]) for i in ids[20:])]
    return whole, float(np.abs(np.concatenate(pieces) - expected).max())
