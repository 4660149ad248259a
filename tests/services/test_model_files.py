"""Weights that are left in their file are the weights of the model, bit for bit; another file is not taken for it."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import external_data_helper, helper, numpy_helper

from tests.support.paths import MODELS
from tidegate.services.inference import OnnxSession
from tidegate.services.model_files import FileReplacedError, GraphFile, read_built

TYPES = ("uint8", "int8", "float32", "int64")
SIZES = (0, 1, 1000, 16383, 16384, 40000)
MULTILINGUAL = MODELS / "multilingual"


def graph_of(*tensors: onnx.TensorProto) -> onnx.ModelProto:
    described = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "tests", [described], [described], initializer=tensors, doc_string="é" * 200)
    return helper.make_model(graph, producer_name="tests")


def build(directory: Path, **files: bytes) -> None:
    for name, data in files.items():
        (directory / name).write_bytes(data)
    built = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    (directory / "manifest.json").write_text(json.dumps({"built": built}))


def graph_file(directory: Path, name: str) -> GraphFile:
    return read_built(directory, [name]).graphs[name]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TYPES), st.sampled_from(SIZES), st.booleans()), max_size=4))
def test_a_graph_with_its_weights_left_in_the_file_is_the_graph(described: list[tuple[str, int, bool]]) -> None:
    tensors = []
    for number, (kind, size, names_its_place) in enumerate(described):
        values = np.random.default_rng(number).integers(0, 100, size).astype(kind)
        tensors.append(numpy_helper.from_array(values, f"t{number}"))
        if names_its_place:
            tensors[-1].data_location = onnx.TensorProto.DEFAULT
    model = graph_of(*tensors)
    with TemporaryDirectory() as folder:
        build(Path(folder), **{"m.onnx": model.SerializeToString()})
        data = graph_file(Path(folder), "m.onnx").without_weights()
        found = onnx.load_model_from_string(data)
        left = [each.name for each in found.graph.initializer if external_data_helper.uses_external_data(each)]
        external_data_helper.load_external_data_for_model(found, folder)
    large = [f"t{n}" for n, (kind, size, _) in enumerate(described) if kind in TYPES[:2] and size >= 16384]
    assert left == large
    for ours, own in zip(found.graph.initializer, model.graph.initializer, strict=True):
        assert (ours.name, ours.data_type, ours.dims) == (own.name, own.data_type, own.dims)
        assert numpy_helper.to_array(ours).tobytes() == numpy_helper.to_array(own).tobytes()
    for each in (found, model):
        del each.graph.initializer[:]
    assert found == model


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_what_is_no_graph_raises_value_errors_alone(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        build(Path(folder), **{"m.onnx": b"\x3a" + data})
        with suppress(ValueError):
            graph_file(Path(folder), "m.onnx").without_weights()


def test_a_model_whose_weights_are_mapped_computes_the_same_bits() -> None:
    whole, mapped = OnnxSession(MULTILINGUAL / "lower.onnx"), OnnxSession(graph_file(MULTILINGUAL, "lower.onnx"))
    for length in (1, 7, 90):
        ids = np.random.default_rng(length).integers(0, 110_000, (1, length))
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        assert mapped.run(feeds)[0].tobytes() == whole.run(feeds)[0].tobytes()


def test_of_the_largest_model_next_to_nothing_is_copied() -> None:
    assert len(graph_file(MULTILINGUAL, "lower.onnx").without_weights()) < 2_000_000
    assert (MULTILINGUAL / "lower.onnx").stat().st_size > 50_000_000


def test_a_file_that_is_replaced_while_it_is_opened_is_not_opened(tmp_path: Path) -> None:
    data = (MULTILINGUAL / "middle.onnx").read_bytes()
    build(tmp_path, **{"m.onnx": data})
    file = graph_file(tmp_path, "m.onnx")
    OnnxSession(file)
    (tmp_path / "new").write_bytes(data)
    (tmp_path / "new").rename(tmp_path / "m.onnx")
    with pytest.raises(FileReplacedError, match=r"m\.onnx was replaced"):
        OnnxSession(file)


def test_the_version_is_of_the_contents_in_their_order_and_of_what_the_model_stands_on(tmp_path: Path) -> None:
    build(tmp_path, **{"a.onnx": b"\x08\x01", "b.json": b"{}"})
    files = read_built(tmp_path, ("a.onnx", "b.json"), "base")
    assert files.version == hashlib.sha256(b"base\x08\x01{}").hexdigest()[:12]
    assert files.contents == {"b.json": b"{}"}
    assert read_built(tmp_path, ("b.json", "a.onnx"), "base").version != files.version
    (tmp_path / "a.onnx").write_bytes(b"\x08\x02")
    with pytest.raises(ValueError, match=r"a\.onnx is not the file"):
        read_built(tmp_path, ("a.onnx", "b.json"))
    (tmp_path / "a.onnx").unlink()
    with pytest.raises(FileNotFoundError):
        read_built(tmp_path, ("a.onnx", "b.json"))
