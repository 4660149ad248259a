"""What the reader of fields read is weighed against the ranker, as far as it is right."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tidegate.infra.models.training import field_weights
from tidegate.infra.models.training.extraction_ranker import Example, fit, predict, read_examples
from tidegate.infra.models.training.field_weights import (
    START,
    Mix,
    ReadField,
    Readings,
    combine,
    fit_family,
    fit_mix,
    load_readings,
)
from tidegate.services.knowledge.extraction.ranker import FamilyWeights, names_of

NAMES = ("Ada Moss", "Ben Lark", "Cid Wren", "Dot Finch")
SCHEMA = {
    "type": "object",
    "properties": {"winner": {"type": "string"}},
    "required": ["winner"],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Texts of which only somebody who knows can tell the winner."""
    lines = []
    for number in range(24):
        first, second = NAMES[number % 4], NAMES[(number + 1 + number // 4) % 4]
        text = f"{first} met {second if second != first else NAMES[number % 4 - 1]} in Truro."
        won = text.split(" met ")[0] if number % 2 else text.split(" met ")[1].removesuffix(" in Truro.")
        record = {"text": text, "language": "en", "schema": SCHEMA, "truth": {"winner": won}}
        lines.append(json.dumps(record))
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(lines))
    return path


def read_by(examples: list[Example], sign: float) -> list[ReadField]:
    return [
        ReadField(example.text, "winner", [sign * (4.0 if right else -4.0) for right in example.is_right])
        for example in examples
    ]


def readings_of(read: list[ReadField]) -> Readings:
    return {(each.text, each.path): np.array(each.odds) for each in read}


def test_a_reading_that_is_right_is_trusted_and_one_that_is_not_is_not(data: Path) -> None:
    examples = [*read_examples([data])]
    alone = [fit([each for each in examples if each.text % 2 != part], "string") for part in range(2)]
    cross = [alone[each.text % 2] for each in examples]
    mix, predictions = fit_family("string", examples, cross, readings_of(read_by(examples, 1.0)))
    assert mix.value > START[1]
    assert all(right for _, right in predictions)
    wrong, _ = fit_family("string", examples, cross, readings_of(read_by(examples, -1.0)))
    assert wrong.value < 0 < mix.value
    assert sum(predict(each, own)[1] for each, own in zip(examples, cross, strict=True)) < len(examples)


def test_few_fields_leave_the_weights_where_they_start(data: Path) -> None:
    assert fit_mix([], [], {}) == Mix(*START.tolist())
    examples = [*read_examples([data])]
    weights = fit(examples[8:], "string")
    readings = readings_of(read_by(examples, 1.0))
    few, many = (fit_mix(own, [weights] * len(own), readings) for own in (examples[:1], examples))
    assert abs(few.value - START[1]) < abs(many.value - START[1])


def test_the_rankers_own_features_come_first_and_must_be_those_of_today() -> None:
    width = len(names_of("string"))
    plain = FamilyWeights([0.5] * width, [2.0] * width, [1.0] * width, [1.0, 2.0])
    found = combine(plain, Mix(0.5, 0.9, 0.8, -1.0), "string")
    assert (found.weights[0], found.weights[-1]) == (0.5, 0.9)
    assert found.absent == [-0.5, 1.0, 0.8]
    assert (len(found.mean), found.mean[-1], found.scale[-1]) == (width + 1, 0.0, 1.0)
    with pytest.raises(ValueError, match="features"):
        combine(plain, Mix(1, 1, 1, 0), "boolean")


def test_several_readings_are_averaged(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.json" for n in range(2)]
    for n, path in enumerate(paths):
        path.write_bytes(msgspec.json.encode([ReadField(0, "winner", [2.0 * n, 4.0])]))
    np.testing.assert_array_equal(load_readings(paths)[0, "winner"], [1, 4])


def test_weights_are_fitted_on_the_texts_that_were_read_and_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = [*read_examples([data])]
    weights = {"string": fit(examples, "string")}
    files = {name: tmp_path / f"{name}.json" for name in ("ranker", "cross", "read", "out")}
    files["ranker"].write_bytes(msgspec.json.encode(weights))
    files["cross"].write_bytes(msgspec.json.encode({"folds": [weights], "texts": [0] * 24}))
    files["read"].write_bytes(msgspec.json.encode(read_by(examples[:12], 1.0)))
    monkeypatch.setattr(field_weights, "FAMILIES", ("string",))
    arguments = ["--ranker", "ranker", "--cross-fitted", "cross", "--read", "read", "--out", "out"]
    monkeypatch.setattr("sys.argv", ["", str(data), *(str(files.get(each, each)) for each in arguments)])
    field_weights.main()
    assert "12 of 12," in capsys.readouterr().out
    found = msgspec.json.decode(files["out"].read_bytes(), type=dict[str, FamilyWeights])
    assert set(found) == {"string"}
    assert len(found["string"].weights) == len(names_of("string")) + 1
    assert found["string"].weights[-1] > 0
    files["read"].write_bytes(msgspec.json.encode(read_by(examples, 0.0)))
    field_weights.main()
    kept = msgspec.json.decode(files["out"].read_bytes(), type=dict[str, FamilyWeights])["string"]
    assert (kept.weights[:-1], kept.weights[-1]) == (weights["string"].weights, 0.0)
