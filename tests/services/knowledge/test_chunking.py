"""A document in pieces: exact spans, whole sentences, rows with their header."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.corpus import FEES, STUNDEN
from tidegate.services.knowledge.index.chunking import MOST_WORDS, cut_into_chunks, render_unit

WORDS = st.text(alphabet="abcdeÄöß019.,!?|-*# \t:", min_size=0, max_size=40)
LINES = st.one_of(
    WORDS,
    st.sampled_from(
        ["", "# One", "## Two › three", "- item. One", "1. first", "| a | b |", "|---|---|", "Intro:", "\u2028"]
    ),
    st.integers(1, 300).map(lambda count: " ".join(["word"] * count)),
)
DOCUMENTS = st.lists(LINES, max_size=30).map("\n".join)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(DOCUMENTS)
def test_a_passage_is_exactly_the_characters_that_its_span_names_in_order_and_apart(text: str) -> None:
    last = 0
    for chunk in cut_into_chunks(text):
        assert last <= chunk.start < chunk.end <= len(text)
        assert text[chunk.start : chunk.end].strip() == text[chunk.start : chunk.end]
        inside = chunk.start
        for unit in chunk.units:
            assert inside <= unit.start < unit.end <= chunk.end
            assert render_unit(text, unit) or unit.kind == "row"
            assert all(0 <= start < end <= len(text) for start, end in unit.context)
            inside = unit.end
        last = chunk.end


@settings(max_examples=200, derandomize=True, deadline=None)
@given(DOCUMENTS)
@example("0\n\nIntro:\n-")
def test_every_word_that_is_no_heading_or_table_rule_is_in_a_passage(text: str) -> None:
    found = cut_into_chunks(text)
    for match in re.finditer(r"word|item|first|Intro", text):
        line = text[text.rfind("\n", 0, match.start()) + 1 :].split("\n", 1)[0]
        after = text[match.end() :].split("\n\n", 1)[0]
        is_heading = re.match(r"\s{0,3}#", line) or re.search(r"^\s{0,3}[-=]+\s*$", after, re.MULTILINE)
        if not is_heading:
            assert any(chunk.start <= match.start() and match.end() <= chunk.end for chunk in found)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(DOCUMENTS)
def test_no_passage_is_much_longer_than_promised(text: str) -> None:
    for chunk in cut_into_chunks(text):
        assert len(text[chunk.start : chunk.end].split()) <= 3 * MOST_WORDS


def test_a_row_is_said_with_the_words_of_its_header() -> None:
    stated = [render_unit(FEES, unit) for chunk in cut_into_chunks(FEES) for unit in chunk.units if unit.kind == "row"]
    assert stated == [
        "Banker's draft – Fee: £12; Paid: at once",
        "Replacement card after loss – Fee: £6; Paid: with the next statement",
    ]


def test_an_item_is_kept_with_its_intro_and_its_continuation() -> None:
    items = [
        (render_unit(FEES, unit), unit.context)
        for chunk in cut_into_chunks(FEES)
        for unit in chunk.units
        if unit.kind == "item"
    ]
    assert [stated for stated, _ in items] == [
        "a passport or an identity card",
        "proof of your address that is not older than three months",
    ]
    assert all(FEES[slice(*context[0])] == "To open an account you bring:" for _, context in items)


def test_a_sentence_does_not_end_at_an_abbreviation_or_an_ordinal() -> None:
    stated = [render_unit(STUNDEN, unit) for chunk in cut_into_chunks(STUNDEN) for unit in chunk.units]
    assert stated[1] == "Am 1. Januar bleibt sie geschlossen."
    assert any("e.g. in the app" in render_unit(FEES, unit) for chunk in cut_into_chunks(FEES) for unit in chunk.units)


def test_a_passage_never_crosses_a_heading() -> None:
    assert [chunk.heading for chunk in cut_into_chunks(FEES)] == [
        "Fees",
        "Fees › When fees are taken",
        "Fees › What you need",
    ]
