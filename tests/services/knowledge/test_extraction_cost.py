"""What a text costs grows with its length, not with the square of it: counted in calls, which no machine changes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidegate.services.knowledge.extraction.extraction import extract
from tidegate.services.knowledge.extraction.field_reader import FieldReader

TEXT, INTEGER = {"type": "string"}, {"type": "integer"}
ITEMS = {"item": TEXT, "quantity": INTEGER, "price": {"type": "number"}}
ROWS = {"rows": {"type": "array", "items": {"type": "object", "properties": ITEMS, "required": list(ITEMS)}}}
NUMBERS = {"numbers": {"type": "array", "items": INTEGER}}


@pytest.fixture(scope="module")
def reader() -> FieldReader:
    return FieldReader.load(Path(".models"))


def calls_of(work: Callable[[], object]) -> int:
    """How many functions, Python's and C's, `work` calls."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    ("fields", "text_of"),
    [
        (ROWS, lambda times: "Item   Quantity   Price\n" * times),
        (ROWS, lambda times: "Item   Quantity   Price\n" + "Lamp   2   12.50\n" * times),
        (NUMBERS, lambda times: "Numbers: " + ", ".join(str(number) for number in range(times))),
    ],
    ids=["headings", "rows", "numbers"],
)
def test_a_text_of_twice_the_length_costs_at_most_two_and_a_half_times_as_much(
    fields: dict[str, Any], text_of: Callable[[int], str], reader: FieldReader
) -> None:
    schema = json.dumps({"type": "object", "properties": fields, "required": list(fields)})
    extract(text_of(3), schema, "en", reader)  # what is made once is not counted

    def cost(times: int) -> int:
        return calls_of(lambda: extract(text_of(times), schema, "en", reader))

    once, twice = cost(500), cost(1000)
    assert twice <= 2.5 * once, f"{once} calls, then {twice}"
