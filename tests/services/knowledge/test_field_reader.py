"""The reader of fields: what it reads is one signal of the ranker's, and without it the ranker chooses alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.knowledge.extraction.field_reader import (
    FILES,
    FLOOR,
    MOST_WINDOWS,
    FieldReader,
    FieldReaderMissingError,
    scores_of,
    values_of,
)
from tidegate.services.knowledge.extraction.filler import IN_DOUBT, leaves_of
from tidegate.services.knowledge.extraction.find import TextValues
from tidegate.services.knowledge.extraction.ranker import FieldRows, describe, load_weights, names_of, with_scores
from tidegate.services.knowledge.extraction.schema import Schema
from tidegate.services.knowledge.extraction.text_view import TextView

MODELS = Path(".models")
STRING = {"type": "string"}
NOTE = "Rang heute früh an: Frau Kessler vom Reisebüro Sonnwend. Ihr Drucker zieht kein Papier mehr ein."


@pytest.fixture(scope="module")
def reader() -> FieldReader:
    return FieldReader.load(MODELS)


def described(text: str, language: str = "en", **properties: Any) -> list[FieldRows]:
    schema = Schema(json.dumps({"properties": properties, "required": list(properties)}))
    values, view = TextValues(text, language), TextView(text)
    asked = leaves_of(schema.field)
    return [describe(each, asked, schema, values, view) for each in asked]


def test_what_is_read_of_a_field_are_shares_of_its_candidates_and_its_absence(reader: FieldReader) -> None:
    fields = described(
        NOTE, "de", company=STRING, caller=STRING, urgent={"type": "boolean"}, day={"enum": ["Mo", "Di"]}
    )
    odds = reader.read(NOTE, fields)
    assert odds is not None
    scores = [scores_of(each, own) for each, own in zip(fields, odds, strict=True)]
    for each, read in zip(fields, scores, strict=True):
        assert len(read.candidates) == len(each.candidates)
        assert read.candidates.min(initial=0) >= FLOOR
    for read in scores[:2]:
        total = np.exp(read.candidates).sum() + np.exp(read.absent)
        assert total == pytest.approx(1, abs=0.01)
    shares = {repr(each.value): share for each, share in zip(fields[2].candidates, scores[2].candidates, strict=True)}
    assert sum(map(np.exp, shares.values())) + np.exp(scores[2].absent) == pytest.approx(1, abs=0.01)


def test_a_value_that_the_ranker_alone_would_not_take_is_in_doubt(reader: FieldReader) -> None:
    schema = json.dumps({"properties": {"caller": STRING}, "required": ["caller"]})
    (read,), (alone,) = (extract(NOTE, schema, "de", each).fields for each in (reader, None))
    assert (read.value, alone.value) == ("Frau Kessler", "Reisebüro Sonnwend")
    assert read.confidence <= IN_DOUBT
    labelled = "Caller: Ada Moss\nCompany: Moss Ltd"
    assert extract(labelled, schema, "en", reader).fields[0].confidence > IN_DOUBT


def test_a_text_that_is_too_long_is_left_to_the_ranker(reader: FieldReader) -> None:
    schema = json.dumps({"properties": {"total": {"type": "number"}}, "required": ["total"]})
    long = "Total: 12.00\n" + "Nothing else is of any interest here at all. " * 60 * MOST_WINDOWS
    assert reader.read(long, described(long, total={"type": "number"})) is None
    assert extract(long, schema, "en", reader) == extract(long, schema, "en")


def test_without_the_reader_the_ranker_has_its_own_weights(reader: FieldReader) -> None:
    assert {name: len(each.weights) for name, each in load_weights().items()} == {
        name: len(names_of(name)) for name in load_weights()
    }
    assert {name: len(each.weights) for name, each in reader.weights.items()} == {
        name: len(names_of(name)) + 1 for name in load_weights()
    }
    assert all(each.weights[-1] >= 0 for each in reader.weights.values())
    assert reader.weights["string"].weights[-1] > 0


def test_a_hidden_name_is_no_less_likely_than_what_is_read_best() -> None:
    text = "Kundin: <NAME_0123456789ab>, Rückruf an <PHONE_0123456789ab>, Grüße, Reisebüro Sonnwend"
    (field,) = described(text, "de", customer_name=STRING)
    odds = np.array([4.0 if each.value == "Reisebüro Sonnwend" else -9.0 for each in field.candidates])
    read = scores_of(field, odds)
    by_shape = {each.shape: share for each, share in zip(field.candidates, read.candidates, strict=True)}
    assert by_shape["token_name"] == read.candidates.max()
    assert by_shape["token_phone"] < read.candidates.max() - 5


def test_options_that_are_too_many_to_be_read_are_even() -> None:
    options = [f"option {n}" for n in range(40)]
    (field,) = described("option 3 please", kind={"enum": options})
    assert values_of(field) == []
    read = scores_of(field, np.zeros(0))
    assert len(read.candidates) == len(field.candidates)
    assert set(read.candidates) == {read.absent}


def test_a_field_without_candidates_is_described_as_wide_as_the_others() -> None:
    (field,) = described("nothing", when={"type": "string", "format": "date"})
    rows = with_scores(field, scores_of(field, np.zeros(0)))
    assert rows.rows.shape == (0, len(names_of("date")) + 1)
    assert len(rows.absent) == len(field.absent) + 1


def test_a_missing_or_changed_file_is_named(reader: FieldReader, tmp_path: Path) -> None:
    embedder = Embedder.load(MODELS)
    for name in (*FILES, "manifest.json"):
        shutil.copy(MODELS / "multilingual" / name, tmp_path / name)
    assert FieldReader(tmp_path, embedder).weights == reader.weights
    (tmp_path / "extract.json").write_text("{}")
    with pytest.raises(FieldReaderMissingError, match=r"extract\.json is not the file"):
        FieldReader(tmp_path, embedder)
    (tmp_path / "extract.onnx").unlink()
    with pytest.raises(FieldReaderMissingError, match="make models"):
        FieldReader(tmp_path, embedder)
