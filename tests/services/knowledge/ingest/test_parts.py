"""Whatever stands in a document is read back from its Markdown as it stood: no character of it becomes a mark."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate.services.knowledge.index.markdown import find_blocks, find_first_heading, split_cells, strip_markup
from tidegate.services.knowledge.ingest.parts import (
    HeadingPart,
    ItemPart,
    Part,
    TablePart,
    TextPart,
    looks_like_header,
    spans_of_pages,
    write_markdown,
)

TEXTS = st.text(st.sampled_from(list("ab 1#*_`<>[]()!|~&;\\^+-=.:/\n\t\"'{}$£")), min_size=1, max_size=30)


def one_line(text: str) -> str:
    """As it is read aloud; two asterisks are one."""
    return re.sub(r"\*+", "*", " ".join(text.split()))


@settings(deadline=None)
@given(TEXTS)
def test_a_paragraph_stays_one_and_keeps_its_words(text: str) -> None:
    written, _ = write_markdown([TextPart(text)])
    blocks = list(find_blocks(written))
    assert [block.kind for block in blocks] == ["paragraph"] * bool(one_line(text))
    assert [strip_markup(written[block.body : block.end]) for block in blocks] == [one_line(text)] * len(blocks)


@settings(deadline=None)
@given(TEXTS)
def test_a_heading_keeps_its_words(text: str) -> None:
    written, _ = write_markdown([HeadingPart(2, text)])
    assert find_first_heading(written) == one_line(text)


@settings(deadline=None)
@given(TEXTS)
def test_a_cell_keeps_its_words_and_its_column(text: str) -> None:
    written, _ = write_markdown([TablePart((("Service", "Fee"), ("card", text)), has_header=True)])
    rows = [written[block.start : block.end] for block in find_blocks(written) if block.kind == "row"]
    assert [split_cells(row) for row in rows] == [["card", one_line(text)]]


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4), st.integers(0, 3))
@example(["[ ] sign here", "[x] seen", "[X]\tpaid", "[ ]", "[x]y"], 0)
def test_items_stay_items_of_one_list(texts: list[str], number: int) -> None:
    written, _ = write_markdown(ItemPart(text, number) for text in texts)
    items = [block for block in find_blocks(written) if block.kind == "item"]
    assert [strip_markup(written[item.body : item.end]) for item in items] == list(filter(None, map(one_line, texts)))


def test_a_nested_item_without_a_parent_is_no_code() -> None:
    written, _ = write_markdown([TextPart("Bring:"), ItemPart("a pen", depth=3), ItemPart("a cap", depth=5)])
    assert [block.kind for block in find_blocks(written)] == ["paragraph", "item", "item"]


def test_a_page_begins_where_its_first_character_stands() -> None:
    parts: list[Part] = [
        TextPart("One."),
        TextPart("Half a \fsentence."),
        TablePart((("a", "b"), ("\fc", "d")), has_header=True),
    ]
    written, starts = write_markdown(parts)
    assert "\f" not in written
    assert [written[start:][:8] for start in starts] == ["sentence", "| c | d "]


def test_a_table_without_names_of_columns_has_an_empty_header() -> None:
    rows = (("Monthly fee", "£4"), ("Card", "£11"))
    assert not looks_like_header(rows)
    written, _ = write_markdown([TablePart(rows, has_header=False)])
    assert written.startswith("|  |  |\n|---|---|\n| Monthly fee | £4 |")


def test_years_may_be_names_of_columns() -> None:
    assert looks_like_header((("Rate", "2024", "2025"), ("Easy", "3 %", "4 %")))
    assert not looks_like_header((("Easy", "3 %", "4 %"), ("Fixed", "5 %", "6 %")))


def test_a_part_without_words_keeps_the_marks_of_the_pages_that_begin_in_it() -> None:
    parts: list[Part] = [
        TextPart("First."),
        TablePart((("\f", " "), ("", "")), has_header=False),
        TextPart("\f"),
        TextPart("Third."),
    ]
    text, starts = write_markdown(parts)
    assert text == "First.\n\nThird."
    assert [text[start:].strip() for start in starts] == ["Third.", "Third."]


def test_the_characters_of_pages_are_spans() -> None:
    starts = (10, 20, 20, 30)
    assert spans_of_pages((), starts, 40) == ()
    assert spans_of_pages((0,), starts, 40) == ((0, 10),)
    assert spans_of_pages((2, 1), starts, 40) == ((10, 20),), "the third page is empty"
    assert spans_of_pages((2,), starts, 40) == ()
    assert spans_of_pages((0, 1, 3, 4), starts, 40) == ((0, 40),), "an empty page parts nothing"
    assert spans_of_pages((0, 3), starts, 40) == ((0, 10), (20, 30))
    assert spans_of_pages((4, 5, 6), starts, 40) == ((30, 40),), "empty pages at the end have no start"
    assert spans_of_pages((0,), (), 40) == ((0, 40),)
