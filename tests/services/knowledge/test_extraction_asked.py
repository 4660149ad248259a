"""Schemas as clients send them, over texts as people write them: right, or abstained from with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.extracting import with_and_without_the_reader  # noqa: F401
from tidegate.schemas import Answer
from tidegate.services.knowledge.extraction.dates import find_dates, find_times
from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.knowledge.extraction.find import TextValues
from tidegate.services.knowledge.extraction.numbers import parse_number
from tidegate.services.knowledge.extraction.schema import Schema, UnsupportedSchemaError

NUMBER, INTEGER, STRING = {"type": "number"}, {"type": "integer"}, {"type": "string"}
DATE = {"type": "string", "format": "date"}
PERSON = {
    "type": "object",
    "properties": {"name": STRING, "age": INTEGER},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def closed(**properties: dict[str, Any]) -> dict[str, Any]:
    """As `strict` asks for it: all required, nothing else."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def is_answered(answer: Answer) -> bool:
    return all(check.passed for check in answer.checks)


def problems(answer: Answer) -> dict[str, str]:
    return {field.path: field.problem for field in answer.fields if field.problem}


RIGHT_OR_NAMED: list[tuple[str, str, dict[str, Any], Any]] = [
    ("Subtotal: 10.00\nVAT: 2.00\nTotal: 12.00", "en", closed(total=NUMBER, vat=NUMBER), {"total": 12, "vat": 2}),
    ("Total: 12.00\nSubtotal: 10.00", "en", closed(total=NUMBER), {"total": 12}),
    ("Subtotal: 10.00\nTotal: 12.00", "en", closed(subtotal=NUMBER), {"subtotal": 10}),
    ("Zwischensumme: 10,00\nGesamt: 12,00", "de", closed(gesamt=NUMBER), {"gesamt": 12}),
    ("Amount: EUR 1\u00a0234,56", "en", closed(amount=NUMBER), {"amount": 1234.56}),
    ("Montant : 1 234,56 €", "fr", closed(montant=NUMBER), {"montant": 1234.56}),
    ("Rate: 0.125", "en", closed(rate=NUMBER), {"rate": 0.125}),
    ("Rate: 0,125", "en", closed(rate=NUMBER), {"rate": 0.125}),
    ("Wert: 3,141", "de", closed(wert=NUMBER), {"wert": 3.141}),
    ("Value: 3.141", "en", closed(value=NUMBER), {"value": 3.141}),
    ("Amount: 12.5k", "en", closed(amount=NUMBER), {"amount": 12500}),
    ("Amount: 1 million", "en", closed(amount=NUMBER), {"amount": 1_000_000}),
    (
        "I bought three caps for 36 pounds on 4 May 2026 in Falmouth.",
        "en",
        closed(quantity=INTEGER, total=NUMBER, date=DATE),
        {"quantity": 3, "total": 36, "date": "2026-05-04"},
    ),
    ("Ada and Tom met at the green fair.", "en", closed(color={**STRING, "description": "Color in hex format"}), None),
    (
        "company: Moor and Sons, Ltd. city: Falmouth",
        "en",
        closed(company=STRING, city=STRING),
        {"company": "Moor and Sons, Ltd.", "city": "Falmouth"},
    ),
    ("Shipment date: 31/12/2020.", "en", closed(shipment_date=DATE), {"shipment_date": "2020-12-31"}),
    ("Date: 30 February 2026", "en", closed(date=DATE), None),
    ("Datum: 30.02.2026", "de", closed(datum=DATE), None),
    ("Delivery: 03/04/2026", "en", closed(delivery=DATE), None),
    ("Livraison : 03/04/2026", "fr", closed(livraison=DATE), {"livraison": "2026-04-03"}),
    (
        "people:\nname: Anna, age: 23\nname: John, age: 34",
        "en",
        closed(people={"type": "array", "items": PERSON}),
        {"people": [{"name": "Anna", "age": 23}, {"name": "John", "age": 34}]},
    ),
    (
        "| name | age |\n|---|---|\n| Anna | 23 |\n| John | 34 |",
        "en",
        closed(people={"type": "array", "items": PERSON}),
        {"people": [{"name": "Anna", "age": 23}, {"name": "John", "age": 34}]},
    ),
    (
        "Refund to IBAN: DE89 3704 0044 0532 0130 00 please",
        "en",
        closed(iban={**STRING, "pattern": "^[A-Z]{2}[0-9]{2}[A-Z0-9 ]{11,30}$"}),
        {"iban": "DE89 3704 0044 0532 0130 00"},
    ),
    ("caps, scarves", "en", {"type": "array", "items": STRING}, ["caps", "scarves"]),
    (
        "Order 7 shipped",
        "en",
        closed(total={"anyOf": [NUMBER, {"type": "null"}], "description": "sum to pay, null if not said"}),
        {"total": None},
    ),
]


@pytest.mark.parametrize(("text", "language", "schema", "value"), RIGHT_OR_NAMED)
def test_a_value_is_right_or_the_field_is_named(text: str, language: str, schema: dict[str, Any], value: Any) -> None:
    answer = extract(text, json.dumps(schema), language)
    if is_answered(answer):
        assert json.loads(answer.text) == value
    else:
        assert problems(answer), "an abstention says which field it is for"


ANSWERED = [case for case in RIGHT_OR_NAMED if case[0].count(":") and case[3] is not None]


@pytest.mark.parametrize(("text", "language", "schema", "value"), ANSWERED)
def test_what_stands_behind_its_label_is_answered(text: str, language: str, schema: dict[str, Any], value: Any) -> None:
    answer = extract(text, json.dumps(schema), language)
    assert json.loads(answer.text) == value
    assert is_answered(answer), answer.fields


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ({"anyOf": [NUMBER, {"type": "null"}]}, 12),
        ({"oneOf": [{"type": "null"}, NUMBER]}, 12),
        ({"type": ["number", "null"]}, 12),
        ({"$ref": "#/$defs/money"}, 12),
        ({"allOf": [{"$ref": "#/$defs/money"}], "description": "the sum"}, 12),
        ({"anyOf": [{"$ref": "#/$defs/money"}, {"type": "null"}]}, 12),
        ({**NUMBER, "minimum": 11, "maximum": 13}, 12),
        ({**NUMBER, "maximum": 11}, None),
        ({**NUMBER, "multipleOf": 5}, None),
        ({"enum": [12, 13]}, 12),
        ({**STRING, "pattern": r"^\d\d$"}, "12"),
        ({**STRING, "maxLength": 2}, "12"),
    ],
)
def test_a_part_of_a_schema_is_kept_to(part: dict[str, Any], value: Any) -> None:
    schema = {**closed(total=part), "$defs": {"money": NUMBER}}
    answer = extract("Total: 12", json.dumps(schema), "en")
    found = json.loads(answer.text).get("total")
    assert found == value
    assert value is not None or not is_answered(answer)


def test_evidence_is_the_characters_that_say_the_value() -> None:
    text = "Reference: QX-2041\nTotal: £1,250.50"
    answer = extract(text, json.dumps(closed(reference=STRING, total=NUMBER)), "en")
    assert [(field.path, field.value, field.evidence) for field in answer.fields] == [
        ("reference", "QX-2041", "QX-2041"),
        ("total", 1250.5, "1,250.50"),
    ]
    for field in answer.fields:
        assert text[field.start : field.end] == field.evidence
        assert 0.5 < field.confidence <= 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Delivery possible: no", False),
        ("Delivery is not possible on Saturday.", False),
        ("Delivery is possible on Saturday.", True),
        ("Delivery possible: yes", True),
    ],
)
def test_a_denial_is_never_read_as_its_opposite(text: str, value: bool) -> None:
    answer = extract(text, json.dumps(closed(delivery_possible={"type": "boolean"})), "en")
    assert json.loads(answer.text)["delivery_possible"] is value


@pytest.mark.parametrize(
    ("schema", "code"),
    [
        (
            {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": NUMBER}}},
            "unsupported_additionalProperties",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "array", "prefixItems": [NUMBER]}}},
            "unsupported_prefixItems",
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"anyOf": [PERSON, {"type": "object", "properties": {"b": STRING}}]}},
            },
            "unsupported_anyOf",
        ),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "unsupported_items"),
    ],
)
def test_a_keyword_that_cannot_be_filled_is_named(schema: dict[str, Any], code: str) -> None:
    with pytest.raises(UnsupportedSchemaError) as raised:
        Schema(json.dumps(schema))
    assert raised.value.code == code
    assert [check.name for check in extract("a: 3", json.dumps(schema)).checks] == [f"schema_{code}"]


def test_a_vault_token_passes_the_rules_for_the_string_that_it_hides() -> None:
    schema = closed(
        iban={**STRING, "pattern": "^[A-Z]{2}[0-9]{2}"}, email={**STRING, "format": "email", "minLength": 60}
    )
    answer = extract("IBAN: <IBAN_0123456789ab>, e-mail: <EMAIL_0123456789ab>", json.dumps(schema), "en")
    assert json.loads(answer.text) == {"iban": "<IBAN_0123456789ab>", "email": "<EMAIL_0123456789ab>"}


def test_what_may_be_left_out_is_left_out_and_what_must_be_there_is_missing() -> None:
    schema = {"type": "object", "properties": {"total": NUMBER, "vat": {"type": "number", "maximum": 3}}}
    answer = extract("Total: 12", json.dumps({**schema, "required": ["total"]}), "en")
    assert json.loads(answer.text) == {"total": 12}
    assert not problems(answer)
    answer = extract("Total: 12", json.dumps({**schema, "required": ["total", "vat"]}), "en")
    assert problems(answer) == {"vat": "missing"}
    assert answer.confidence <= 0.3


@pytest.mark.parametrize(
    ("written", "language", "value"),
    [
        ("0,125", "en", 0.125),
        ("0.125", "de", 0.125),
        ("3.141", "en", 3.141),
        ("3,141", "de", 3.141),
        ("3.141", "de", 3141),
        ("12,500", "en", 12500),
        ("12.500", "es", 12500),
        ("1.234.567", "en", 1234567),
        ("1,23,45", "en", None),
        ("1 234,56", "en", 1234.56),
    ],
)
def test_one_mark_is_read_as_the_language_writes_it(written: str, language: str, value: float | None) -> None:
    assert parse_number(written, language) == value


@pytest.mark.parametrize(
    ("text", "language", "days"),
    [
        ("du lundi 8 au vendredi 12 juin 2026", "fr", ["2026-06-08", "2026-06-12"]),
        ("vom 14. Mai bis 3. Oktober 2027", "de", ["2027-05-14", "2027-10-03"]),
        ("el 20 de enero de 2026", "es", ["2026-01-20"]),
        ("October 5th, 2026", "en", ["2026-10-05"]),
        ("arriving 12 October 2026, leaving 15 October", "en", ["2026-10-12", "2026-10-15"]),
        ("31.04.2026, 2026-02-29 and 30 February 2026", "en", []),
        ("5/6/2026", "en", ["2026-06-05", "2026-05-06"]),
        ("5/6/2026", "de", ["2026-06-05"]),
    ],
)
def test_days_are_those_of_the_calendar(text: str, language: str, days: list[str]) -> None:
    assert [each.value for each in find_dates(text, language)] == days


def test_times_of_day_are_read_in_each_language() -> None:
    for text, language, times in (
        ("leaves 8.45, back 3.30pm", "en", ["08:45", "15:30"]),
        ("zwischen 13 und 15 Uhr", "de", ["13:00", "15:00"]),
        ("à 16 h 40", "fr", ["16:40"]),
        ("half past seven in the evening", "en", ["19:30"]),
        ("halb neun", "de", ["08:30"]),
    ):
        assert [each.value for each in find_times(text, language, [])] == times


def test_durations_and_words_are_numbers() -> None:
    assert {each.value for each in TextValues("Parada de 1 h 20 min", "es").numbers} >= {80}
    assert [each.value for each in TextValues("two hundred and twenty-four caps", "en").numbers] == [200, 24]
