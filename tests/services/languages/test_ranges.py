"""Ranges of numbers as people write them, and numbers that are none."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.languages.ranges import NumberRange, find_numbers, find_range


@pytest.mark.parametrize(
    ("text", "language", "inside", "outside"),
    [
        ("Kinder unter 6 Jahren", "de", (0, 5.5), (6,)),
        ("bis 2 Stunden", "de", (1, 2), (2.5,)),
        ("ab 65 Jahren", "de", (65, 80), (64,)),
        ("over 20 kg", "en", (20.5,), (20,)),
        ("65 and over", "en", (65, 90), (64,)),
        ("60+", "en", (60,), (59,)),
        ("2–5 kg", "en", (2, 3, 5), (1.9, 5.1)),
        ("de 3 a 11 años", "es", (3, 11), (2, 12)),
        ("moins de 15 ans", "fr", (14,), (15,)),
        ("da 10.001 a 20.000 €", "it", (10001, 15000, 20000), (10000, 20001)),
        ("bis 40 m²", "de", (40,), (41,)),
        ("41 bis 80 m2", "de", (41,), (40,)),
        ("até 2,5 m", "pt", (2.5,), (2.6,)),
        ("vanaf 12 jaar", "nl", (12,), (11,)),
        ("powyżej 20 kg", "pl", (21,), (20,)),
    ],
)
def test_a_range_holds_what_lies_in_it(
    text: str, language: str, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    found = find_range(text, language)
    assert found is not None
    assert all(map(found.holds, inside))
    assert not any(map(found.holds, outside))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Leiter 4 m", "de"),
        ("TR-0560", "es"),
        ("Adults", "en"),
        ("under 5 and over 65", "en"),  # two of them
        ("bolt M8, up to 5 kg", "en"),  # a range beside another number
        ("under 5", "sv"),  # a language that is not known here
    ],
)
def test_a_number_alone_is_no_range(text: str, language: str) -> None:
    assert find_range(text, language) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_span_holds_what_lies_between_its_ends(one: int, other: int, number: int) -> None:
    low, high = sorted((one, other))
    found = find_range(f"von {low:,} bis {high:,} €".replace(",", "."), "de")
    assert found == NumberRange(low, high, True, True, "€")
    assert found.holds(number) is (low <= number <= high)


def test_of_two_ladders_the_narrower_is_inside() -> None:
    wide, narrow = NumberRange(-inf, 5, True, True, ""), NumberRange(-inf, 2, True, True, "")
    assert narrow.is_inside(wide)
    assert not wide.is_inside(narrow)
    assert not wide.is_inside(wide)


def test_numbers_are_found_with_what_they_count() -> None:
    assert [(each.value, each.unit) for each in find_numbers("my son (8), for 2.500 € and 3 hours; the M8, 5x60")] == [
        (8, ""),
        (2500, "€"),
        (3, "hou"),
    ]
