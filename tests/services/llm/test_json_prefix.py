"""A text is stopped as soon as it can be no JSON object any more, and never before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.llm.constraints.json_prefix import JsonPrefix

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)
PIECES = st.lists(
    st.sampled_from(['{', '}', '[', ']', ',', ':', '"', '"a"', '\\', '\\u00e9', '1', '0', '-', '.', 'e', '+', 'true',
                     'nul', 'l', ' ', '\n', '\x01', 'x']),
    max_size=9,
)  # fmt: skip


@given(value=OBJECTS, indent=st.sampled_from([None, 2]), is_ascii=st.booleans(), size=st.integers(1, 5))
def test_no_beginning_of_an_object_is_refused_in_whatever_pieces_it_comes(
    value: dict[str, Any], indent: int | None, is_ascii: bool, size: int
) -> None:
    text, prefix = json.dumps(value, indent=indent, ensure_ascii=is_ascii), JsonPrefix()
    for start in range(0, len(text), size):
        assert not prefix.is_whole
        assert prefix.feed(text[start : start + size])
    assert prefix.is_whole
    assert prefix.feed(" \n")
    assert not prefix.feed("x")


@given(PIECES.map("".join))
def test_what_is_whole_is_an_object_and_what_is_an_object_is_whole(text: str) -> None:
    def is_object() -> bool:
        try:
            return isinstance(json.loads(text), dict)
        except ValueError:
            return False

    prefix = JsonPrefix()
    prefix.feed(text)
    assert prefix.is_whole is is_object()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("Sure! Here is", 1),
        ("```json", 1),
        ("[1]", 1),
        ('{"a": 1,}', 9),
        ('{"a": 01}', 8),
        ('{"a": 1.}', 9),
        ('{"a": 1 2}', 9),
        ('{"a" 1}', 6),
        ('{"a": tru]', 10),
        ('{"a": trux', 10),
        ('{"a": "\\x"}', 9),
        ('{"a": "\\u12g"}', 12),
        ('{"a": [1}', 9),
        ("{a: 1}", 2),
        ('{"a": "\n"}', 8),
    ],
)
def test_it_is_stopped_at_the_first_character_that_cannot_be(text: str, at: int) -> None:
    prefix = JsonPrefix()
    assert [prefix.feed(char) for char in text].index(False) + 1 == at
