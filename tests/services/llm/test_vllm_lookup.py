"""The prompt behind the draft: where it is copied from, up to where, which of the two speaks, and what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.services.llm.test_vllm_drafts import DIFFERENT, WORDS, output_of
from tidegate.services.llm.drafters.alignment import CREDIT, PATIENCE, BudgetedAlignment
from tidegate.services.llm.drafters.followed_text import GUESS, LONGEST, WIDTH, as_code_points
from tidegate.services.llm.targets.vllm.request_drafts import MAX_PROMPT, RequestDrafts
from tidegate.services.llm.text.token_ids import TokenIds

QUESTION, ANSWER, END, SPACE = 3, 5, 2, 30
FIRST = [*range(100, 124)]
SECOND = [*range(200, 206)]
PASSAGES = st.lists(st.lists(st.integers(10, 40), max_size=30), max_size=5)


def prompt_of(*passages: Sequence[int]) -> list[int]:
    marked = zip(TokenIds.MARKS, passages, strict=False)
    held = [each for mark, words in marked for each in (TokenIds.PASSAGE, mark, *words)]
    return [1, QUESTION, 50, 51, *held, ANSWER]


PROMPT = prompt_of(FIRST, SECOND)


def steps_of(answer: Sequence[int], propose: Callable[[list[int], list[int]], list[int]]) -> int:
    """Forward passes for an answer; `propose` is given what the last one said, and all that was said."""
    new = output = list(answer[:1])
    steps = 1
    while len(output) < len(answer):
        proposed = propose(new, output)
        rest = list(answer[len(output) :])
        stood = next((at for at, pair in enumerate(zip(proposed, rest, strict=False)) if pair[0] != pair[1]), None)
        new = rest[: (len(proposed) if stood is None else stood) + 1]
        output = output + new
        steps += 1
    return steps


def ngrams_of(prompt: Sequence[int], output: Sequence[int]) -> list[int]:
    """What vLLM's own n-grams of 2 to 8 tokens propose: of the longest that recurs, what followed the earliest."""
    text = as_code_points([*prompt, *output])
    for size in range(8, 1, -1):
        at = text.find(text[-size:], 0, len(text) - 1)
        if at >= 0:
            return [ord(each) for each in text[at + size :][:WIDTH]]
    return []


@settings(deadline=None)
@given(WORDS, WORDS, PASSAGES)
def test_draft_and_prompt_together_waste_no_more_than_a_draft_alone(
    answer: list[int], draft: list[int], passages: list[list[int]]
) -> None:
    misses = 0
    prompt = prompt_of(*passages)
    last: list[tuple[int, list[int]]] = []

    def watch(following: BudgetedAlignment, output: list[int], proposed: list[int]) -> None:
        nonlocal misses
        assert following.drafted + len(proposed) <= CREDIT + 2 * following.accepted
        assert len(proposed) <= WIDTH
        if last:
            length, before = last.pop()
            misses = 0 if output[length : length + 1] == before[:1] else misses + 1
        if proposed:
            last.append((len(output), proposed))
        if proposed and misses >= PATIENCE:
            text = [*prompt, *output]
            tail = output[-LONGEST:]
            again = [
                at
                for words in (draft, text[:-1])
                for at in range(len(words) - LONGEST + 1)
                if words[at : at + LONGEST] == tail and words[at + LONGEST :][:1] == proposed[:1]
            ]
            assert again or output[-1] in TokenIds.MARKS

    done = output_of(answer, draft, watch, prompt)
    assert done.drafted - done.accepted <= CREDIT + done.accepted


@pytest.mark.parametrize(
    ("output", "draft", "expected"),
    [
        ([10], [], FIRST[:WIDTH]),  # behind a mark, its passage
        ([11], [], SECOND),  # up to its end
        ([10, *FIRST[:20]], [], FIRST[20:]),
        ([10, *FIRST], [], []),
        ([10, *FIRST, SPACE, 11], [], SECOND),
        ([12], [], []),  # no such passage
        ([10], [10, 7, 8, 9], FIRST[:WIDTH]),  # what is cited outweighs a draft that is right in the mark alone
        ([10, 7], [10, 7, 8, 9], [8, 9]),
        ([10, 7], [10, 8, 9], [9]),  # one token put for another: the draft's guess, none of the prompt's
        ([11, 7, *FIRST[3:5]], [11, 8, 9], FIRST[5 : 5 + 2 * GUESS]),  # the draft strayed
        ([11, 7, *SECOND[:2]], [11, 7, 201, 60], SECOND[2:]),  # the longer agreement
        ([10, 7, *FIRST[:2]], [10, 7, *FIRST[:2], 9], [9]),
        ([60, 61, 62, 60, 61, 62], [], [60, 61, 62, 60, 61, 62, 60, 61, 62, 60, 61, 62]),  # what repeats, repeats
    ],
)
def test_what_is_proposed(output: list[int], draft: list[int], expected: list[int]) -> None:
    assert BudgetedAlignment(draft, output, PROMPT, quotes=True).propose() == expected
    following = BudgetedAlignment(draft, output[:0], PROMPT, quotes=True)
    for token in output:
        following.observe([token])
    assert following.propose() == expected


def test_where_the_model_may_paraphrase_less_of_a_passage_is_risked() -> None:
    assert BudgetedAlignment((), [10], PROMPT).propose() == FIRST[: 2 * GUESS]


def test_an_answer_that_went_astray_and_repeats_itself_is_still_helped() -> None:
    """Three pairs of the prompt go on otherwise than there: that takes all the credit that may be taken by chance."""
    prompt = [1, *range(300, 320), *range(400, 420), *range(500, 520), ANSWER]
    answer = [60, 300, 301, 61, 400, 401, 62, 500, 501, *[63, 64, 65] * 30]
    done = output_of(answer, (), prompt=prompt)
    assert done.drafted - done.accepted <= CREDIT
    assert done.steps < len(answer) / 3


def test_after_misses_in_a_row_a_pair_is_not_enough() -> None:
    following = BudgetedAlignment(
        (), [60], [1, 300, 301, 1, 400, 401, 1, 500, 501, 1, 600, 601, 1, *range(700, 712), ANSWER]
    )
    for one, two in ((300, 301), (400, 401), (500, 501)):
        following.observe([one])
        following.observe([two])
        assert following.propose(1)
    following.observe([600])
    following.observe([601])
    assert following.propose(1) == []
    for token in range(700, 708):
        following.observe([token])
    assert following.propose(1) == [708]


def test_what_stands_before_a_passage_without_a_mark_is_no_citation() -> None:
    assert BudgetedAlignment((), [10], [1, 10, *FIRST, 5]).propose() == []


@settings(deadline=None)
@given(st.lists(DIFFERENT.map(lambda words: words[:50]), min_size=2, max_size=9), st.integers(0, 8), st.integers(0, 8))
def test_quoting_takes_no_more_steps_than_with_ngrams_of_the_prompt(
    passages: list[list[int]], one: int, two: int
) -> None:
    one, two = one % len(passages), two % len(passages)
    answer = [TokenIds.MARKS[one], *passages[one], SPACE, TokenIds.MARKS[two], *passages[two], END]
    prompt = prompt_of(*passages)
    draft = [TokenIds.FIRST_MARK, *range(3000, 3040), END]
    following = BudgetedAlignment(draft, (), prompt, quotes=True)

    def ours(new: list[int], _output: list[int]) -> list[int]:
        following.observe(new)
        return following.propose()

    steps = steps_of(answer, ours)
    assert steps <= steps_of(answer, lambda _new, output: ngrams_of(prompt, output))
    assert steps * 3 <= len(answer)


def test_of_a_prompt_no_more_is_held_than_its_end() -> None:
    drafts = RequestDrafts()
    cut = drafts.add("a", (), [10], [*PROMPT, *range(300, 300 + MAX_PROMPT)])
    assert cut.propose() == []
    whole = drafts.add("b", (), [10], [*range(300, 300 + MAX_PROMPT), *PROMPT], quotes=True)
    assert whole.propose() == FIRST[:WIDTH]
    assert "b" in drafts
