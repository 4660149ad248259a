"""The segments of a keyword leg, each of which is searched on its own: when there are too many, what is made then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.knowledge.index.compaction import MOST_SCATTERED_ROWS, is_scattered
from tidegate.services.knowledge.index.keyword import KeywordLeg, KeywordRow

ROWS = 4_000


def rows(count: int, words: int) -> Iterator[KeywordRow]:
    drawn = np.random.default_rng(5)
    for number in range(count):
        body = " ".join(f"w{word}" for word in drawn.integers(0, 30_000, words))
        yield KeywordRow(number=number, mark=number, language="en", head="", body=body)


def test_a_leg_that_is_made_anew_has_one_segment_and_changes_lie_beside_it(tmp_path: Path) -> None:
    leg = KeywordLeg(tmp_path / "leg")
    leg.replace(rows(ROWS, 100))
    assert leg.count_scattered() == 0
    for number in range(3):
        leg.change(added=[KeywordRow(number=ROWS + number, mark=1, language="en", head="", body="lantern")])
    assert leg.count_scattered() == 3
    leg.change(removed=[7])
    assert (leg.count_scattered(), leg.count_dead()) == (3, 1)
    leg.replace(rows(ROWS, 5))
    assert leg.count_scattered() == 0


@given(passages=st.integers(0, 1_100_000), scattered=st.integers(0, 300_000))
def test_a_leg_is_made_anew_only_where_that_helps(passages: int, scattered: int) -> None:
    is_due = is_scattered(passages, scattered)
    assert not (is_due and scattered <= MOST_SCATTERED_ROWS * passages)
    assert is_due <= is_scattered(passages, scattered + 1)


@pytest.mark.parametrize(
    ("passages", "scattered", "is_due"),
    [(9_999, 9_999, False), (20_000, 10_001, True), (285_000, 118_000, True), (285_000, 71_250, False)],
)
def test_a_quarter_of_the_rows_may_lie_beside_and_ten_thousand_in_any_case(
    passages: int, scattered: int, is_due: bool
) -> None:
    assert is_scattered(passages, scattered) == is_due
    assert not is_scattered(1_000_001, scattered)


def test_beyond_what_is_asked_for_a_search_gives_what_it_looked_at(tmp_path: Path) -> None:
    leg = KeywordLeg(tmp_path / "leg")
    leg.replace(KeywordRow(number=n, mark=n, language="en", head="", body="coin " * (1 + n % 7)) for n in range(60))
    view = leg.refresh()

    def places(numbers: list[int]) -> dict[int, tuple[str, int]]:
        return {number: ("", number) for number in numbers}

    beyond = view.search_beyond("coin", "en", 5, places)
    assert view.search("coin", "en", 5, places) == beyond[:5]
    assert len(beyond) >= 10
    assert [score for _, score in beyond] == sorted((score for _, score in beyond), reverse=True)
