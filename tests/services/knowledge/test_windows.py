"""The reader's windows: nothing is left unread, and every token knows its characters."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.knowledge.reader.windows import (
    AFTER,
    BEFORE,
    END,
    LEAD,
    ROOM,
    START,
    ReadableUnit,
    cut_windows,
    encode_question,
)


class WordEncoding(msgspec.Struct):
    ids: list[int]
    offsets: list[tuple[int, int]]


def encode(text: str) -> WordEncoding:
    """One token for each character but spaces, so that every token can be told."""
    places = [(number, number + 1) for number, letter in enumerate(text) if not letter.isspace()]
    return WordEncoding([ord(text[start]) for start, _ in places], places)


units = st.lists(
    st.builds(ReadableUnit, st.sampled_from(["", "Prices", "Opening hours"]), st.text("abc d", max_size=3 * ROOM)),
    max_size=8,
)


@given(units)
def test_every_token_of_every_unit_is_in_a_window_once(found: list[ReadableUnit]) -> None:
    windows = cut_windows("Title", found, encode)
    read: dict[int, list[int]] = {}
    for window in windows:
        assert (window.ids[0], window.ids[-1]) == (START, END)
        assert sum(piece.end - piece.start for piece in window.pieces) <= ROOM
        for piece in window.pieces:
            read.setdefault(piece.unit, []).extend(window.ids[piece.start : piece.end])
    for number, unit in enumerate(found):
        assert read[number] == (encode(unit.text).ids or [3])


@given(units)
def test_the_characters_of_a_token_are_those_that_it_was_made_of(found: list[ReadableUnit]) -> None:
    for window in cut_windows("Title", found, encode):
        for piece in window.pieces:
            if encode(found[piece.unit].text).ids:
                for token, (start, end) in zip(window.ids[piece.start : piece.end], piece.offsets, strict=True):
                    assert chr(token) == found[piece.unit].text[start:end]


def test_a_window_is_led_by_title_and_heading_and_sees_its_neighbours() -> None:
    found = [ReadableUnit("", "a" * ROOM), ReadableUnit("Prices", "b" * (ROOM - 1)), ReadableUnit("Hours", "c" * ROOM)]
    middle = "".join(map(chr, cut_windows("T", found, encode)[1].ids[1:-1]))
    assert middle == "passage:T›Prices:"[:LEAD] + "a" * BEFORE + "b" * (ROOM - 1) + "c" * AFTER


def test_a_new_heading_inside_a_window_is_read() -> None:
    found = [ReadableUnit("Prices", "one"), ReadableUnit("Hours", "two")]
    (window,) = cut_windows("T", found, encode)
    assert "".join(map(chr, window.ids[1:-1])) == "passage:T›Prices:oneHours:two"
    assert [piece.unit for piece in window.pieces] == [0, 1]


def test_a_long_question_is_read_from_its_beginning() -> None:
    ids = encode_question("x" * 500, encode)
    assert (len(ids), ids[0], ids[-1]) == (66, START, END)
