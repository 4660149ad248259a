"""The log of what was shown: whatever is late, doubled or lost, it ends with the answer and takes back once at most."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas import Delta, decode, encode
from tidegate.services.streaming.log import AnswerLog, CommitConflictError, CorruptLogError

EMPTY = AnswerLog("r1", "kiosk")
WORDS = st.text("ab <\n.", max_size=12)


def stored(log: AnswerLog, lines: list[Delta]) -> AnswerLog:
    for line in lines:
        log = log.with_line(decode(encode(line), Delta))
    return log


def show(text: str = "", log: AnswerLog = EMPTY) -> AnswerLog:
    return stored(log, log.show_provisional(text))


def commit(text: str, log: AnswerLog = EMPTY) -> AnswerLog:
    return stored(log, log.commit(text))


def summary(lines: list[Delta]) -> list[tuple[Any, ...]]:
    return [(line.state, line.epoch, line.offset, line.text, line.is_last) for line in lines]


@pytest.mark.parametrize(
    ("log", "method", "text", "lines"),
    [
        (EMPTY, "show_provisional", "One two", [("provisional", 0, 0, "One two", False)]),
        (EMPTY, "show_provisional", "", []),
        (show("One"), "show_provisional", "One two", [("provisional", 0, 3, " two", False)]),
        (show("One two"), "show_provisional", "One", []),  # late
        (show("One two"), "show_provisional", "One three", []),  # a draft takes nothing back
        (commit("One"), "show_provisional", "One two", [("provisional", 0, 3, " two", False)]),
        (commit("One two", show("One three")), "show_provisional", "One two three", []),  # epoch 1
        (EMPTY, "commit", "One", [("committed", 0, 0, "One", False)]),
        (show("One two"), "commit", "One", [("committed", 0, 0, "One", False)]),
        (show("One two"), "commit", "One two three", [("committed", 0, 0, "One two three", False)]),
        (commit("One"), "commit", "One", []),
        (commit("One two"), "commit", "One", []),
        (show("One two"), "commit", "One tin", [("retracted", 1, 5, "", False), ("committed", 1, 0, "One tin", False)]),
        (
            show("One two three", commit("One")),
            "commit",
            "One zwei",
            [("retracted", 1, 4, "", False), ("committed", 1, 3, " zwei", False)],
        ),
        (commit("One two", show("One three")), "commit", "One two four", [("committed", 1, 7, " four", False)]),
        (EMPTY, "close", "", [("committed", 0, 0, "", True)]),
        (commit("One"), "close", "One", [("committed", 0, 3, "", True)]),
        (show("One two"), "close", "One", [("retracted", 1, 3, "", False), ("committed", 1, 0, "One", True)]),
        (stored(EMPTY, EMPTY.close("One")), "close", "One", []),
        (stored(EMPTY, EMPTY.close("One")), "commit", "One", []),
        (stored(EMPTY, EMPTY.close("One")), "show_provisional", "One two", []),
    ],
)
def test_what_is_written_next(log: AnswerLog, method: str, text: str, lines: list[Any]) -> None:
    assert summary(getattr(log, method)(text)) == lines


@pytest.mark.parametrize(
    ("log", "method", "text"),
    [
        (commit("One two"), "commit", "One three"),
        (commit("One two"), "commit", "Two"),
        (commit("One two"), "close", "One"),
        (stored(EMPTY, EMPTY.close("One")), "close", "One two"),
        (stored(EMPTY, EMPTY.close("One")), "close", "On"),
        (stored(EMPTY, EMPTY.close("One")), "commit", "One two"),
    ],
)
def test_what_stands_is_never_contradicted(log: AnswerLog, method: str, text: str) -> None:
    with pytest.raises(CommitConflictError):
        getattr(log, method)(text)


def test_a_draft_runs_ahead_by_whole_words_and_no_further_than_it_may() -> None:
    log = AnswerLog("r1", "kiosk", run_ahead_chars=10)
    log = show("One two three four", log)
    assert log.text == "One two "
    assert log.show_provisional("One two three four") == []
    log = show("One two three four", commit("One two three", log))
    assert log.text == "One two three four"
    assert AnswerLog("r1", "kiosk", run_ahead_chars=4).show_provisional("Unbreakable") == []


def test_token_ids_are_told_where_they_are_known_to_be_those_of_the_text() -> None:
    log = AnswerLog("r1", "kiosk", run_ahead_chars=9)
    [first] = log.show_provisional("One two", [1, 2])
    log = log.with_line(first)
    [second] = log.show_provisional("One two three four", [1, 2, 3, 4])  # cut: where its tokens end is not known
    assert [(line.position, line.ids) for line in (first, second)] == [(0, (1, 2)), (0, ())]
    [committed] = log.commit("One two", [7, 8, 9])
    [more] = log.with_line(committed).commit("One two three", [7, 8, 9, 10])
    assert [(line.position, line.ids) for line in (committed, more)] == [(0, (7, 8, 9)), (3, (10,))]
    [last] = log.with_line(committed).with_line(more).close("One two three.")
    assert (last.position, last.ids, last.is_last) == (0, (), True)


@pytest.mark.parametrize(
    "line",
    [
        Delta(rid="r1", tenant="kiosk", state="provisional", offset=2, text="x"),
        Delta(rid="r1", tenant="kiosk", state="provisional", offset=4, text="x"),
        Delta(rid="r1", tenant="kiosk", state="provisional", epoch=1, offset=3, text="x"),
        Delta(rid="r1", tenant="kiosk", state="committed", offset=0, text="One"),
        Delta(rid="r1", tenant="kiosk", state="committed", offset=2, text="x"),
        Delta(rid="r1", tenant="kiosk", state="committed", epoch=1, offset=1, text="ne"),
        Delta(rid="r1", tenant="kiosk", state="committed", offset=1, text="n", is_last=True),
        Delta(rid="r1", tenant="kiosk", state="retracted", epoch=1, offset=0),
        Delta(rid="r1", tenant="kiosk", state="retracted", epoch=1, offset=4),
        Delta(rid="r1", tenant="kiosk", state="retracted", epoch=0, offset=2),
        Delta(rid="r2", tenant="kiosk", state="provisional", offset=3, text="x"),
    ],
)
def test_a_line_that_cannot_follow_is_not_taken(line: Delta) -> None:
    with pytest.raises(CorruptLogError):
        show("One", commit("O")).with_line(line)


def test_nothing_follows_the_end() -> None:
    log = stored(EMPTY, EMPTY.close("One"))
    with pytest.raises(CorruptLogError):
        log.with_line(Delta(rid="r1", tenant="kiosk", state="committed", offset=3, text="x"))


def test_a_log_that_begins_again_vouches_for_nothing_and_drafts_no_more() -> None:
    log = stored(EMPTY, EMPTY.restart())
    assert (log.epoch, log.kept, log.is_empty) == (1, 0, False)
    assert log.show_provisional("One") == log.restart() == []
    assert summary(log.commit("One")) == [("committed", 1, 0, "One", False)]


steps = st.lists(st.tuples(st.sampled_from(["show", "commit", "fold"]), st.integers(0, 40)), max_size=14)


@given(answer=WORDS, draft=WORDS, agreed=st.integers(0, 12), steps=steps, ahead=st.integers(0, 12))
def test_whatever_is_late_doubled_or_lost_the_log_ends_with_the_answer(
    answer: str, draft: str, agreed: int, steps: list[tuple[str, int]], ahead: int
) -> None:
    draft = answer[:agreed] + draft
    log, lines = AnswerLog("r1", "kiosk", ahead), list[Delta]()
    for step, n in [*steps, ("close", 0)]:
        if step == "show":
            new = log.show_provisional(draft[:n], range(n))
        elif step == "commit":
            new = log.commit(answer[:n], range(n))
        else:
            new = log.close(answer) if step == "close" else []
        for line in new[: 1 if step == "commit" and n % 2 else None]:  # odd: killed after the first line
            before, log = log, log.with_line(line)
            lines.append(line)
            assert log.committed >= before.committed
            assert answer.startswith(log.text[: log.committed])
            assert len(log.text) <= max(len(before.text), log.committed + ahead)
            assert all(line.ids[i] == line.position + i for i in range(len(line.ids)))
        assert AnswerLog.from_lines(lines, "r1", "kiosk", ahead) == log
    assert (log.text, log.committed, log.is_closed) == (answer, len(answer), True)
    assert sum(line.state == "retracted" for line in lines) <= 1
    assert "".join(line.text for line in lines if line.state == "committed") == answer
    assert [line.is_last for line in lines].count(True) == 1
