"""Tables with two rows of names, as HTML, Word and Excel have them, and what only looks like one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.office_files import excel, word
from tidegate.services.knowledge.ingest.heading_rows import CellSpan, join_heading_rows
from tidegate.services.knowledge.ingest.html import read_html
from tidegate.services.knowledge.ingest.parts import looks_like_header
from tidegate.services.knowledge.ingest.word import read_word
from tidegate.services.knowledge.ingest.workbook import read_workbook

RENT = (
    ("Boat", "Rent", "", "Deposit"),
    ("Boat", "day", "week", "Deposit"),
    ("Canoe", "18", "90", "50"),
    ("Punt", "24", "", "80"),
)
JOINED = ("Boat", "Rent day", "Rent week", "Deposit")


def test_a_word_table_names_its_columns_by_both_rows() -> None:
    def fill(document: Any) -> None:
        table = document.add_table(rows=4, cols=4)
        for row, texts in zip(table.rows, RENT, strict=True):
            for cell, text in zip(row.cells, texts, strict=True):
                cell.text = text
        for first, last in (((0, 1), (0, 2)), ((0, 0), (1, 0)), ((0, 3), (1, 3))):
            text = table.cell(*first).text
            table.cell(*first).merge(table.cell(*last)).text = text

    assert read_word(word(fill)).text.split("\n")[:3] == [
        "| Boat | Rent day | Rent week | Deposit |",
        "|---|---|---|---|",
        "| Canoe | 18 | 90 | 50 |",
    ]


def test_a_sheet_names_its_columns_by_both_rows_below_its_title() -> None:
    def fill(book: Any) -> None:
        sheet = book.active
        sheet.append(["Prices from May"])
        for row in RENT:
            sheet.append([int(cell) if cell.isdecimal() else cell or None for cell in row])
        sheet.merge_cells("A1:D1")
        sheet.merge_cells("B2:C2")

    assert read_workbook(excel(fill)).text.split("\n") == [
        "Prices from May",
        "",
        "| Boat | Rent day | Rent week | Deposit |",
        "|---|---|---|---|",
        "| Canoe | 18 | 90 | 50 |",
        "| Punt | 24 |  | 80 |",
    ]


def test_a_page_names_its_columns_by_both_rows() -> None:
    page = (
        b"<table><tr><th rowspan=2>Boat</th><th colspan=2>Rent</th></tr><tr><th>day</th><th>week</th></tr>"
        b"<tr><td>Canoe</td><td>18</td><td>90</td></tr></table>"
    )
    assert read_html(page).text == "| Boat | Rent day | Rent week |\n|---|---|---|\n| Canoe | 18 | 90 |"


@pytest.mark.parametrize(
    ("rows", "spans"),
    [
        (RENT, [CellSpan(0, 0, 3)]),  # a title over the whole table
        (RENT[:2], [CellSpan(0, 1, 2)]),  # nothing is named
        ((RENT[0], *RENT[2:]), [CellSpan(0, 1, 2)]),  # what it stands over are values
        ((("Name", "Contact", ""), ("Ann", "kitchen", "mornings"), ("Bea", "office", "noon")), [CellSpan(0, 1, 2)]),
        ((("", "Contact", ""), ("Ann", "kitchen", "mornings"), ("Bea", "office", "noon")), [CellSpan(0, 1, 2)]),
        (
            (RENT[0], ("Boat", "18", "90", "Deposit"), RENT[2]),
            [CellSpan(0, 1, 2)],
        ),
        (RENT, []),
    ],
)
def test_what_is_not_two_rows_of_names_stays(rows: tuple[tuple[str, ...], ...], spans: list[CellSpan]) -> None:
    assert join_heading_rows(rows, spans) is None


def test_a_group_of_one_column_is_joined_where_another_name_spans_both_rows() -> None:
    rows = (("Ward", "Morning", "", "Evening"), ("Ward", "week", "weekend", "week"), ("Eyes", "8", "9", "17"))
    assert join_heading_rows(rows, [CellSpan(0, 1, 2)]) == ("Ward", "Morning week", "Morning weekend", "Evening week")


names = st.text("abcdefgh", min_size=1, max_size=6)


@given(st.lists(names, min_size=2, max_size=5, unique=True), names, names)
def test_every_name_says_its_group_and_its_own(below: list[str], group: str, own: str) -> None:
    top = [own, group, *[""] * (len(below) - 1)]
    body = [own, *["7"] * len(below)]
    joined = join_heading_rows([top, [own, *below], body], [CellSpan(0, 1, len(below))])
    assert joined is not None
    assert joined[0] == own
    assert all(set(name.split()) == {group, each} for name, each in zip(joined[1:], below, strict=True))


@pytest.mark.parametrize(
    ("rows", "is_header"),
    [
        ((("", "day", "week"), ("Canoe", "18", "90"), ("Punt", "24", "80")), True),
        ((("", "day", "week"), ("Canoe", "18", "90"), ("", "24", "80")), False),
        ((("", "closed", "open"), ("Canoe", "on request", "always")), False),
    ],
)
def test_the_corner_of_a_table_may_be_empty(rows: tuple[tuple[str, ...], ...], is_header: bool) -> None:
    assert looks_like_header(rows) is is_header
