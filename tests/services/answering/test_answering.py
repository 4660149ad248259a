"""What stands of what a language model says: what the reader would say too, word for word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.prompt_contexts import ALL, BRIEF, CHOSEN, NUMBER_OF, OTHER, TOKENS, says
from tidegate.services.answering import answer_of, draft_of, sentences_of, strays
from tidegate.services.knowledge.reader.reader import composed
from tidegate.services.llm.text.answers import Reading, read_answer, sentences_so_far


def test_the_reader_s_units_come_first_and_the_draft_is_the_best_of_them() -> None:
    best = max(BRIEF.survey.chosen, key=lambda unit: unit.score)
    assert BRIEF.passages[0].unit == best
    assert {numbered.unit.place for numbered in BRIEF.passages[: len(CHOSEN)]} == set(CHOSEN)
    draft = draft_of(TOKENS, BRIEF.survey)
    assert draft is not None
    assert list(draft.ids) == [*says(1), TOKENS.END]
    assert draft.tokenizer == TOKENS.digest


@pytest.mark.parametrize(
    ("ids", "share"),
    [
        (says(1), 1.0),
        (says(*ALL), 1.0),
        (says(OTHER), 0.0),
        (says(1, OTHER), 0.5),
        (says(1, cut=2), 0.0),
        (says(1)[1:], 0.0),
        ([TOKENS.NONE], 0.0),
        ([], 0.0),
    ],
)
def test_the_answer_is_the_reader_s_and_says_how_far_the_model_agrees(ids: list[int], share: float) -> None:
    answer = answer_of(BRIEF, read_answer(TOKENS, ids))
    assert (answer.text, answer.confidence) == (BRIEF.survey.answer.text, BRIEF.survey.answer.confidence)
    agreement = answer.checks[-1]
    assert (agreement.name, agreement.passed, agreement.score) == ("agreement", share == 1.0, share)


def test_what_is_told_early_begins_the_answer_and_nothing_is_told_that_the_model_has_not_confirmed() -> None:
    whole = says(*ALL)
    told = [answer.text for end in range(len(whole)) if (answer := _told(whole[:end]))]
    assert told == sorted(told, key=len)
    assert all(BRIEF.survey.answer.text.startswith(text) for text in told)
    last = _told([*whole, TOKENS.END])
    assert last == BRIEF.survey.answer
    assert _told(says(OTHER)) is None
    assert sentences_of(BRIEF, Reading(())) is None


def test_what_is_told_early_has_the_citations_of_what_is_told_and_no_others() -> None:
    chosen = BRIEF.survey.chosen
    assert len(chosen) > 1
    first = _told([*says(NUMBER_OF[chosen[0].place]), TOKENS.END])
    assert first is not None
    assert (first.text, first.citations) == composed(chosen[:1])
    assert set(first.citations) < set(BRIEF.survey.answer.citations)


def _told(ids: list[int]):  # type: ignore[no-untyped-def]
    return sentences_of(BRIEF, sentences_so_far(TOKENS, ids))


def test_a_model_that_goes_on_as_the_reader_would_never_strays() -> None:
    whole = says(*ALL)
    assert not any(strays(BRIEF, TOKENS, whole[:end]) for end in range(len(whole) + 1))


@pytest.mark.parametrize(
    "ids", [says(OTHER)[:1], says(1)[1:2], [TOKENS.FIRST_MARK + 8], [*says(1, cut=3), TOKENS.FIRST_MARK + OTHER - 1]]
)
def test_what_cannot_stand_any_more_is_known_at_once(ids: list[int]) -> None:
    assert strays(BRIEF, TOKENS, ids)


@given(st.lists(st.integers(3, TOKENS.size - 1), max_size=40), st.integers(0, 60))
def test_whatever_is_said_what_does_not_stray_is_a_beginning_of_what_agrees(noise: list[int], kept: int) -> None:
    ids = [*says(*ALL)[:kept], *noise]
    if not strays(BRIEF, TOKENS, ids):
        assert answer_of(BRIEF, sentences_so_far(TOKENS, ids)).checks[-1].score in (0.0, 1.0)
