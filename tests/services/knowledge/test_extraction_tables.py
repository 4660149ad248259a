"""Tables of aligned columns, read by their headings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.services.knowledge.extraction import tables
from tidegate.services.knowledge.extraction.extraction import extract

INVOICE = """Tischlerei Hölzl, RECHNUNG 2026/0117
Pos  Bezeichnung                 Menge   Einzel      Gesamt
1    Sitzbank Zirbe, 1,80 m      4       612,00      2.448,00
2    Eckverbindung               2       85,50       171,00
                    Zwischensumme netto              2.619,00
Zahlbar bis 12. Februar 2026 ohne Abzug."""
NOTE = """Item                 Ordered   Sent   To follow
Rye flour 25 kg         60      58       2
Oat bran 10 kg          12       0      12

Pallets: 2"""
CHANGES = """from Mon 4 May 2026
             old     new
Grease 400 g     6.95     7.40
Grease 18 kg   138.00   144.50
All prices in EUR."""
READINGS = """Lot   Compteur      Ancien index   Nouvel index
A01   C-77120            412            447
B02   C-77311       absent, non relevé
Remarque : lot B02 inoccupé."""
DATED = """Titel                                   Fällig war    Gebühr
Das Salz der Ebene                      26.10.2026    3,00
Brot ohne Hefe                          02.11.2026    2,00
Mahngebühr bisher                                     5,00"""


def rows(**kinds: Any) -> str:
    items = {"type": "object", "properties": kinds, "required": list(kinds), "additionalProperties": False}
    return json.dumps(
        {"type": "object", "properties": {"rows": {"type": "array", "items": items}}, "required": ["rows"]}
    )


TEXT, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
DATE = {"type": "string", "format": "date"}


@pytest.mark.parametrize(
    ("text", "language", "schema", "found"),
    [
        (
            INVOICE,
            "de",
            rows(bezeichnung=TEXT, menge=INTEGER, gesamt=NUMBER),
            [
                {"bezeichnung": "Sitzbank Zirbe, 1,80 m", "menge": 4, "gesamt": 2448},
                {"bezeichnung": "Eckverbindung", "menge": 2, "gesamt": 171},
            ],
        ),
        (
            NOTE,
            "en",
            rows(sent=INTEGER, item=TEXT),
            [{"sent": 58, "item": "Rye flour 25 kg"}, {"sent": 0, "item": "Oat bran 10 kg"}],
        ),
        (
            CHANGES,
            "en",
            rows(product=TEXT, old=NUMBER, new=NUMBER),
            [
                {"product": "Grease 400 g", "old": 6.95, "new": 7.4},
                {"product": "Grease 18 kg", "old": 138, "new": 144.5},
            ],
        ),
        (
            READINGS,
            "fr",
            rows(lot=TEXT, compteur=TEXT, nouvel_index={"type": ["integer", "null"]}),
            [
                {"lot": "A01", "compteur": "C-77120", "nouvel_index": 447},
                {"lot": "B02", "compteur": "C-77311", "nouvel_index": None},
            ],
        ),
        (
            DATED,
            "de",
            rows(titel=TEXT, faellig=DATE, gebuehr=NUMBER),
            [
                {"titel": "Das Salz der Ebene", "faellig": "2026-10-26", "gebuehr": 3},
                {"titel": "Brot ohne Hefe", "faellig": "2026-11-02", "gebuehr": 2},
            ],
        ),
    ],
)
def test_rows_are_read_by_the_headings_above_them(text: str, language: str, schema: str, found: list[Any]) -> None:
    answer = extract(text, schema, language)
    (field,) = answer.fields
    assert field.value == found
    assert (
        text[field.start : field.end].startswith(str(next(iter(found[0].values()))).split()[0][:3]) or field.start > 0
    )


def test_prose_is_no_table() -> None:
    text = "Item and quantity follow.  We need them soon,  please call.\nThe van comes at 9."
    answer = extract(text, rows(item=TEXT, quantity=INTEGER), "en")
    assert not any(check.name == "schema" and check.passed for check in answer.checks)


def test_a_receipt_is_read_to_its_first_sum_and_by_whole_names() -> None:
    text = (
        'Thank you for shopping at Nettle! Order 5520-31\nBookcase "Tarn", oak          £420.00\n'
        '2 Lamp "Pip", 3-way           £65.00\nDelivery (kerbside)            £35.00\nTo pay    £520.00'
    )
    answer = extract(text, rows(name=TEXT, price=NUMBER), "en")
    assert answer.fields[0].value == [
        {"name": 'Bookcase "Tarn", oak', "price": 420},
        {"name": 'Lamp "Pip", 3-way', "price": 65},
    ]


def test_rows_stand_one_behind_the_other_and_are_named_by_what_stands_before_a_colon() -> None:
    text = "Recibido 04/08/2026\nMelocotón: 60 pedidas, 58 recibidas\nCiruela: 40 pedidas, 38 recibidas\nFirma: Egea"
    answer = extract(text, rows(producto=TEXT, pedidas=INTEGER, recibidas=INTEGER), "es")
    assert answer.fields[0].value == [
        {"producto": "Melocotón", "pedidas": 60, "recibidas": 58},
        {"producto": "Ciruela", "pedidas": 40, "recibidas": 38},
    ]


def test_of_several_columns_none_is_sure_for_the_name_of_the_row_alone() -> None:
    properties = {"new_quantities": {"type": "object", "properties": {"croissant": INTEGER}, "required": ["croissant"]}}
    schema = json.dumps({"type": "object", "properties": properties, "required": ["new_quantities"]})
    answer = extract("              was   now\ncroissant     30    24\nrye bread      6    10", schema, "en")
    assert not any(check.name == "schema" and check.passed for check in answer.checks)
    sure = extract("croissant     30\nrye bread      6", schema, "en")
    assert json.loads(sure.text) == {"new_quantities": {"croissant": 30}}


def test_every_field_gets_a_column_of_its_own_the_fittest_way_first() -> None:
    fits = [[0.9, 0.8, 0.0], [1.0, 0.1, 0.0], [0.0, 0.0, 0.2]]
    ways = tables._best_columns(fits, 3)
    assert ways[0] == (1, 0, 2)
    assert all(len(set(way)) == 3 for way in ways)
