"""The alignment of a shipped draft with the answer it guesses at: where it goes on, and what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.llm.drafters.alignment import CREDIT, MOST_DRAFT_TOKENS, PATIENCE, BudgetedAlignment
from tidegate.services.llm.drafters.followed_text import GUESS, LONGEST, WIDTH
from tidegate.services.llm.targets.vllm.request_drafts import RequestDrafts

WORDS = st.lists(st.integers(10, 16), max_size=120)
"""Few words, so that suffixes recur and a draft is often nearly right."""
DIFFERENT = st.integers(60, 120).map(lambda count: list(range(100, 100 + count)))
"""Answers in which no token recurs."""
Watch = Callable[[BudgetedAlignment, list[int], list[int]], None]


def output_of(
    answer: Sequence[int], draft: Sequence[int], watch: Watch = lambda *_: None, prompt: Sequence[int] = ()
) -> BudgetedAlignment:
    """Run the engine's loop: the first token comes alone, then what stood of each proposal and one token more."""
    output = list(answer[:1])
    following = BudgetedAlignment(draft, output, prompt)
    while len(output) < len(answer):
        proposed = following.propose(min(WIDTH, len(answer) - len(output) - 1))
        watch(following, output, proposed)
        stood = 0
        while stood < len(proposed) and proposed[stood] == answer[len(output) + stood]:
            stood += 1
        new = list(answer[len(output) : len(output) + stood + 1])
        output += new
        following.observe(new)
    return following


@given(WORDS, WORDS)
def test_no_draft_costs_more_than_its_credit_and_twice_what_stood(answer: list[int], draft: list[int]) -> None:
    def watch(following: BudgetedAlignment, _output: list[int], proposed: list[int]) -> None:
        assert following.drafted + len(proposed) <= CREDIT + 2 * following.accepted
        assert len(proposed) <= WIDTH

    done = output_of(answer, draft, watch)
    assert done.drafted - done.accepted <= CREDIT + done.accepted
    assert done.drafted <= CREDIT + 2 * len(answer)


@given(WORDS, WORDS)
def test_after_misses_in_a_row_only_a_long_suffix_wakes_it(answer: list[int], draft: list[int]) -> None:
    misses = 0
    last: list[tuple[int, list[int]]] = []

    def watch(_following: BudgetedAlignment, output: list[int], proposed: list[int]) -> None:
        nonlocal misses
        if last:
            length, before = last.pop()
            stood = output[length : length + 1] == before[:1]
            misses = 0 if stood else misses + 1
        if not proposed:
            return
        if misses >= PATIENCE:
            tail = output[-LONGEST:]
            positions = range(len(draft) - LONGEST + 1)
            assert any(
                draft[at : at + LONGEST] == tail and draft[at + LONGEST : at + LONGEST + len(proposed)] == proposed
                for at in positions
            )
        last.append((len(output), proposed))

    output_of(answer, draft, watch)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=120))
def test_the_right_draft_is_said_in_the_fewest_steps(answer: list[int]) -> None:
    done = output_of(answer, answer)
    assert done.drafted == done.accepted
    assert done.steps == -(-(len(answer) - 1) // (WIDTH + 1))


@given(DIFFERENT, st.integers(1, 30))
def test_a_token_put_for_another_costs_no_more_than_the_step_that_finds_it(answer: list[int], at: int) -> None:
    done = output_of(answer, [*answer[:at], 3, *answer[at + 1 :]])
    fewest = -(-(len(answer) - 1) // (WIDTH + 1))
    assert done.steps <= fewest + 3


@given(DIFFERENT, st.integers(1, 20), st.integers(1, 20))
def test_it_finds_its_place_behind_what_was_left_out_or_put_in(answer: list[int], at: int, much: int) -> None:
    fewest = -(-(len(answer) - 1) // (WIDTH + 1))
    left_out = output_of(answer, [*answer[:at], *answer[at + much :]])
    put_in = output_of(answer, [*answer[:at], *range(2001, 2001 + much), *answer[at:]])
    assert left_out.steps <= fewest + much + 6
    assert put_in.steps <= fewest + 6


@pytest.mark.parametrize(
    ("output", "draft", "expected"),
    [
        ([], [7, 8, 9], [7, 8, 9]),
        ([7], [7, 8, 9], [8, 9]),
        ([11], [10, *range(100, 120)], list(range(100, 116))),  # another passage's mark before the same sentence
        ([30], [31, *range(100, 120)], [100, 101, 102, 103]),  # a word put for another: a few
        ([30, 40], [31, 41, 50, 51], []),  # two wrong in a row: nothing
        ([1, 2, 90, 50, 51], [1, 2, 3, 4, 50, 51, 52, 53], [52, 53]),  # behind a suffix of two
        ([90, 50, 51], [50, 51, 1, 8, 9, 90, 50, 51, 2], [2]),  # the longer suffix, not the nearer
        ([1, 2], [1, 2], []),
    ],
)
def test_where_it_goes_on(output: list[int], draft: list[int], expected: list[int]) -> None:
    following = BudgetedAlignment(draft, output[:0])
    for token in output:
        following.observe([token])
    assert following.propose() == expected
    assert BudgetedAlignment(draft, output).propose() == expected


def test_a_wrong_draft_is_given_up_after_two_proposals() -> None:
    answer, draft = [10, *range(100, 160)], [10, *range(500, 560)]
    done = output_of(answer, draft)
    assert (done.drafted, done.accepted) == (WIDTH + GUESS, 0)


def test_an_answer_begun_anew_is_followed_and_old_misses_still_count() -> None:
    following = BudgetedAlignment([1, 2, 3, 4, 5], [1, 9])
    for expected in ([3, 4, 5], [], []):
        assert following.propose() == expected
        following.observe([9])
    assert (following.steps, following.drafted, following.accepted) == (3, 3, 0)
    following.restart([1, 2, 3])
    assert following.propose() == [4, 5]
    assert (following.steps, following.drafted, following.accepted) == (3, 3, 0)


@given(st.lists(st.tuples(st.sampled_from("abc"), WORDS), max_size=30), st.integers(1, 3))
def test_requests_never_see_each_others_drafts(steps: list[tuple[str, list[int]]], most: int) -> None:
    """Every draft's ids lie in a range of its request; what is proposed for a request lies in its own."""
    drafts = RequestDrafts(most)
    answers: dict[str, list[int]] = {}
    for key, words in steps:
        own = range(ord(key) * 1000, ord(key) * 1000 + 100)
        answer = answers.setdefault(key, [])
        new = [own[word] for word in words[:1]] or [own[0]]
        answer += new
        if key in drafts:
            held = drafts.observe(key, new, answer)
        else:
            held = drafts.add(key, [own[word] for word in words], answer)
        assert all(each in own for each in held.propose())
        assert len(drafts) <= most


def test_what_a_request_had_is_gone_when_it_settles() -> None:
    drafts = RequestDrafts()
    held = drafts.add("a", [1, 2, 3, 4], [1])
    assert "a" in drafts
    assert held.propose() == [2, 3, 4]
    drafts.observe("a", [2, 3, 7], [1, 2, 3, 7])
    assert drafts.settle("a") == (2, 3, 2)
    assert drafts.settle("a") == (0, 0, 0)
    assert len(drafts) == 0


def test_what_is_held_is_bounded_and_what_was_used_last_is_kept() -> None:
    drafts = RequestDrafts(most=2)
    for key in "ab":
        held = drafts.add(key, range(10 * MOST_DRAFT_TOKENS), [0])
        assert len(held.draft) == MOST_DRAFT_TOKENS
    drafts.observe("a", [1], [0, 1])
    drafts.add("c", [1], [0])
    assert len(drafts) == 2
    assert "a" in drafts
    assert drafts.settle("b") == (0, 0, 0)
    assert drafts.settle("a")[0] == 2


def test_a_request_begun_anew_is_followed_from_where_it_is() -> None:
    """A preempted request may come again with a shorter or a longer answer than was known."""
    drafts = RequestDrafts()
    drafts.add("a", [1, 2, 3, 4, 5], [1])
    assert drafts.observe("a", [3], [1, 2, 3]).propose() == [4, 5]
    assert drafts.observe("a", [1], [1]).propose() == [2, 3, 4, 5]
