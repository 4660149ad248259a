"""An extraction is judged fairly, field by field."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from loadtests.bench import extraction
from loadtests.bench.extraction import fields_in, judged, kinds_of, schema_of
from tidegate.infra.models.data.extraction import Record

FIELDS = "total:number since:date? hazard:enum(very dry|wet)? open:boolean name:string"
TRUE: dict[str, Any] = {"total": 3, "since": None, "hazard": "very dry", "open": True, "name": "Ann"}


def record_of(schema: str, truth: dict[str, Any]) -> Record:
    return Record(schema, "", json.dumps(truth))


def test_fields_become_a_schema_that_their_truth_satisfies() -> None:
    schema = schema_of(FIELDS)
    assert [*fields_in(FIELDS)][2] == "hazard:enum(very dry|wet)?"
    assert kinds_of(record_of(FIELDS, TRUE)) == {
        "total": "number", "since": "date", "hazard": "enum", "open": "boolean", "name": "string"
    }  # fmt: skip
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    assert validator.is_valid(TRUE)
    for name, wrong in {"total": None, "since": "2026-02-30", "hazard": "dry", "open": 1, "name": 3}.items():
        assert not validator.is_valid(TRUE | {name: wrong}), name
    assert not validator.is_valid({name: value for name, value in TRUE.items() if name != "since"})
    assert not validator.is_valid(TRUE | {"more": 1})


@pytest.mark.parametrize(
    ("output", "is_valid", "wrong"),
    [
        (json.dumps(TRUE), True, set()),
        (json.dumps(TRUE | {"total": 3.0}), True, set()),
        (json.dumps(TRUE | {"total": 4, "name": "ann"}), True, {"total", "name"}),
        (json.dumps(TRUE | {"open": 1}), False, {"open"}),
        (json.dumps(TRUE)[:-1], False, set(TRUE)),
        ("SchemaRefused: no", False, set(TRUE)),
        ("[]", False, set(TRUE)),
    ],
)
def test_an_object_is_judged_field_by_field(output: str, is_valid: bool, wrong: set[str]) -> None:
    filled = judged(record_of(FIELDS, TRUE), schema_of(FIELDS), output, 1.0)
    assert filled.is_valid is is_valid
    assert {name for name, is_right in filled.right.items() if not is_right} == wrong


def test_the_table_counts_fields_objects_and_validity() -> None:
    record = record_of("total:number name:string", {"total": 3, "name": "Ann"})
    schema = schema_of(record.schema)
    done = [
        (record, judged(record, schema, output, took_ms))
        for output, took_ms in (('{"total":3,"name":"Ann"}', 10.0), ('{"total":4,"name":"Ann"}', 30.0), ("", 20.0))
    ]
    table = extraction.table_of(done)
    assert "valid by the schema: 2 of 3" in table
    assert "p50 20.0, p95 30.0" in table
    lines = {tuple(line.split()[:2]): line for line in table.splitlines()}
    assert "1 of 3" in lines[("number", "total")]
    assert "2 of 3" in lines[("string", "name")]
    assert "1 of 3" in lines[("(whole", "objects)")]
