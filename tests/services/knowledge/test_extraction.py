"""Extraction: a schema is filled from what the text says, and with nothing else."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.extracting import with_and_without_the_reader  # noqa: F401
from tidegate.schemas import Answer
from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.knowledge.extraction.numbers import parse_number

LETTER = """Dear team,
Reference: QX-2041
Account type: joint account
I lost my card on 3 March 2026 in Leeds. The amount is £1,250.50, taken in 3 payments.
Please write to <EMAIL_3f9c2a71b04d> or call <PHONE_0a1b2c3d4e5f>. Urgent: yes
Services: online banking, travel money
"""


UNSURE = frozenset({"wanted"})
"""What the text names without a word that says so: found, and not vouched for."""


def fill(text: str, properties: dict[str, Any], *required: str, **more: Any) -> tuple[dict[str, Any], Answer]:
    schema = {"type": "object", "properties": properties, "required": list(required), **more}
    answer = extract(text, json.dumps(schema), "en")
    return json.loads(answer.text), answer


def passed(answer: Answer, name: str = "schema") -> bool:
    return next(check.passed for check in answer.checks if check.name == name)


@pytest.mark.parametrize(
    ("name", "part", "value"),
    [
        ("reference", {"type": "string"}, "QX-2041"),
        ("reference_number", {"type": "string", "pattern": "^[A-Z]{2}-\\d{4}$"}, "QX-2041"),
        ("accountType", {"type": "string"}, "joint account"),
        ("kind", {"enum": ["savings account", "joint account"]}, "joint account"),
        ("date", {"type": "string", "format": "date"}, "2026-03-03"),
        ("amount", {"type": "number"}, 1250.5),
        ("payments", {"type": "integer"}, 3),
        ("email", {"type": "string", "format": "email"}, "<EMAIL_3f9c2a71b04d>"),
        ("phone", {"type": "string"}, "<PHONE_0a1b2c3d4e5f>"),
        ("urgent", {"type": "boolean"}, True),
        ("services", {"type": "array", "items": {"type": "string"}}, ["online banking", "travel money"]),
        ("wanted", {"type": "array", "items": {"enum": ["travel money", "loan"]}}, ["travel money"]),
        ("case", {"type": "object", "properties": {"reference": {"type": "string"}}}, {"reference": "QX-2041"}),
        ("reference", {"$ref": "#/$defs/reference"}, "QX-2041"),
        ("iban", {"type": "string"}, None),
        ("weight", {"enum": ["heavy", "light"]}, None),
    ],
)
def test_a_property_takes_the_value_that_the_text_says(name: str, part: dict[str, Any], value: object) -> None:
    found, answer = fill(LETTER, {name: part}, **{"$defs": {"reference": {"type": "string"}}})
    assert found.get(name) == value
    assert answer.format == "json"
    assert passed(answer) is (value is not None and name not in UNSURE)


def test_a_filled_schema_is_sure_and_one_with_something_missing_is_not() -> None:
    found, answer = fill(LETTER, {"reference": {"type": "string"}, "amount": {"type": "number"}}, "reference", "amount")
    assert found == {"reference": "QX-2041", "amount": 1250.5}
    assert answer.confidence >= 0.8
    found, answer = fill(LETTER, {"reference": {"type": "string"}, "iban": {"type": "string"}}, "reference", "iban")
    assert found == {"reference": "QX-2041"}
    assert answer.confidence <= 0.3
    assert not passed(answer)


def test_two_properties_never_take_the_same_words() -> None:
    found, _ = fill("Total: 12\nCount: 40", {"total": {"type": "integer"}, "count": {"type": "integer"}})
    assert found == {"total": 12, "count": 40}
    found, _ = fill("Total: 12", {"total": {"type": "integer"}, "sum": {"type": "integer"}})
    assert found == {"total": 12}


def test_a_value_that_the_schema_forbids_is_not_taken() -> None:
    found, _ = fill("Age: 230", {"age": {"type": "integer", "maximum": 150}})
    assert found == {}


@pytest.mark.parametrize(
    ("schema", "code"),
    [
        ("{", "not_json"),
        ("[]", "not_an_object"),
        ("", "not_json"),
        ('{"type": "object"}', "no_properties"),
        ('{"type": "nonsense", "properties": {"a": {}}}', "invalid"),
        ('{"properties": {"a": {"$ref": "https://example.org/schema.json"}}}', "remote_reference"),
        ('{"properties": {"a": {"$ref": "file:///etc/passwd"}}}', "remote_reference"),
        ('{"properties": {"a": {"pattern": "("}}}', "invalid"),
        ('{"properties": ' + '{"a": {"properties": ' * 40 + "{}" + "}}" * 40 + "}", "too_deep"),
    ],
)
def test_a_schema_that_cannot_be_filled_is_named_and_nothing_is_said(schema: str, code: str) -> None:
    answer = extract(LETTER, schema)
    assert (answer.text, answer.confidence) == ("", 0.0)
    assert [check.name for check in answer.checks] == [f"schema_{code}"]


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {"properties": {"reference": {"type": "string"}, "again": {"$ref": "#"}}}
    assert json.loads(extract(LETTER, json.dumps(schema)).text)["reference"] == "QX-2041"


def test_a_pattern_made_to_hang_a_backtracking_engine_does_not() -> None:
    began = time.process_time()
    extract("a" * 3000 + "!", json.dumps({"properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}))
    assert time.process_time() - began < 5.0


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.text(alphabet="aZ9 :.,\n<>_-é£", max_size=60), st.sampled_from(["name", "amount", "email", "date"]))
def test_whatever_the_text_every_string_in_the_answer_is_in_it(text: str, name: str) -> None:
    properties = {name: {"type": "string"}, "x": {"type": "string", "pattern": "^[a-z]+$"}, "n": {"type": "integer"}}
    answer = extract(text, json.dumps({"properties": properties}))
    for value in json.loads(answer.text).values():
        assert not isinstance(value, str) or value in text


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1,250.50", 1250.5),
        ("1.250,50", 1250.5),
        ("1 250,5", 1250.5),
        ("1'250.5", 1250.5),
        ("1,250", 1250),
        ("12,5", 12.5),
        ("0.5", 0.5),
        ("42", 42),
    ],
)
def test_a_number_is_read_in_either_convention(written: str, value: float) -> None:
    assert parse_number(written) == value


BOOKING = "Booking for <NAME_{0}>, two nights. Bill goes to <NAME_{1}>, <EMAIL_{2}>."
digests = st.lists(st.text("0123456789abcdef", min_size=12, max_size=12), min_size=3, max_size=3, unique=True)


@given(drawn=digests)
@settings(max_examples=6, deadline=None)
def test_the_digits_of_vault_tokens_change_no_field(drawn: list[str]) -> None:
    schema = json.dumps({"properties": {name: {"type": "string"} for name in ("guest", "payer", "email")}})

    def fields(digits: list[str]) -> list[tuple[str, object, str, int, float]]:
        answer = extract(BOOKING.format(*digits), schema, "en")
        names = dict(zip(digits, "abc", strict=True))
        assert all((each.evidence or None) == each.value for each in answer.fields)
        values = [each.value and f"{each.value[:-14]}_{names[each.value[-13:-1]]}>" for each in answer.fields]
        return [
            (f.path, value, f.problem, f.start, f.confidence) for f, value in zip(answer.fields, values, strict=True)
        ]

    assert fields(drawn) == fields(["00000000000a", "bbbbbbbbbbbb", "1c1c1c1c1c1c"])
