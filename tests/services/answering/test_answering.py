"""What stands of a language model's answer: what the reader has selected too, word for word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.prompt_contexts import ALL, CHOSEN, CONTEXT, NUMBER_OF, OTHER, TOKENS, quote
from tidegate.schemas import Answer
from tidegate.services.answering.agreement import combine, confirmed_beginning, has_diverged
from tidegate.services.answering.prompt_context import draft_from_reading
from tidegate.services.knowledge.reader.compose import compose_answer
from tidegate.services.llm.text.answers import ParsedAnswer, parse_answer, parse_complete_sentences


def test_the_reader_s_units_come_first_and_the_draft_is_the_best_of_them() -> None:
    best = max(CONTEXT.reading.selected, key=lambda unit: unit.score)
    assert CONTEXT.passages[0] == best
    assert {unit.span for unit in CONTEXT.passages[: len(CHOSEN)]} == set(CHOSEN)
    draft = draft_from_reading(TOKENS, CONTEXT.reading)
    assert draft is not None
    assert list(draft.ids) == [*quote(1), TOKENS.END]
    assert draft.tokenizer == TOKENS.digest


@pytest.mark.parametrize(
    ("ids", "share"),
    [
        (quote(1), 1.0),
        (quote(*ALL), 1.0),
        (quote(OTHER), 0.0),
        (quote(1, OTHER), 0.5),
        (quote(1, cut=2), 0.0),
        (quote(1)[1:], 0.0),
        ([TOKENS.NONE], 0.0),
        ([], 0.0),
    ],
)
def test_the_answer_is_the_reader_s_and_shows_how_far_the_model_agrees(ids: list[int], share: float) -> None:
    answer = combine(CONTEXT, parse_answer(TOKENS, ids))
    assert (answer.text, answer.confidence) == (CONTEXT.reading.answer.text, CONTEXT.reading.answer.confidence)
    agreement = answer.checks[-1]
    assert (agreement.name, agreement.passed, agreement.score) == ("agreement", share == 1.0, share)


def test_what_is_shown_early_begins_the_answer_and_nothing_is_shown_that_the_model_has_not_confirmed() -> None:
    whole = quote(*ALL)
    shown = [answer.text for end in range(len(whole)) if (answer := _shown(whole[:end]))]
    assert shown == sorted(shown, key=len)
    assert all(CONTEXT.reading.answer.text.startswith(text) for text in shown)
    last = _shown([*whole, TOKENS.END])
    assert last == CONTEXT.reading.answer
    assert _shown(quote(OTHER)) is None
    assert confirmed_beginning(CONTEXT, ParsedAnswer(())) is None


def test_what_is_shown_early_has_its_own_citations_and_no_others() -> None:
    chosen = CONTEXT.reading.selected
    assert len(chosen) > 1
    first = _shown([*quote(NUMBER_OF[chosen[0].span]), TOKENS.END])
    assert first is not None
    composed = compose_answer(chosen[:1])
    assert (first.text, first.citations) == (composed.text, composed.citations)
    assert set(first.citations) < set(CONTEXT.reading.answer.citations)


def _shown(ids: list[int]) -> Answer | None:
    return confirmed_beginning(CONTEXT, parse_complete_sentences(TOKENS, ids))


def test_a_model_that_goes_on_as_the_reader_would_never_diverges() -> None:
    whole = quote(*ALL)
    assert not any(has_diverged(CONTEXT, TOKENS, whole[:end]) for end in range(len(whole) + 1))


@pytest.mark.parametrize(
    "ids",
    [
        quote(OTHER)[:1],
        quote(1)[1:2],
        [TOKENS.FIRST_MARK + 8],
        [*quote(1, cut=3), TOKENS.FIRST_MARK + OTHER - 1],
        [*quote(*ALL)[:12], TOKENS.FIRST_MARK + 2],
    ],
)
def test_what_cannot_stand_any_more_is_known_at_once(ids: list[int]) -> None:
    assert has_diverged(CONTEXT, TOKENS, ids)


@given(st.lists(st.integers(3, TOKENS.size - 1), max_size=40), st.integers(0, 60))
def test_what_does_not_diverge_is_a_beginning_of_what_agrees(noise: list[int], kept: int) -> None:
    ids = [*quote(*ALL)[:kept], *noise]
    if not has_diverged(CONTEXT, TOKENS, ids):
        assert combine(CONTEXT, parse_complete_sentences(TOKENS, ids)).checks[-1].score in (0.0, 1.0)
