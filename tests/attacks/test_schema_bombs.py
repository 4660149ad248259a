"""JSON schemas that unfold to more than a machine has, or ask more of a text than a core does in a minute."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.knowledge.extraction.schema import MOST_FIELDS, MOST_WORK, Schema, UnsupportedSchemaError

WORD = {"type": "string"}


def unfolding(branches: int, **own: Any) -> str:
    """A schema of an object in which so many properties are the object again."""
    again = {f"p{number}": {"$ref": "#/$defs/node"} for number in range(branches)}
    node = {"type": "object", "properties": {**again, **own}}
    return json.dumps({"$ref": "#/$defs/node", "$defs": {"node": node}})


@pytest.mark.parametrize("branches", [3, 8, 64])
def test_references_that_multiply_are_refused_before_they_are_unfolded(branches: int) -> None:
    with pytest.raises(UnsupportedSchemaError) as refused:
        Schema(unfolding(branches))
    assert refused.value.code == "too_many_fields"
    [check] = extract("Ann", unfolding(branches), "en").checks
    assert (check.name, check.passed) == ("schema_too_many_fields", False)


def test_arrays_of_arrays_multiply_as_well() -> None:
    node = {"type": "object", "properties": {f"p{n}": {"type": "array", "items": {"$ref": "#"}} for n in range(20)}}
    with pytest.raises(UnsupportedSchemaError, match=str(MOST_FIELDS)):
        Schema(json.dumps(node))


def test_a_tree_with_two_branches_is_no_bomb() -> None:
    fields = Schema(unfolding(2, name=WORD)).field.properties
    assert {"p0", "p1", "name"} == {each.name for each in fields}


def test_more_fields_than_a_long_text_can_be_read_for_are_refused_at_once_and_of_a_short_one_filled() -> None:
    fields = {f"field{number}": WORD for number in range(64)}
    schema = json.dumps({"type": "object", "properties": fields})
    [check] = extract("Ann said so. " * 500, schema, "en").checks
    assert (check.name, check.passed) == ("schema_too_much", False)
    assert len("Ann said so.") * 65 < MOST_WORK
    assert extract("Ann said so.", schema, "en").checks[0].name == "schema"
