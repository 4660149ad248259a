"""Headings, titles and labelled lines of plain text, and what only looks like them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.knowledge.ingest.plain_headings import mark_headings
from tidegate.services.knowledge.ingest.text import read_text

RULES = """RULES OF THE ROWING CLUB

1. Boats
Boats are booked at the desk. Whoever comes back late pays for
each hour that has begun.

Opening hours
Tuesday to Friday: 2 pm - 8 pm
Saturday: 9 am - 1 pm
Monday: closed

Keys
- The boathouse key hangs in the office.
- The gate has no key.
"""
MARKED = """# RULES OF THE ROWING CLUB

## 1. Boats

Boats are booked at the desk. Whoever comes back late pays for
each hour that has begun.

## Opening hours

- Tuesday to Friday: 2 pm - 8 pm
- Saturday: 9 am - 1 pm
- Monday: closed

## Keys

- The boathouse key hangs in the office.
- The gate has no key."""


def test_headings_and_lines_of_labels_are_marked() -> None:
    assert read_text(RULES.replace("\n", "\r\n").encode("latin-1")).text == MARKED


@pytest.mark.parametrize(
    "text",
    [
        "Whoever comes back\nlate pays for each hour that has begun.",  # a sentence that goes on
        "Members of the rowing club at Great\nHarbour pay half of the price.\nBoats are booked at the desk and\n"
        "nowhere else.",  # a capital where the line had to end
        "Rowing club\n12 Quay Street\nHarbourtown",  # an address
        "1. Take the key\n2. Open the gate",
        "1. Take the key from the board\n   Behind the desk.",
        "Bring along:\n- a towel\n- a key",
        "Saturday: 9 am - 1 pm",  # one line is no list
        "Note: boats are booked at the desk, and whoever comes back\nlate pays: each hour costs four.",
        "Call 555 1234\nThe desk is open all day.",
    ],
)
def test_what_only_looks_like_a_heading_stays(text: str) -> None:
    assert mark_headings(text, has_title=False) == text


@pytest.mark.parametrize(
    ("text", "has_title", "is_marked"),
    [
        ("Price list\n\nA boat costs 4.", True, True),
        ("Price list\n\nA boat costs 4.", False, False),
        ("Price list", True, False),
        ("A boat costs 4.\n\nA canoe costs 3.", True, False),
        ("- a boat\n\nA canoe costs 3.", True, False),
    ],
)
def test_a_line_above_all_others_is_the_title(text: str, has_title: bool, is_marked: bool) -> None:
    assert mark_headings(text, has_title=has_title).startswith("# ") is is_marked


def test_columns_kept_apart_by_blanks_are_labels_and_values() -> None:
    assert mark_headings("Monday     8 to 12\nTuesday\t9 to 12", has_title=False) == (
        "- Monday     8 to 12\n- Tuesday\t9 to 12"
    )


@given(st.text("Ab1. :\n-", max_size=80), st.booleans())
def test_no_word_is_lost_and_none_is_added(text: str, has_title: bool) -> None:
    marked = re.sub(r"(?m)^(?:##? |- )", "", mark_headings(text, has_title=has_title))
    assert marked.split() == re.sub(r"(?m)^- ", "", text).split()
