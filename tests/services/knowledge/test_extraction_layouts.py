"""Values in the layouts of letters, accounts and notes: magnitudes, signs, several labels in a line, bare lists."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.services.knowledge.test_extraction_asked import INTEGER, NUMBER, PERSON, STRING, closed, is_answered
from tests.support.extracting import with_and_without_the_reader  # noqa: F401
from tidegate.services.knowledge.extraction.extraction import extract, language_of

LIST = {"type": "array", "items": STRING}


def read(text: str, schema: dict[str, Any], language: str = "") -> Any:
    answer = extract(text, json.dumps(schema), language)
    assert is_answered(answer), answer.fields
    return json.loads(answer.text)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("Betrag: 1,2 Mio. €", "betrag", 1_200_000),
        ("Umsatz: 3 Mrd. Euro", "umsatz", 3_000_000_000),
        ("Budget: 20 Tsd. €", "budget", 20_000),
        ("Amount: £3m", "amount", 3_000_000),
        ("Amount: $2.5bn", "amount", 2_500_000_000),
        ("Amount: 2 millions", "amount", 2_000_000),
        ("Montant : 2 milliers d'euros", "montant", 2000),
        ("Montant : 3 M€", "montant", 3_000_000),
        ("Importe: 4 mil millones de euros", "importe", 4_000_000_000),
        ("Distance: 14 miles", "distance", 14),
        ("Length: 3 m", "length", 3),
        ("Durée : 20 mn", "durée", 20),
    ],
)
def test_a_number_is_as_large_as_the_word_behind_it_says(text: str, name: str, value: float) -> None:
    assert read(text, closed(**{name: NUMBER})) == {name: value}


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("Balance: -45.20", "balance", -45.2),
        ("Balance: −45.20", "balance", -45.2),
        ("Balance: (45.20)", "balance", -45.2),
        ("Saldo: 45,20-", "saldo", -45.2),
        ("Balance: £(45.20)", "balance", -45.2),
        ("Balance: 45.20", "balance", 45.2),
        ("Total: 12 (net)", "total", 12),
    ],
)
def test_a_sign_is_read_as_accounts_write_it(text: str, name: str, value: float) -> None:
    assert read(text, closed(**{name: NUMBER})) == {name: value}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("company: Smith, Jones & Partners city: Bath", {"company": "Smith, Jones & Partners", "city": "Bath"}),
        (
            "Company: ACME, Inc., Street: 4 Hill Rd, City: Bath",
            {"company": "ACME, Inc.", "street": "4 Hill Rd", "city": "Bath"},
        ),
        ("Name: Anna Quill, City: Bath", {"name": "Anna Quill", "city": "Bath"}),
    ],
)
def test_each_of_several_labels_in_a_line_has_its_whole_value(text: str, fields: dict[str, str]) -> None:
    assert read(text, closed(**dict.fromkeys(fields, STRING))) == fields


@pytest.mark.parametrize(
    ("text", "items", "value"),
    [
        ("caps, scarves", STRING, ["caps", "scarves"]),
        ("1. caps\n2. scarves", STRING, ["caps", "scarves"]),
        ("- caps\n- scarves\n- gloves", STRING, ["caps", "scarves", "gloves"]),
        ("Mützen, Schals und Handschuhe", STRING, ["Mützen", "Schals", "Handschuhe"]),
        ("3, 5, 8", INTEGER, [3, 5, 8]),
    ],
)
def test_a_text_that_is_nothing_but_a_list_is_one_surely(text: str, items: dict[str, Any], value: list[Any]) -> None:
    answer = extract(text, json.dumps({"type": "array", "items": items}))
    assert json.loads(answer.text) == value
    assert answer.confidence > 0.7


@pytest.mark.parametrize("text", ["We met on Tuesday, and then left.", "It rains. We stay, they go."])
def test_a_sentence_with_commas_is_no_list(text: str) -> None:
    assert not is_answered(extract(text, json.dumps(LIST)))


@pytest.mark.parametrize(
    "text", ["name: Anna\nage: 23\n\nname: John\nage: 34", "name: Anna, age: 23; name: John, age: 34"]
)
def test_objects_are_read_from_blocks_as_from_lines(text: str) -> None:
    people = [{"name": "Anna", "age": 23}, {"name": "John", "age": 34}]
    assert read(text, {"type": "array", "items": PERSON}) == people


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("Wert: 3,141", "en", "de"),
        ("Gewicht: 3,141 kg", "", "de"),
        ("Poids : 3,141 kg", "en", "fr"),
        ("Value: 3,141", "en", "en"),
        ("Total: 3,141", "es", "es"),
        ("Wert: 3,141. Please say so to all of our colleagues in London.", "en", "en"),
    ],
)
def test_a_few_words_are_in_the_language_that_has_them(text: str, language: str, found: str) -> None:
    assert language_of(text, language) == found
