"""Values come back whole, however the text is cut, and nothing is held back that cannot become a token."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.streaming.reidentify import TOKEN, Restorer, clear_end, outside, restored

IBAN, FOREIGN = "<IBAN_0a1b2c3d4e5f>", "<CARD_ffffffffffff>"
LONG = "<ABCDEFGHIJKLMNOP_0a1b2c3d4e5f>"
PARTS = st.sampled_from(["<", "<<IB", "IBAN", "_", "0a1b2c3d4e5f", ">", "a b", "\n", IBAN, FOREIGN, LONG, LONG[:-1]])
TEXT = st.lists(PARTS, max_size=10).map("".join)


def value(token: str) -> str:
    return {IBAN: 'DE02 "<IBAN_', LONG: "\\long"}.get(token, token)


@given(text=TEXT, cuts=st.lists(st.integers(0, 120), max_size=8), is_json=st.booleans())
def test_the_pieces_are_together_the_whole_restored(text: str, cuts: list[int], is_json: bool) -> None:
    restorer, told, start = Restorer(value, is_json=is_json), "", 0
    for end in [*sorted(cuts), len(text)]:
        told += restorer.feed(text[start:end])
        start = max(start, end)
        held = restorer.held
        assert not held or any(TOKEN.fullmatch(held + more) for more in endings(held))
    assert told + restorer.finish() == restored(text, value, is_json=is_json)


def endings(begun: str) -> list[str]:
    """Continuations, one of which makes a token of every beginning of one."""
    kind, _, digits = begun[1:].partition("_")
    rest = "0" * (12 - len(digits)) + ">"
    return [rest, "_" + "0" * 12 + ">", "AA"[: max(0, 2 - len(kind))] + "_" + "0" * 12 + ">"]


@pytest.mark.parametrize(
    ("text", "clear"),
    [
        ("a < b", 5),
        ("a <", 2),
        ("a <I", 2),
        ("a <i", 4),
        ("a <I_", 5),  # a kind has two letters
        ("a <IBAN_0a1b2c3d4e5", 2),
        ("a <IBAN_0a1b2c3d4e5f", 2),
        (f"a {IBAN}", 21),
        ("a <IBAN_0a1b2c3d4e5f0", 21),
        (LONG[:-1], 0),
        ("<<IBAN", 1),
        ("", 0),
    ],
)
def test_how_much_is_clear(text: str, clear: int) -> None:
    assert clear_end(text) == clear


@pytest.mark.parametrize(("end", "moved"), [(0, 0), (2, 2), (3, 21), (20, 21), (21, 21), (22, 40), (40, 40), (41, 41)])
def test_no_cut_goes_through_a_token(end: int, moved: int) -> None:
    assert outside(f"a {IBAN}{FOREIGN} b", end) == moved


def test_a_value_never_breaks_a_json_document_and_is_not_read_for_tokens_again() -> None:
    text = json.dumps([IBAN, LONG, FOREIGN])
    assert json.loads(restored(text, value, is_json=True)) == ['DE02 "<IBAN_', "\\long", FOREIGN]
    assert restored(IBAN, value) == 'DE02 "<IBAN_'
