"""The safety head reads a text through the encoder, and its operating point is 0.5 in every language."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tidegate.infra.models.export.pieces import write_model
from tidegate.services.knowledge.embedding import EmbeddingModelMissingError
from tidegate.services.knowledge.safety_head import FILES, SafetyHead, SafetyHeadMissingError, relate
from tidegate.services.knowledge.tokenizer import TOKENIZER_FILE

PIECES = ("<unk>", "▁query", ":", "▁kill", "▁help", "▁hello", "▁bank", "<s>", "</s>")
CLASSES = ("harmless", "unsafe", "distress", "injection", "out_of_scope", "smalltalk")
ROWS = {"kill": "unsafe", "help": "distress", "hello": "smalltalk", "bank": "harmless"}


def graph(inputs: list[onnx.ValueInfoProto], nodes: list[onnx.NodeProto], output: str, **constants: object) -> bytes:
    kept = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)]
    body = helper.make_graph(nodes, "tiny", inputs, outputs, kept)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def token_input(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """An encoder whose state at a word is the class of that word, and a head that adds the states up."""
    table = np.zeros((len(PIECES), len(CLASSES)), np.float32)
    for word, name in ROWS.items():
        table[PIECES.index(f"▁{word}"), CLASSES.index(name)] = 2.0
    directory = tmp_path / "multilingual"
    directory.mkdir()
    tokens = [token_input("input_ids"), token_input("attention_mask")]
    gather = helper.make_node("Gather", ["table", "input_ids"], ["states"])
    (directory / "lower.onnx").write_bytes(graph(tokens, [gather], "states", table=table))
    states = helper.make_tensor_value_info("states", TensorProto.FLOAT, ["batch", "tokens", len(CLASSES)])
    summed = helper.make_node("ReduceSum", ["states", "axis"], ["classes"], keepdims=0)
    head = graph([states, token_input("attention_mask")], [summed], "classes", axis=np.array([1]))
    (directory / "safety.onnx").write_bytes(head)
    points = {
        "": {"unsafe": 0.5, "distress": 0.5, "smalltalk": 0.5},
        "de": {"unsafe": 0.9, "distress": 0.2, "smalltalk": 0.5},
    }
    (directory / "safety.json").write_text(json.dumps({"classes": CLASSES, "points": points}))
    described = {"model": {"vocab": [(piece, -1.0) for piece in PIECES]}, "normalizer": None}
    (directory / TOKENIZER_FILE).write_bytes(write_model(described))
    embed = helper.make_node("ReduceMean", ["states"], ["embedding"], axes=[1], keepdims=0)
    (directory / "embed.onnx").write_bytes(graph([states, token_input("attention_mask")], [embed], "embedding"))
    same = helper.make_node("Identity", ["states"], ["upper"])
    (directory / "middle.onnx").write_bytes(graph([states, token_input("attention_mask")], [same], "upper"))
    names = (*FILES, "lower.onnx", "middle.onnx", "embed.onnx", TOKENIZER_FILE)
    digests = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}
    (directory / "manifest.json").write_text(json.dumps({"built": digests}))
    return tmp_path


def test_each_kind_is_told_by_the_words_of_the_text(built: Path) -> None:
    head = SafetyHead.load(built)
    for number, word in enumerate(("kill", "help", "hello")):
        found = head.judge(word, "en")
        assert found.index(max(found)) == number
    assert max(head.judge("bank bank", "en")) < 0.1


def test_a_language_has_its_own_operating_point_and_another_that_of_all(built: Path) -> None:
    head = SafetyHead.load(built)
    assert head.judge("kill", "en") == head.judge("kill", "nl")
    assert head.judge("kill", "de").unsafe < 0.5 < head.judge("kill", "en").unsafe
    assert head.judge("help", "de").distress > head.judge("help", "en").distress


def test_what_is_beyond_the_limit_is_not_read(built: Path) -> None:
    head = SafetyHead.load(built)
    opening = "bank " * 6
    assert head.judge(f"{opening}kill kill kill kill", "en", max_tokens=10) == head.judge(opening, "en")
    assert head.judge(f"{opening}{'kill ' * 12}", "en").unsafe > 0.5


@pytest.mark.parametrize("point", [0.1, 0.5, 0.93])
def test_the_operating_point_becomes_one_half_and_the_order_stays(point: float) -> None:
    assert relate(point, point) == pytest.approx(0.5)
    related = [relate(each, point) for each in (0.0, 0.01, 0.3, 0.7, 1.0)]
    assert related == sorted(related)
    assert 0 < related[0] < related[-1] < 1


@pytest.mark.parametrize("name", FILES)
def test_a_head_that_is_not_as_the_manifest_says_is_not_used(built: Path, name: str) -> None:
    path = built / "multilingual" / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(SafetyHeadMissingError, match="make models"):
        SafetyHead.load(built)
    path.unlink()
    with pytest.raises(SafetyHeadMissingError, match="make models"):
        SafetyHead.load(built)


def test_a_tokenizer_that_is_none_is_told_with_the_way_to_get_one(built: Path) -> None:
    directory = built / "multilingual"
    (directory / TOKENIZER_FILE).write_bytes(b"no tokenizer")
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["built"][TOKENIZER_FILE] = hashlib.sha256(b"no tokenizer").hexdigest()
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(EmbeddingModelMissingError, match=r"not a SentencePiece model.*make models"):
        SafetyHead.load(built)
