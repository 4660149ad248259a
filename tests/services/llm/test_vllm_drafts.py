"""The alignment of a shipped draft with the answer it guesses at: where it goes on, and what it may cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.llm.targets.vllm.draft_alignment import CREDIT, GUESS, LONGEST, PATIENCE, WIDTH, Alignment
from tidegate.services.llm.targets.vllm.drafts import MAX_IDS, Counts, Drafts

WORDS = st.lists(st.integers(10, 16), max_size=120)
"""Few words, so that suffixes recur and a draft is often nearly right."""
DIFFERENT = st.integers(60, 120).map(lambda count: list(range(100, 100 + count)))
"""Answers in which no token recurs."""
Watch = Callable[[Alignment, list[int], list[int]], None]


def said_by(
    answer: Sequence[int], draft: Sequence[int], watch: Watch = lambda *_: None, prompt: Sequence[int] = ()
) -> Alignment:
    """Run the engine's loop: the first token comes alone, then what stood of each proposal and one token more."""
    said = list(answer[:1])
    following = Alignment(draft, said, prompt)
    while len(said) < len(answer):
        proposed = following.next(min(WIDTH, len(answer) - len(said) - 1))
        watch(following, said, proposed)
        stood = 0
        while stood < len(proposed) and proposed[stood] == answer[len(said) + stood]:
            stood += 1
        new = list(answer[len(said) : len(said) + stood + 1])
        said += new
        following.heard(new)
    return following


@given(WORDS, WORDS)
def test_no_draft_costs_more_than_its_credit_and_twice_what_stood(answer: list[int], draft: list[int]) -> None:
    def watch(following: Alignment, _said: list[int], proposed: list[int]) -> None:
        assert following.drafted + len(proposed) <= CREDIT + 2 * following.accepted
        assert len(proposed) <= WIDTH

    done = said_by(answer, draft, watch)
    assert done.drafted - done.accepted <= CREDIT + done.accepted
    assert done.drafted <= CREDIT + 2 * len(answer)


@given(WORDS, WORDS)
def test_after_misses_in_a_row_only_a_long_suffix_wakes_it(answer: list[int], draft: list[int]) -> None:
    misses = 0
    last: list[tuple[int, list[int]]] = []

    def watch(_following: Alignment, said: list[int], proposed: list[int]) -> None:
        nonlocal misses
        if last:
            length, before = last.pop()
            stood = said[length : length + 1] == before[:1]
            misses = 0 if stood else misses + 1
        if not proposed:
            return
        if misses >= PATIENCE:
            tail = said[-LONGEST:]
            places = range(len(draft) - LONGEST + 1)
            assert any(
                draft[at : at + LONGEST] == tail and draft[at + LONGEST : at + LONGEST + len(proposed)] == proposed
                for at in places
            )
        last.append((len(said), proposed))

    said_by(answer, draft, watch)


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=120))
def test_the_right_draft_is_said_in_the_fewest_steps(answer: list[int]) -> None:
    done = said_by(answer, answer)
    assert done.drafted == done.accepted
    assert done.steps == -(-(len(answer) - 1) // (WIDTH + 1))


@given(DIFFERENT, st.integers(1, 30))
def test_a_token_put_for_another_costs_no_more_than_the_step_that_finds_it(answer: list[int], at: int) -> None:
    done = said_by(answer, [*answer[:at], 3, *answer[at + 1 :]])
    fewest = -(-(len(answer) - 1) // (WIDTH + 1))
    assert done.steps <= fewest + 3


@given(DIFFERENT, st.integers(1, 20), st.integers(1, 20))
def test_it_finds_its_place_behind_what_was_left_out_or_put_in(answer: list[int], at: int, much: int) -> None:
    fewest = -(-(len(answer) - 1) // (WIDTH + 1))
    left_out = said_by(answer, [*answer[:at], *answer[at + much :]])
    put_in = said_by(answer, [*answer[:at], *range(2001, 2001 + much), *answer[at:]])
    assert left_out.steps <= fewest + much + 6
    assert put_in.steps <= fewest + 6


@pytest.mark.parametrize(
    ("said", "draft", "expected"),
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
def test_where_it_goes_on(said: list[int], draft: list[int], expected: list[int]) -> None:
    following = Alignment(draft, said[:0])
    for token in said:
        following.heard([token])
    assert following.next() == expected
    assert Alignment(draft, said).next() == expected


def test_a_wrong_draft_is_given_up_after_two_proposals() -> None:
    answer, draft = [10, *range(100, 160)], [10, *range(500, 560)]
    done = said_by(answer, draft)
    assert (done.drafted, done.accepted) == (WIDTH + GUESS, 0)


def test_a_better_draft_takes_over_and_old_misses_still_count() -> None:
    following = Alignment([1, 5, 6], [1])
    assert following.next() == [5, 6]
    following.heard([2])
    assert following.next() == [6]
    following.heard([3])
    following.take([1, 2, 3, 4, 5], [1, 2, 3])
    assert following.next() == [4, 5]
    assert (following.drafted, following.accepted) == (3, 0)
    following.heard([9])
    following.take([1, 2, 3, 9, 8], [1, 2, 3, 9])
    assert following.next() == []


@given(st.lists(st.tuples(st.sampled_from("abc"), WORDS), max_size=30), st.integers(1, 3))
def test_requests_never_see_each_others_drafts(heard: list[tuple[str, list[int]]], most: int) -> None:
    """Every draft's ids lie in a range of its request; what is proposed for a request lies in its own."""
    drafts = Drafts(most)
    said: dict[str, list[int]] = {}
    for key, words in heard:
        own = range(ord(key) * 1000, ord(key) * 1000 + 100)
        already = said.setdefault(key, [])
        new = [own[word] for word in words[:1]] or [own[0]]
        already += new
        followed = drafts.heard(key, [own[word] for word in words], new, already)
        if followed is not None:
            assert all(each in own for each in followed.next())
        assert len(drafts) <= 2 * most


def test_what_a_request_had_is_gone_when_it_settles() -> None:
    drafts = Drafts()
    drafts.put("a", [1, 2, 3, 4])
    assert "a" in drafts
    followed = drafts.heard("a", (), [1], [1])
    assert followed is not None
    assert followed.next() == [2, 3, 4]
    drafts.heard("a", (), [2, 3, 7], [1, 2, 3, 7])
    assert drafts.settle("a") == Counts(steps=2, drafted=3, accepted=2)
    assert drafts.settle("a") == Counts()
    assert len(drafts) == 0
    assert drafts.total == Counts(steps=2, drafted=3, accepted=2)


def test_what_is_held_is_bounded() -> None:
    drafts = Drafts(most=2)
    for key in "abcd":
        drafts.put(key, range(10 * MAX_IDS))
        late = drafts.heard(key, (), [0], [0])
        assert late is not None
        assert len(late.draft) == MAX_IDS
    assert len(drafts) == 2
    for key in "wxyz":
        drafts.put(key, [1])  # of requests that are never heard of
    assert len(drafts) == 4
    assert drafts.settle("d").steps == 1
    followed = drafts.heard("e", range(10 * MAX_IDS), [0], [0])
    assert followed is not None
    assert len(followed.draft) == MAX_IDS


def test_a_request_begun_anew_is_followed_from_where_it_is() -> None:
    """A preempted request may be heard of again with less or more said than was known."""
    drafts = Drafts()
    first = drafts.heard("a", [1, 2, 3, 4, 5], [1], [1])
    assert first is not None
    again = drafts.heard("a", [1, 2, 3, 4, 5], [3], [1, 2, 3])
    assert again is not None
    assert again.next() == [4, 5]
