"""The graph of the reader of fields against numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.support.tiny_encoder import Weights, encode, linear, random_linear, random_weights
from tidegate.infra.models.export import encoder_graph
from tidegate.infra.models.export.extraction_graph import build_extraction
from tidegate.infra.models.export.session import open_session

HEADS, WIDTH, HIDDEN, SHARED = 3, 12, 5, 4


def expected(weights: Weights, given: dict[str, Any]) -> tuple[list[float], list[float]]:
    x = given["states"][0].astype(np.float64) + weights["parts"][given["parts"][0]]
    x = encode(weights, x, range(2, 4), HEADS)
    absent = [linear(weights, row @ x, "absent")[0] for row in given["asking"]]
    logits = []
    for span, field in zip(given["pair_spans"], given["pair_fields"], strict=True):
        first, last = given["starts"][span], given["ends"][span]
        value = linear(weights, np.concatenate([x[first], x[last], x[first : last + 1].mean(0)]), "span")
        asked = linear(weights, given["asking"][field] @ x, "asked")
        mixed = np.array([each * 0.5 * (1 + math.erf(each / math.sqrt(2))) for each in (value + asked)[:HIDDEN]])
        shared = float(value[HIDDEN:] @ asked[HIDDEN:]) / math.sqrt(SHARED)
        logits.append(linear(weights, mixed, "score")[0] + shared)
    return logits, absent


def test_the_graph_computes_what_numpy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_graph, "HEADS", HEADS)
    rng = np.random.default_rng(3)
    weights = random_weights(layers=4, width=WIDTH, inner=20, words=50, seed=7)
    heads = random_linear(rng, "span", HIDDEN + SHARED, 3 * WIDTH) | random_linear(rng, "asked", HIDDEN + SHARED, WIDTH)
    heads |= random_linear(rng, "score", 1, HIDDEN) | random_linear(rng, "absent", 1, WIDTH)
    heads["parts"] = rng.normal(0, 0.3, (2, WIDTH))
    weights |= {name: value.astype(np.float32) for name, value in heads.items()}
    asking, pooling = np.zeros((2, 11), np.float32), np.zeros((3, 11), np.float32)
    asking[0, :2], asking[1, 2:5] = 1 / 2, 1 / 3
    places = [(5, 5), (6, 9), (3, 4)]
    for row, (first, last) in enumerate(places):
        pooling[row, first : last + 1] = 1 / (last + 1 - first)
    given = {
        "states": rng.normal(0, 1, (1, 11, WIDTH)).astype(np.float32),
        "parts": np.array([[0] * 5 + [1] * 6]),
        "starts": np.array([first for first, _ in places]),
        "ends": np.array([last for _, last in places]),
        "pooling": pooling,
        "asking": asking,
        "pair_spans": np.array([0, 1, 2, 1]),
        "pair_fields": np.array([0, 0, 1, 1]),
    }
    graph = build_extraction(weights, range(2, 4), HIDDEN)
    logits, absent = open_session(graph.SerializeToString()).run(None, given)
    for found, own in zip((logits, absent), expected(weights, given), strict=True):
        np.testing.assert_allclose(found, own, atol=5e-5)
