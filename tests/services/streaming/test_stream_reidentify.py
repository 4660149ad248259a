"""Values come back whole, however the text is cut, and nothing is held back that cannot become a token."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas import Cursor
from tidegate.services.streaming.events import pending_steps, render_event, split_step
from tidegate.services.streaming.log import AnswerLog
from tidegate.services.streaming.reidentify import reidentify_text

IBAN, FOREIGN = "<IBAN_0a1b2c3d4e5f>", "<CARD_ffffffffffff>"
LONG = "<ABCDEFGHIJKLMNOP_0a1b2c3d4e5f>"
PARTS = st.sampled_from(["<", "<<IB", "IBAN", "_", "0a1b2c3d4e5f", ">", "a b", "\n", IBAN, FOREIGN, LONG, LONG[:-1]])
TEXT = st.lists(PARTS, max_size=10).map("".join)


def value_of(token: str) -> str:
    return {IBAN: 'DE02 "<IBAN_', LONG: "\\long"}.get(token, token)


@given(text=TEXT, cuts=st.lists(st.integers(0, 120), max_size=8), limit=st.integers(1, 40), is_json=st.booleans())
def test_a_token_that_is_split_over_chunks_is_reidentified_whole(
    text: str, cuts: list[int], limit: int, is_json: bool
) -> None:
    log, cursor, shown = AnswerLog("r1", "kiosk"), Cursor(), ""
    for end in [*sorted(cuts), None]:
        for line in log.close(text) if end is None else log.commit(text[: max(end, log.committed)]):
            log = log.with_line(line)
        steps = pending_steps(log, cursor)
        while steps:
            piece, rest = split_step(steps.pop(0), limit)
            steps = [rest, *steps] if rest else steps
            shown += render_event(piece, log.text, value_of, is_json=is_json).text
            cursor = piece.cursor
            assert cursor.shown in boundaries(text)
    assert shown == reidentify_text(text, value_of, is_json=is_json)


def boundaries(text: str) -> set[int]:
    """Every offset but those inside one of the three tokens of these texts, found without the grammar."""
    inside = set[int]()
    for token in (IBAN, FOREIGN, LONG):
        start = text.find(token)
        while start >= 0:
            inside |= set(range(start + 1, start + len(token)))
            start = text.find(token, start + 1)
    return set(range(len(text) + 1)) - inside


def test_a_value_never_breaks_a_json_document_and_is_not_read_for_tokens_again() -> None:
    text = json.dumps([IBAN, LONG, FOREIGN])
    assert json.loads(reidentify_text(text, value_of, is_json=True)) == ['DE02 "<IBAN_', "\\long", FOREIGN]
    assert reidentify_text(IBAN, value_of) == 'DE02 "<IBAN_'
