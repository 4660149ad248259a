"""How names are given, how fields are named, and what says that there is nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.languages.extraction_words import fold


def fill(text: str, language: str, **properties: dict[str, Any]) -> Any:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return json.loads(extract(text, json.dumps(schema), language).text)


@pytest.mark.parametrize(
    ("text", "language", "name"),
    [
        ("Tenant: Mr Leo Varga", "en", "Leo Varga"),
        ("Tenant: Mr Varga", "en", "Mr Varga"),
        ("Tenant: Dr. Anna Berg", "en", "Dr. Anna Berg"),
        ("Tenant: Mr & Mrs Iqbal", "en", "Mr & Mrs Iqbal"),
        ("Tenant: Mme Corinne Abadie", "fr", "Corinne Abadie"),
        ("Tenant: D.ª Milagros Abellán", "es", "Milagros Abellán"),
        ("Tenant: Frau Olga Reimer", "de", "Olga Reimer"),
        ("Tenant: Frau Reimer", "de", "Frau Reimer"),
    ],
)
def test_a_whole_name_is_given_without_the_title_that_it_is_addressed_by(text: str, language: str, name: str) -> None:
    assert fill(text, language, tenant={"type": "string"}) == {"tenant": name}


@pytest.mark.parametrize(
    ("text", "language", "field"),
    [
        ("Aktenzeichen folgt.", "de", "aktenzeichen"),
        ("Firma: keine, privat.", "de", "firma"),
        ("Deuxième conducteur : aucun.", "fr", "deuxieme_conducteur"),
        ("PO number: to follow. Thanks, Ann", "en", "po_number"),
        ("Contacto: ninguno", "es", "contacto"),
    ],
)
def test_a_word_for_nothing_is_no_value(text: str, language: str, field: str) -> None:
    assert fill(text, language, **{field: {"type": ["string", "null"]}}) == {field: None}


def test_a_date_that_is_said_not_to_be_is_none() -> None:
    text = "Geprüft 02.06.2026 durch S. Arikan. Nächste Prüfung entfällt."
    dated = {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}
    assert fill(text, "de", naechste_pruefung=dated) == {"naechste_pruefung": None}


def test_an_umlaut_may_be_spelled_out_in_the_name_of_a_field() -> None:
    assert [fold(word) for word in ("Härter", "Größe", "antigüedad", "Überweisung")] == [
        *("haerter", "groesse", "antiguedad", "ueberweisung")
    ]
    text = "Harz 150 kg | Härter 60 kg | Öl 4 kg"
    found = fill(text, "de", haerter={"type": "number"}, oel={"type": "number"}, harz={"type": "number"})
    assert found == {"haerter": 60, "oel": 4, "harz": 150}


def test_what_is_deducted_is_given_as_the_amount_that_it_is() -> None:
    text = "Total 48.00\nDiscount: -9.60\nBalance: -38.40"
    found = fill(text, "en", discount={"type": "number"}, balance={"type": "number"})
    assert found == {"discount": 9.6, "balance": -38.4}


@pytest.mark.parametrize(
    ("text", "language", "part", "value"),
    [
        (
            "Room: [ ] Hall  [x] Library room  [ ] Kitchen",
            "en",
            {"enum": ["hall", "library_room", "kitchen"]},
            "library_room",
        ),
        ("Dauer: ☐ 6 Mon. ☒ 12 Mon.", "de", {"type": "integer", "enum": [6, 12]}, 12),
        ("Instrumento: ( ) piano  (x) violín  ( ) guitarra", "es", {"enum": ["guitarra", "violín", "piano"]}, "violín"),
    ],
)
def test_the_box_that_is_ticked_says_what_is_chosen(text: str, language: str, part: dict[str, Any], value: Any) -> None:
    name = {"en": "room", "de": "dauer", "es": "instrumento"}[language]
    assert fill(text, language, **{name: part}) == {name: value}


@pytest.mark.parametrize(("boxes", "value"), [("[x] yes [ ] no", True), ("[ ] yes [x] no", False)])
def test_a_ticked_yes_or_no_is_what_is_said(boxes: str, value: bool) -> None:
    assert fill(f"Visit needed {boxes}. Thanks.", "en", visit_needed={"type": "boolean"}) == {"visit_needed": value}


def test_a_code_is_given_without_the_word_for_number_before_it() -> None:
    assert fill("Serial: no. TD-66-10482, bought in May", "en", serial={"type": "string"}) == {"serial": "TD-66-10482"}


def test_days_that_are_chosen_come_in_the_order_of_a_week() -> None:
    options = {"type": "array", "items": {"enum": ["lundi", "mardi", "mercredi", "jeudi", "vendredi"]}}
    found = fill("Présence : jeudi, lundi et mardi.", "fr", presence=options)
    assert found == {"presence": ["lundi", "mardi", "jeudi"]}


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("Vehicle YN17 KFO, in 11,240 kg", "vehicle", "YN17 KFO"),
        ("Telefonnotiz 9.15 Uhr: Herr Dr. Cebulla, 0361 5550182, wegen Heizung", "telefon", "0361 5550182"),
        ("art. CK-300 to 77 Mead Road, Stroud GL5 1AA", "postcode", "GL5 1AA"),
        ("Temporary order TO-2026-19: bridge closed", "order", "TO-2026-19"),
    ],
)
def test_a_code_is_given_whole_and_of_the_kind_that_is_asked_for(text: str, field: str, value: str) -> None:
    assert fill(text, "de" if field == "telefon" else "en", **{field: {"type": "string"}}) == {field: value}


@pytest.mark.parametrize("part", [{"type": "string", "pattern": "^[A-Z]{3}$"}, {"type": "string"}])
def test_a_currency_is_one(part: dict[str, Any]) -> None:
    text = "Invoice HO-2209, currency USD, amount 18,340.00, CIF Felixstowe, NOT by DHL"
    assert fill(text, "en", currency=part) == {"currency": "USD"}
