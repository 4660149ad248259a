"""An extraction is judged fairly, field by field."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import pytest

from loadtests.bench import extraction
from loadtests.bench.extraction import fields_in, judged, kinds_of, schema_of


@dataclass
class Truth:
    schema: str
    text: str
    truth: dict[str, Any]


FIELDS = "total:number since:date? hazard:enum(very dry|wet)? open:boolean name:string"
TRUE = {"total": 3, "since": None, "hazard": "very dry", "open": True, "name": "Ann"}


def test_fields_become_a_schema_that_their_truth_satisfies() -> None:
    schema = schema_of(FIELDS)
    assert [*fields_in(FIELDS)][2] == "hazard:enum(very dry|wet)?"
    assert kinds_of(Truth(FIELDS, "", TRUE)) == {
        "total": "number", "since": "date", "hazard": "enum", "open": "boolean", "name": "string"
    }  # fmt: skip
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    assert validator.is_valid(TRUE)
    for name, wrong in {"total": None, "since": "2026-02-30", "hazard": "dry", "open": 1, "name": 3}.items():
        assert not validator.is_valid(TRUE | {name: wrong}), name
    assert not validator.is_valid({name: value for name, value in TRUE.items() if name != "since"})
    assert not validator.is_valid(TRUE | {"more": 1})


@pytest.mark.parametrize(
    ("said", "is_valid", "wrong"),
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
def test_an_object_is_judged_field_by_field(said: str, is_valid: bool, wrong: set[str]) -> None:
    filled = judged(Truth(FIELDS, "", TRUE), schema_of(FIELDS), said, 1.0)
    assert filled.is_valid is is_valid
    assert {name for name, is_right in filled.right.items() if not is_right} == wrong


def test_the_table_counts_fields_objects_and_validity() -> None:
    record = Truth("total:number name:string", "", {"total": 3, "name": "Ann"})
    schema = schema_of(record.schema)
    done = [
        (record, judged(record, schema, said, took_ms))
        for said, took_ms in (('{"total":3,"name":"Ann"}', 10.0), ('{"total":4,"name":"Ann"}', 30.0), ("", 20.0))
    ]
    table = extraction.table_of(done)
    assert "valid by the schema: 2 of 3" in table
    assert "p50 20.0, p95 30.0" in table
    lines = {tuple(line.split()[:2]): line for line in table.splitlines()}
    assert "1 of 3" in lines[("number", "total")]
    assert "2 of 3" in lines[("string", "name")]
    assert "1 of 3" in lines[("(whole", "objects)")]
