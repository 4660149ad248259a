"""What the reader of fields is given: every token of a text once, fields with their options, values at their tokens."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.support.pieces import decode_ids, open_pieces
from tidegate.services.knowledge.extraction.field_windows import (
    MOST_OPTIONS,
    ROOM,
    cut_text,
    encode_field,
    options_of,
    pack,
    plan_readings,
)
from tidegate.services.knowledge.extraction.schema import Field, Schema
from tidegate.services.knowledge.reader.windows import Encode

LONG = " ".join(f"Zeile {n}: Müller & Söhne zahlten 1.{n:03d},50 € am {n % 28 + 1}. März." for n in range(60))


@pytest.fixture
def encode() -> Encode:
    return open_pieces().encode


def fields_of(**properties: object) -> tuple[Field, ...]:
    return Schema(json.dumps({"properties": properties})).field.properties


def decoded(ids: tuple[int, ...], first: int, last: int) -> str:
    return decode_ids(ids[first : last + 1])


def test_every_token_of_a_text_is_scored_in_one_window_and_read_with_what_stands_around_it(encode: Encode) -> None:
    windows = cut_text(LONG, encode)
    assert len(windows) > 2
    whole = encode(LONG)
    assert [each for window in windows for each in window.offsets] == list(whole.offsets)
    scored = [window.ids[window.first : window.first + len(window.offsets)] for window in windows]
    assert [token for part in scored for token in part] == list(whole.ids)
    assert all(len(window.offsets) <= ROOM for window in windows)
    assert windows[1].ids[windows[1].first - 1] == whole.ids[ROOM - 1]
    assert windows[0].ids[-2] in whole.ids[ROOM : 2 * ROOM]
    assert len(cut_text("", encode)) == 1


@pytest.mark.parametrize("words", ["1.031,50", "Müller & Söhne zahlten 1.059,50 € am 4. März", "Zeile"])
def test_a_value_is_found_at_the_tokens_that_say_it_in_one_window(encode: Encode, words: str) -> None:
    start = LONG.index(words)
    span = start, start + len(words)
    found = [(window, tokens) for window in cut_text(LONG, encode) if (tokens := window.find(span))]
    window, (first, last) = found[0]
    assert decoded(window.ids, first, last).startswith(words)
    readings = [*plan_readings([encode_field(fields_of(value={})[0], encode)], [[span]], cut_text(LONG, encode))]
    assert [(each.window, len(each.pairs)) for each in readings] == [(window, 1)]
    fields = sum(len(each.ids) for each in readings[0].asked)
    assert readings[0].pairs[0].tokens == (fields + first, fields + last)


def test_a_field_is_asked_by_the_names_that_lead_to_it_with_its_options(encode: Encode) -> None:
    nested = {"type": "object", "properties": {"paymentTerm_days": {"type": "integer", "description": "Until when"}}}
    (order,) = fields_of(deliveryOrder=nested)
    asked = encode_field(order.properties[0], encode)
    assert decoded(asked.ids, 1, len(asked.ids) - 2) == "query: delivery order payment term days. Until when"
    bare = encode_field(order.properties[0], encode, is_bare=True)
    assert decoded(bare.ids, 1, len(bare.ids) - 2) == "query: delivery order payment term days"
    urgent, kind = fields_of(urgent={"type": "boolean"}, kind={"enum": ["wrong_item", "late"]})
    for field, options in ((urgent, ["true", "false"]), (kind, ["wrong item", "late"])):
        asked = encode_field(field, encode)
        assert [decoded(asked.ids, *tokens) for tokens in asked.options] == options
    assert options_of(fields_of(many={"enum": [str(n) for n in range(MOST_OPTIONS + 1)]})[0]) == ()


def test_each_field_is_read_by_itself_and_not_at_all_where_nothing_could_be_its_value(encode: Encode) -> None:
    text = "Order 7 for Ada Moss"
    asked = [encode_field(each, encode) for each in fields_of(**{f"number_of_things_{n}": {} for n in range(3)})]
    readings = [*plan_readings(asked, [[(6, 7), (12, 20)], [], [(0, 5)]], cut_text(text, encode))]
    assert [(reading.fields, reading.asked, len(reading.pairs)) for reading in readings] == [
        ((0,), (asked[0],), 2),
        ((2,), (asked[2],), 1),
    ]


def test_the_graph_is_given_means_over_the_tokens_of_each_field_and_each_value(encode: Encode) -> None:
    (kind,) = fields_of(kind={"enum": ["late", "wrong_item"]})
    asked = [encode_field(kind, encode)]
    (reading,) = plan_readings(asked, [[(6, 7), (12, 20), (6, 7)]], cut_text("Order 7 for Ada Moss", encode))
    states = [np.full((len(asked[0].ids), 4), 1, np.float16)]
    window = np.arange(4 * len(reading.window.ids), dtype=np.float16).reshape(-1, 4)
    given = pack(reading, states, window)
    joined = given["states"][0]
    np.testing.assert_array_equal(joined, np.concatenate([*states, window]))
    np.testing.assert_allclose(given["asking"] @ joined, [[1] * 4], rtol=1e-5)
    assert given["parts"][0].tolist() == [0] * sum(len(each.ids) for each in asked) + [1] * len(window)
    assert given["pair_fields"].tolist() == [0] * 5
    assert len(given["starts"]) == 4  # the same characters are one place
    for pair, row in zip(reading.pairs, given["pair_spans"], strict=True):
        first, last = pair.tokens
        assert (given["starts"][row], given["ends"][row]) == pair.tokens
        np.testing.assert_allclose(given["pooling"][row] @ joined, joined[first : last + 1].mean(0), rtol=1e-5)
