"""Every client gets the same answer, from wherever it was cut off, whatever it can do and whatever was lost."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.load.stream_client import Client
from tidegate.schemas import Cursor
from tidegate.services.streaming.events import (
    CursorAheadError,
    Event,
    StreamStep,
    log_of_answer,
    pending_steps,
    render_event,
    split_step,
)
from tidegate.services.streaming.log import AnswerLog
from tidegate.services.streaming.reidentify import reidentify_text

IBAN, NAME, FOREIGN = "<IBAN_0a1b2c3d4e5f>", "<NAME_000000000000>", "<CARD_ffffffffffff>"
VALUES = {IBAN: 'DE02 "1203"', NAME: "Ada"}
PARTS = st.lists(
    st.sampled_from(["a", "bb ", "<", "<IBAN", "<IBAN_0a1b", IBAN, NAME, FOREIGN, ".", "ä ", " "]), max_size=8
)
TEXT = PARTS.map("".join)


def steps_from_answer(text: str, cursor: Cursor) -> list[StreamStep]:
    return pending_steps(log_of_answer(text, cursor), cursor)


def value(token: str) -> str:
    return VALUES.get(token, token)


def log_of(text: str, committed: int, epoch: int = 0, kept: int = 0, is_closed: bool = False) -> AnswerLog:
    return AnswerLog("r1", "kiosk", text=text, committed=committed, epoch=epoch, kept=kept, is_closed=is_closed)


def summary(steps: list[StreamStep]) -> list[tuple[Any, ...]]:
    return [(step.state, step.epoch, step.offset, step.text, str(step.cursor)) for step in steps]


@pytest.mark.parametrize(
    ("log", "cursor", "steps"),
    [
        (log_of("", 0), "0.0.0", []),
        (log_of("One two", 0), "0.0.0", [("provisional", 0, 0, "One two", "0.7.0")]),
        (log_of("One two", 0), "0.7.0", []),
        (log_of("One two", 3), "0.0.0", [("committed", 0, 0, "One", "0.3.3"), ("provisional", 0, 3, " two", "0.7.3")]),
        (log_of("One two", 3), "0.7.0", [("committed", 0, 0, "One", "0.7.3")]),
        (log_of("One two", 3), "0.5.3", [("provisional", 0, 5, "wo", "0.7.3")]),
        (log_of("One tin", 7, 1, 5), "0.0.0", [("committed", 1, 0, "One tin", "1.7.7")]),
        (log_of("One tin", 7, 1, 5), "0.4.0", [("committed", 1, 0, "One tin", "1.7.7")]),
        (
            log_of("One tin", 7, 1, 5),
            "0.7.3",
            [("retracted", 1, 5, "", "1.5.3"), ("committed", 1, 3, " tin", "1.7.7")],
        ),
        (log_of("One t", 3, 1, 5), "0.7.3", [("retracted", 1, 5, "", "1.5.3")]),
        (log_of("One tin", 7, 1, 5), "1.5.3", [("committed", 1, 3, " tin", "1.7.7")]),
        (log_of("One", 3), "0.7.5", []),  # the log is behind: its forerunner was lost
        (log_of("One two", 5, 1, 0), "0.7.3", [("retracted", 1, 3, "", "1.3.3"), ("committed", 1, 3, " t", "1.5.5")]),
        (log_of("One two", 3), "0.9.3", [("retracted", 1, 3, "", "1.3.3")]),  # it shows what this log never had
        (log_of("to <IBAN_", 3, 1, 9), "0.22.3", [("retracted", 1, 3, "", "1.3.3")]),  # the tokens differ: none is left
        (log_of("One", 3, is_closed=True), "1.5.3", [("committed", 1, 3, "", "1.3.3")]),
        (log_of("to <IBA", 7), "0.0.0", [("committed", 0, 0, "to ", "0.3.3")]),
        (log_of("to <IBA", 7, is_closed=True), "0.0.0", [("committed", 0, 0, "to <IBA", "0.7.7")]),
        (
            log_of(f"to {IBAN}.", 7),
            "0.0.0",
            [("committed", 0, 0, "to ", "0.3.3"), ("provisional", 0, 3, f"{IBAN}.", "0.23.3")],
        ),
    ],
)
def test_what_a_client_has_still_to_be_told(log: AnswerLog, cursor: str, steps: list[Any]) -> None:
    assert summary(pending_steps(log, Cursor.read(cursor))) == steps


def test_who_cannot_take_back_is_told_what_is_committed_only() -> None:
    assert summary(pending_steps(log_of("One two", 3), Cursor(), can_retract=False)) == [
        ("committed", 0, 0, "One", "0.3.3")
    ]
    taken_back = log_of("One tin", 7, 1, 5)
    assert summary(pending_steps(taken_back, Cursor(0, 3, 3), can_retract=False)) == [
        ("committed", 0, 3, " tin", "0.7.7")
    ]
    assert pending_steps(log_of("One two", 0), Cursor(), can_retract=False) == []


@pytest.mark.parametrize(
    ("cursor", "steps"),
    [
        ("0.0.0", [("committed", 0, 0, "One two", "0.7.7")]),
        ("0.3.3", [("committed", 0, 3, " two", "0.7.7")]),
        ("0.9.3", [("retracted", 1, 3, "", "1.3.3"), ("committed", 1, 3, " two", "1.7.7")]),
        ("0.5.3", [("retracted", 1, 3, "", "1.3.3"), ("committed", 1, 3, " two", "1.7.7")]),
        ("1.5.3", [("committed", 1, 3, " two", "1.7.7")]),
        ("0.7.7", []),
        ("0.9.7", [("retracted", 1, 7, "", "1.7.7")]),
    ],
)
def test_the_answer_stands_in_for_a_log_that_is_gone(cursor: str, steps: list[Any]) -> None:
    assert summary(steps_from_answer("One two", Cursor.read(cursor))) == steps


@pytest.mark.parametrize("cursor", ["0.8.8", "1.9.8"])
def test_a_cursor_beyond_the_answer_is_no_cursor_of_it(cursor: str) -> None:
    with pytest.raises(CursorAheadError):
        steps_from_answer("One two", Cursor.read(cursor))
    with pytest.raises(CursorAheadError):
        pending_steps(log_of("One two", 7, is_closed=True), Cursor.read(cursor))


@pytest.mark.parametrize(
    ("text", "limit", "heads"),
    [
        ("One two  three", 1, ["One ", "two  ", "three"]),
        ("One two three", 8, ["One two ", "three"]),
        (" One", 1, [" One"]),
        (f"to {IBAN}, {IBAN}{NAME}!", 1, ["to ", f"{IBAN}, ", f"{IBAN}{NAME}!"]),
        ("x" * 300, 1, ["x" * 256, "x" * 44]),
        ("x" * 250 + IBAN + "y", 1, ["x" * 250 + IBAN, "y"]),
        ("ä" * 200, 1, ["ä" * 128, "ä" * 72]),
    ],
)
def test_a_step_is_cut_into_whole_words_and_tokens(text: str, limit: int, heads: list[str]) -> None:
    assert [piece.text for piece in pieces(StreamStep("committed", Cursor(), 0, text), limit)] == heads


def pieces(step: StreamStep, limit: int) -> list[StreamStep]:
    found, rest = [], step
    while rest is not None:
        head, rest = split_step(rest, limit)  # type: ignore[assignment]
        found.append(head)
    return found


def history(answer: str, draft: str, writes: list[tuple[bool, int]], *, closes: bool = True) -> list[AnswerLog]:
    """The log after each line."""
    logs = [AnswerLog("r1", "kiosk", 30)]

    def store(lines: list[Any]) -> None:
        for line in lines:
            logs.append(logs[-1].with_line(line))

    for shows, n in writes:
        store(logs[-1].show_provisional(draft[:n]) if shows else logs[-1].commit(answer[:n]))
    if closes:
        store(logs[-1].close(answer))
    return logs


def events_of(log: AnswerLog, steps: list[StreamStep], limit: int, is_json: bool) -> list[Event]:
    return [render_event(piece, log.text, value, is_json=is_json) for step in steps for piece in pieces(step, limit)]


@given(data=st.data(), answer=TEXT, draft=TEXT, agreed=st.integers(0, 60), is_json=st.booleans())
def test_whenever_it_is_cut_off_a_client_ends_with_the_answer(
    data: st.DataObject, answer: str, draft: str, agreed: int, is_json: bool
) -> None:
    writes = data.draw(st.lists(st.tuples(st.booleans(), st.integers(0, 80)), max_size=8))
    can_retract = data.draw(st.booleans())
    client = Client()
    for log in history(answer, answer[:agreed] + draft, writes):
        events: list[Event] = events_of(
            log,
            pending_steps(log, Cursor.read(client.id or "0.0.0"), can_retract=can_retract),
            data.draw(st.integers(1, 40)),
            is_json,
        )
        for event in events[: data.draw(st.integers(0, 9))]:
            client.take(event)
    for event in events_of(
        log, pending_steps(log, Cursor.read(client.id or "0.0.0"), can_retract=can_retract), 16, is_json
    ):
        client.take(event)
    whole = reidentify_text(answer, value, is_json=is_json)
    assert client.text == whole
    assert "".join(client.committed) == whole
    assert client.retractions <= (1 if can_retract else 0)
    assert can_retract or "provisional" not in client.states


@given(data=st.data(), answer=TEXT, draft=TEXT, agreed=st.integers(0, 60), is_restarted=st.booleans())
def test_a_log_that_is_lost_costs_one_retraction_at_most(
    data: st.DataObject, answer: str, draft: str, agreed: int, is_restarted: bool
) -> None:
    writes = st.lists(st.tuples(st.booleans(), st.integers(0, 80)), max_size=6)
    client = Client()
    for log in history(answer, answer[:agreed] + draft, data.draw(writes), closes=False):
        for event in events_of(
            log, pending_steps(log, Cursor.read(client.id or "0.0.0")), data.draw(st.integers(1, 40)), False
        ):
            client.take(event)
    if is_restarted:  # the writer goes on in a new stream: it commits once more what it had committed
        logs = [AnswerLog("r1", "kiosk")]
        for step in ("restart", *data.draw(st.lists(st.integers(0, 80), max_size=4)), "close"):
            lines = (
                logs[-1].restart()
                if step == "restart"
                else logs[-1].close(answer)
                if step == "close"
                else logs[-1].commit(answer[:step])
                if isinstance(step, int) and step > logs[-1].committed
                else []
            )
            for line in lines:
                logs.append(logs[-1].with_line(line))
        for log in logs:
            for event in events_of(log, pending_steps(log, Cursor.read(client.id or "0.0.0")), 16, False):
                client.take(event)
    else:
        log = log_of(answer, len(answer), is_closed=True)
        for event in events_of(log, steps_from_answer(answer, Cursor.read(client.id or "0.0.0")), 16, False):
            client.take(event)
    whole = reidentify_text(answer, value)
    assert (client.text, "".join(client.committed)) == (whole, whole)
    assert client.retractions <= 1


def test_a_value_is_escaped_inside_json_and_only_there() -> None:
    text = json.dumps({"iban": IBAN, "of": FOREIGN})
    log = log_of(text, len(text), is_closed=True)
    [event] = events_of(log, pending_steps(log, Cursor()), 1000, is_json=True)
    assert json.loads(event.text) == {"iban": VALUES[IBAN], "of": FOREIGN}  # type: ignore[union-attr]
    [plain] = events_of(log, pending_steps(log, Cursor()), 1000, is_json=False)
    assert VALUES[IBAN] in plain.text  # type: ignore[union-attr]


def test_events_are_told_apart_by_their_name_and_carry_their_cursor() -> None:
    [event] = events_of(log_of("One", 3), pending_steps(log_of("One", 3), Cursor()), 1, is_json=False)
    assert msgspec.json.encode(event) == b'{"event":"delta","id":"0.3.3","state":"committed","text":"One"}'
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event


@given(data=st.data(), answer=TEXT, draft=TEXT, agreed=st.integers(0, 60), instead=TEXT)
def test_what_is_withdrawn_is_taken_back_by_whoever_can_and_followed_by_nothing_for_others(
    data: st.DataObject, answer: str, draft: str, agreed: int, instead: str
) -> None:
    writes = data.draw(st.lists(st.tuples(st.booleans(), st.integers(0, 80)), max_size=8))
    can_retract = data.draw(st.booleans())
    logs = history(answer, answer[:agreed] + draft, writes, closes=data.draw(st.booleans()))
    [line] = logs[-1].withdraw(instead, "policy_block")
    client, before = Client(), ""
    for log in (*logs, logs[-1].with_line(line), logs[-1].with_line(line)):
        at = Cursor.read(client.id or "0.0.0")
        steps = pending_steps(log, at, can_retract=can_retract)
        events = events_of(log, steps, data.draw(st.integers(1, 40)), False)
        before = client.text if at.epoch < 2 else before
        is_last = log.epoch == 2 and client.epoch == 2
        for event in events if is_last else events[: data.draw(st.integers(0, 9))]:
            client.take(event)
    for event in events_of(
        log, pending_steps(log, Cursor.read(client.id or "0.0.0"), can_retract=can_retract), 9, False
    ):
        client.take(event)
    has_seen = not can_retract and before != ""
    assert client.text == (before if has_seen else reidentify_text(instead, value, is_json=False))
    assert can_retract or "withdrawn" not in client.states
    assert (log.reason, log.withdrawn) == ("policy_block", logs[-1].committed)


def test_a_withdrawal_says_why() -> None:
    log = log_of("One two", 3)
    [line] = log.withdraw("Sorry.", "policy_block")
    log = log.with_line(line)
    [step] = pending_steps(log, Cursor.read("0.7.3"))
    assert summary([step]) == [("withdrawn", 2, 0, "Sorry.", "2.6.6")]
    assert render_event(step, log.text, value, reason=log.reason).reason == "policy_block"
    assert pending_steps(log, Cursor.read("0.3.3"), can_retract=False) == []
    assert summary(pending_steps(log, Cursor(), can_retract=False)) == [("committed", 2, 0, "Sorry.", "2.6.6")]
    with pytest.raises(CursorAheadError):
        pending_steps(log, Cursor.read("2.9.9"))
