"""Lists that the encoder reads item by item: which of what it scored are items."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tidegate.services.knowledge.extraction.field_reader import Odds
from tidegate.services.knowledge.extraction.filler import FilledField
from tidegate.services.knowledge.extraction.find import TextValues
from tidegate.services.knowledge.extraction.lists import LEAST, SPREAD, lists_of, read_list
from tidegate.services.knowledge.extraction.ranker import FieldRows, describe
from tidegate.services.knowledge.extraction.schema import Schema
from tidegate.services.knowledge.extraction.text_view import TextView

TEXT = "I cancel the white parasol and one lamp; the bench and Tom Reed's chair stay."


def asked(name: str = "removed", required: bool = True, **items: Any) -> tuple[Schema, FieldRows]:
    part = {"type": "array", "items": {"type": "string"}, **items}
    must = [name] if required else []
    schema = Schema(json.dumps({"type": "object", "properties": {name: part}, "required": must}))
    (query,) = lists_of(schema.field)
    return schema, describe(query, [], schema, TextValues(TEXT, "en"), TextView(TEXT))


def odds_of(described: FieldRows, **likely: float) -> Odds:
    names = [str(each.value).replace(" ", "_") for each in described.candidates]
    assert set(likely) <= set(names)
    return np.array([likely.get(name, -4.0) for name in names])


@pytest.mark.parametrize(
    ("likely", "items"),
    [
        ({"lamp": LEAST + 1, "white_parasol": LEAST + 2}, ["white parasol", "lamp"]),  # listed, as the text has them
        ({"lamp": -1.0, "white_parasol": LEAST + 2}, ["white parasol", "lamp"]),  # listed, though less likely
        ({"parasol": LEAST + 1, "white_parasol": LEAST + 2}, ["white parasol"]),  # the likelier of two that overlap
        ({"parasol": LEAST + 2, "bench": LEAST + 2 - SPREAD}, ["parasol", "bench"]),  # apart, and about as likely
        ({"parasol": LEAST + 2, "bench": LEAST + 1}, ["parasol"]),
        ({"parasol": LEAST + 2, "parasol_and_one_lamp": LEAST + 3}, ["parasol"]),  # two items are none
        ({"parasol": LEAST - 0.1}, None),
        ({}, None),
    ],
)
def test_items_are_what_is_about_as_likely_as_the_likeliest(likely: dict[str, float], items: list[str] | None) -> None:
    schema, described = asked()
    (field,) = schema.field.properties
    found = read_list(field, described, odds_of(described, **likely), schema, TEXT)
    assert (found.value if found else None) == items
    if found and items:
        assert TEXT[found.start : found.end].startswith(items[0])
        assert TEXT[found.start : found.end].endswith(items[-1])


def test_what_is_the_value_of_another_field_is_no_item() -> None:
    schema, described = asked()
    (field,) = schema.field.properties
    at = TEXT.index("parasol")
    own = odds_of(described, parasol=LEAST + 3, bench=LEAST + 1)
    for confidence, items in ((0.9, ["bench"]), (0.2, ["parasol"])):
        other = FilledField(field, "parasol", at, at + len("parasol"), confidence)
        found = read_list(field, described, own, schema, TEXT, [other])
        assert found is not None
        assert found.value == items


def test_a_list_that_the_schema_forbids_is_none() -> None:
    schema, described = asked(maxItems=1)
    (field,) = schema.field.properties
    both = odds_of(described, lamp=LEAST + 1, parasol=LEAST + 1)
    assert read_list(field, described, both, schema, TEXT) is None
    assert read_list(field, described, both[:0], schema, TEXT) is None


@pytest.mark.parametrize(
    ("name", "required", "is_read"), [("tags", True, True), ("tags", False, False), ("bench", False, True)]
)
def test_a_list_that_may_be_left_out_is_read_where_the_text_names_it(name: str, required: bool, is_read: bool) -> None:
    schema, described = asked(name, required)
    (field,) = schema.field.properties
    found = read_list(field, described, odds_of(described, lamp=LEAST + 1), schema, TEXT)
    assert (found is not None) == is_read


def test_lists_are_the_arrays_of_single_values_wherever_they_stand() -> None:
    text = {"type": "array", "items": {"type": "string"}, "description": "what goes"}
    rows = {"type": "array", "items": {"type": "object", "properties": {"a": {}}}}
    nested = {"type": "object", "properties": {"days": {"type": "array", "items": {"enum": ["Mon", "Tue"]}}}}
    schema = Schema(json.dumps({"type": "object", "properties": {"gone": text, "rows": rows, "week": nested, "n": {}}}))
    found = lists_of(schema.field)
    assert [(each.field.path, each.family) for each in found] == [("gone", "string"), ("week.days", "enum")]
    assert found[0].field.description == "what goes"
