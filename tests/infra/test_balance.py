"""Channels that stand out: divided where an int8 product takes them, to the same exact outputs and a smaller error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support.tiny_encoder import Weights, random_weights
from tidegate.infra.models.export import encoder_graph, multilingual
from tidegate.infra.models.export.balance import OUTSTANDING, balance, largest_of
from tidegate.infra.models.export.samples import make_samples, read_pairs
from tidegate.infra.models.export.session import open_session

HEADS, WIDTH, WORDS = 3, 48, 50
LOUD = 7
"""The channel that stands out, as a few do in every layer of the published weights."""


@pytest.fixture(autouse=True)
def few_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_graph, "HEADS", HEADS)


@pytest.fixture
def weights() -> Weights:
    found = random_weights(layers=2, width=WIDTH, inner=96, words=WORDS, seed=11)
    for name, value in found.items():
        if "LayerNorm.weight" in name:
            value[LOUD] *= 25
        if name.endswith(("query.weight", "key.weight", "value.weight", "intermediate.dense.weight")):
            value[:, LOUD] /= 25
    return {name: value.astype(np.float32) for name, value in found.items()}


@pytest.fixture
def samples() -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    rows = [rng.integers(0, WORDS, (1, length)) for length in (4, 9, 14)]
    return [{"input_ids": row, "attention_mask": np.ones_like(row)} for row in rows]


def states(model: onnx.ModelProto | Path, samples: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    session = open_session(str(model) if isinstance(model, Path) else model.SerializeToString())
    return np.concatenate([session.run(None, each)[0][0] for each in samples])


def test_a_balanced_graph_computes_the_same_and_no_product_takes_a_channel_that_stands_out(
    weights: Weights, samples: list[dict[str, Any]]
) -> None:
    model = multilingual.build_lower(weights, range(2))
    exact = states(model, samples)
    balance(model, samples)
    np.testing.assert_allclose(states(model, samples), exact, rtol=1e-4, atol=1e-4)
    fixed = {each.name for each in model.graph.initializer}
    taken = {node.input[0] for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in fixed}
    assert any(name.endswith("_divided") for name in taken)
    for peaks in largest_of(model, sorted(taken), samples).values():
        assert peaks.max() <= OUTSTANDING * np.median(peaks) * 1.01


def test_the_int8_graph_strays_by_less_than_half_of_what_it_did(
    weights: Weights, samples: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = states(multilingual.build_lower(weights, range(2)), samples)
    encoder_graph.write_int8(multilingual.build_lower(weights, range(2)), tmp_path / "balanced.onnx", samples)
    monkeypatch.setattr(encoder_graph, "balance", lambda *_: None)
    encoder_graph.write_int8(multilingual.build_lower(weights, range(2)), tmp_path / "plain.onnx", samples)
    balanced, plain = (
        float(np.sqrt(np.mean((states(tmp_path / f"{name}.onnx", samples) - exact)[:, np.arange(WIDTH) != LOUD] ** 2)))
        for name in ("balanced", "plain")
    )
    assert balanced < plain / 2


def test_without_samples_nothing_is_balanced_by_guess(weights: Weights) -> None:
    with pytest.raises(ValueError, match="no samples"):
        balance(multilingual.build_lower(weights, range(1)), [])


def test_every_graph_is_shown_questions_and_passages(weights: Weights) -> None:
    found = [*read_pairs(lambda text: [ord(letter) % WORDS for letter in text[:20]])]
    assert len(found) > 30
    lower, middle = multilingual.build_lower(weights, range(1)), multilingual.build_middle(weights, range(1, 2))
    made = make_samples(found[:2], lower, middle)
    assert [len(each) for each in made] == [4, 4, 4, 2, 2]
    for feeds in (*made.read, *made.extract):
        assert feeds["states"].shape == (1, 40, WIDTH)
        assert feeds["parts"].sum() == 20
        np.testing.assert_allclose(feeds["pooling"].sum(), 1, rtol=1e-6)
