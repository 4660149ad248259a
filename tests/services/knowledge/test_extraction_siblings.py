"""Kinds of input that were once answered wrongly, in other words, languages and shapes: right, or named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.extracting import with_and_without_the_reader  # noqa: F401
from tidegate.services.knowledge.extraction.extraction import extract

NUMBER, INTEGER, STRING, BOOLEAN = ({"type": kind} for kind in ("number", "integer", "string", "boolean"))
DATE = {"type": "string", "format": "date"}


def closed(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def rows(**properties: dict[str, Any]) -> dict[str, Any]:
    return closed(rows={"type": "array", "items": closed(**properties)})


ANSWERED: list[tuple[str, str, dict[str, Any], Any]] = [
    (
        "Nettobetrag: 80,00 EUR\nMwSt.: 15,20 EUR\nBruttobetrag: 95,20 EUR",
        "de",
        closed(brutto=NUMBER, netto=NUMBER),
        {"brutto": 95.2, "netto": 80},
    ),
    (
        "Sous-total : 40,00 €\nTVA : 8,00 €\nTotal : 48,00 €",
        "fr",
        closed(total=NUMBER, tva=NUMBER),
        {"total": 48, "tva": 8},
    ),
    (
        "Base imponible: 40,00\nIVA: 8,40\nTotal: 48,40",
        "es",
        closed(total=NUMBER, iva=NUMBER),
        {"total": 48.4, "iva": 8.4},
    ),
    ("Betrag: CHF 1'234.50", "de", closed(betrag=NUMBER), {"betrag": 1234.5}),
    ("Taux : 0,375", "fr", closed(taux=NUMBER), {"taux": 0.375}),
    ("Amount: 2.5 million", "en", closed(amount=NUMBER), {"amount": 2_500_000}),
    (
        "supplier: Dunn Brothers, Inc. town: Truro",
        "en",
        closed(supplier=STRING, town=STRING),
        {"supplier": "Dunn Brothers, Inc.", "town": "Truro"},
    ),
    ("Ship date: 12/25/2026", "en", closed(ship_date=DATE), {"ship_date": "2026-12-25"}),
    (
        "members:\nname: Ida, role: chair\nname: Per, role: cashier",
        "en",
        rows(name=STRING, role=STRING),
        {"rows": [{"name": "Ida", "role": "chair"}, {"name": "Per", "role": "cashier"}]},
    ),
    (
        "IBAN: FR76 3000 6000 0112 3456 7890 189",
        "fr",
        closed(iban={**STRING, "pattern": "^[A-Z]{2}[0-9]{2}[A-Z0-9 ]{11,30}$"}),
        {"iban": "FR76 3000 6000 0112 3456 7890 189"},
    ),
    ("apples; pears; plums", "en", {"type": "array", "items": STRING}, ["apples", "pears", "plums"]),
    ("Paid: no", "en", closed(paid=BOOLEAN), {"paid": False}),
    (
        "Priority: high",
        "en",
        closed(priority={"anyOf": [{"enum": ["low", "high"]}, {"type": "null"}]}),
        {"priority": "high"},
    ),
    (
        "SKU: AB-1234\nQty: 3",
        "en",
        closed(sku={**STRING, "pattern": "^[A-Z]{2}-\\d{4}$"}, qty=INTEGER),
        {"sku": "AB-1234", "qty": 3},
    ),
    (
        "Contact: info@shop.example\nStart: 2026-05-04T09:30:00Z",
        "en",
        closed(contact={**STRING, "format": "email"}, start={**STRING, "format": "date-time"}),
        {"contact": "info@shop.example", "start": "2026-05-04T09:30:00Z"},
    ),
]


@pytest.mark.parametrize(("text", "language", "schema", "value"), ANSWERED)
def test_what_is_labelled_is_answered_in_any_shape(
    text: str, language: str, schema: dict[str, Any], value: Any
) -> None:
    answer = extract(text, json.dumps(schema), language)
    assert json.loads(answer.text) == value
    assert all(check.passed for check in answer.checks)


@pytest.mark.parametrize(
    ("text", "language", "schema", "path"),
    [
        ("Lieferdatum: 31.11.2026", "de", closed(lieferdatum=DATE), "lieferdatum"),
        ("Due: 05/06/2026", "en", closed(due=DATE), "due"),
        (
            "Lea and Mo walked in the blue rain.",
            "en",
            closed(hex_code={**STRING, "description": "hex code"}),
            "hex_code",
        ),
    ],
)
def test_what_cannot_be_vouched_for_is_named(text: str, language: str, schema: dict[str, Any], path: str) -> None:
    answer = extract(text, json.dumps(schema), language)
    assert not all(check.passed for check in answer.checks)
    assert [field.path for field in answer.fields if field.problem] == [path]


def filled_rows(text: str, **properties: dict[str, Any]) -> Any:
    return json.loads(extract(text, json.dumps(rows(**properties)), "en").text).get("rows")


def test_a_row_has_characters_of_its_own_for_each_number() -> None:
    text = "Order 5500182\npos 10 pump kit 4 ea\npos 20 gasket 10 ea\nweek 18"
    assert filled_rows(text, pos=INTEGER, article=STRING, quantity=INTEGER) == [
        {"pos": 10, "article": "pump kit", "quantity": 4},
        {"pos": 20, "article": "gasket", "quantity": 10},
    ]


def test_the_last_letter_of_a_name_is_not_taken_for_times() -> None:
    names = [row["item"] for row in filled_rows("- 2 flux\n- 3 wax", item=STRING, qty=INTEGER)]
    assert names == ["flux", "wax"]


def test_a_remark_in_brackets_is_no_part_of_a_name() -> None:
    schema = closed(present={"type": "array", "items": STRING})
    answer = extract("Present: Ola Brandt (chair), Sunil Rao (notes)", json.dumps(schema), "en")
    assert json.loads(answer.text) == {"present": ["Ola Brandt", "Sunil Rao"]}


@pytest.mark.parametrize(
    ("text", "language", "options", "days"),
    [
        ("Collection days: Wednesdays and Fridays.", "en", ["Mon", "Tue", "Wed", "Thu", "Fri"], ["Wed", "Fri"]),
        ("Abholtage: dienstags und freitags", "de", ["Mo", "Di", "Mi", "Do", "Fr"], ["Di", "Fr"]),
        ("Jours : lundi, jeudi", "fr", ["lun", "mar", "mer", "jeu", "ven"], ["lun", "jeu"]),
    ],
)
def test_days_of_the_week_are_read_from_their_other_forms(
    text: str, language: str, options: list[str], days: list[str]
) -> None:
    schema = closed(days={"type": "array", "items": {"type": "string", "enum": options}})
    assert json.loads(extract(text, json.dumps(schema), language).text) == {"days": days}
