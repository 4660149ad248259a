"""A tiny BERT-like encoder: random weights, and numpy's word on what it computes, in plain loops over heads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Weights = dict[str, np.ndarray[Any, Any]]


def random_linear(rng: np.random.Generator, name: str, rows: int, columns: int) -> Weights:
    return {f"{name}.weight": rng.normal(0, 0.3, (rows, columns)), f"{name}.bias": rng.normal(0, 0.3, rows)}


def random_weights(layers: int, width: int, inner: int, words: int, seed: int) -> Weights:
    rng = np.random.default_rng(seed)

    def norm(name: str) -> Weights:
        return {f"{name}.weight": rng.normal(1, 0.2, width), f"{name}.bias": rng.normal(0, 0.2, width)}

    found = {
        "embeddings.word_embeddings.weight": rng.normal(0, 1, (words, width)),
        "embeddings.position_embeddings.weight": rng.normal(0, 1, (32, width)),
        "embeddings.token_type_embeddings.weight": rng.normal(0, 1, (2, width)),
        **norm("embeddings.LayerNorm"),
    }
    for number in range(layers):
        at = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            found |= random_linear(rng, f"{at}.attention.self.{part}", width, width)
        found |= random_linear(rng, f"{at}.attention.output.dense", width, width)
        found |= norm(f"{at}.attention.output.LayerNorm")
        found |= random_linear(rng, f"{at}.intermediate.dense", inner, width)
        found |= random_linear(rng, f"{at}.output.dense", width, inner) | norm(f"{at}.output.LayerNorm")
    return {name: value.astype(np.float32) for name, value in found.items()}


def linear(weights: Weights, x: Any, name: str) -> Any:
    return x @ weights[f"{name}.weight"].astype(np.float64).T + weights[f"{name}.bias"]


def norm(weights: Weights, x: Any, name: str) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def embed_ids(weights: Weights, ids: list[int]) -> Any:
    """What the layers begin with, of one unpadded text."""
    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = x.astype(np.float64) + weights["embeddings.token_type_embeddings.weight"][0]
    return norm(weights, x, "embeddings.LayerNorm")


def encode(weights: Weights, x: Any, numbers: range, heads: int) -> Any:
    """What the layers with these numbers make of the states of one unpadded text."""
    for number in numbers:
        at = f"encoder.layer.{number}"
        query, key, value = (linear(weights, x, f"{at}.attention.self.{part}") for part in ("query", "key", "value"))
        size = x.shape[1] // heads
        mixed = []
        for head in range(heads):
            span = slice(head * size, (head + 1) * size)
            scores = np.exp(query[:, span] @ key[:, span].T / np.sqrt(size))
            mixed.append(scores / scores.sum(-1, keepdims=True) @ value[:, span])
        attended = linear(weights, np.concatenate(mixed, axis=1), f"{at}.attention.output.dense")
        x = norm(weights, attended + x, f"{at}.attention.output.LayerNorm")
        inner = linear(weights, x, f"{at}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / np.sqrt(2)))
        x = norm(weights, linear(weights, inner, f"{at}.output.dense") + x, f"{at}.output.LayerNorm")
    return x
