"""What every drafter promises, whatever it guesses from.

Subclass `DrafterActs` in a test module and give it the module-wide fixtures `case` (a `Case`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegate.services.llm.drafters.base import Drafter


@dataclass(frozen=True)
class Case:
    """`make` gives a fresh drafter for `prompt`; `answer` is what it is expected to have good ideas about."""

    make: Callable[[], Drafter]
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    vocabulary: int

    def ids(self, pieces: Sequence[int]) -> list[int]:
        """Any prefix: each number is a run of the expected answer, or a strange token."""
        output = list(self.prompt)
        for piece in pieces:
            if piece % 3:
                at = len(output) - len(self.prompt)
                output += self.answer[at : at + piece % 7]
            else:
                output.append(piece % self.vocabulary)
        return output


PIECES = st.lists(st.integers(0, 5000), max_size=6)
SHARED = [HealthCheck.differing_executors]  # the acts are the same functions for every drafter, on purpose
QUICK = settings(deadline=None, max_examples=25, suppress_health_check=SHARED)


class DrafterActs:
    """Never too many, never nonsense, always the same."""

    @given(pieces=PIECES, k=st.integers(-1, 20))
    @QUICK
    def test_it_never_says_more_than_asked_nor_what_no_vocabulary_has(
        self, case: Case, pieces: list[int], k: int
    ) -> None:
        output = case.make().propose(case.ids(pieces), k)
        assert len(output) <= max(0, k)
        assert all(0 <= each < case.vocabulary for each in output)

    @given(paths=st.lists(PIECES, min_size=1, max_size=3), k=st.integers(1, 16))
    @QUICK
    def test_what_it_was_shown_before_leaves_no_trace(self, case: Case, paths: list[list[int]], k: int) -> None:
        used = case.make()
        for pieces in paths:
            ids = case.ids(pieces)
            assert used.propose(ids, k) == case.make().propose(ids, k)

    @given(cut=st.integers(0, 40), k=st.integers(1, 16))
    @QUICK
    def test_falling_back_is_as_never_having_been_there(self, case: Case, cut: int, k: int) -> None:
        used = case.make()
        whole = [*case.prompt, *case.answer]
        used.propose(whole, k)
        there = whole[: max(len(case.prompt), len(whole) - cut)]
        assert used.propose(there, k) == case.make().propose(there, k)

    @given(noise=st.lists(st.integers(0, 10**9), max_size=30), k=st.integers(1, 16))
    @QUICK
    def test_any_prefix_is_survived(self, case: Case, noise: list[int], k: int) -> None:
        drafter = case.make()
        for ids in ([], [each % case.vocabulary for each in noise], noise, case.prompt[:2], list(case.prompt)):
            output = drafter.propose(ids, k)
            assert len(output) <= k
            assert all(0 <= each < case.vocabulary for each in output)
        assert drafter.propose(list(case.prompt), k) == case.make().propose(list(case.prompt), k)

    def test_it_does_have_ideas(self, case: Case) -> None:
        drafter = case.make()
        ideas = [drafter.propose([*case.prompt, *case.answer[:at]], 8) for at in range(len(case.answer))]
        right = [output for at, output in enumerate(ideas) if output and output[0] == case.answer[at]]
        assert len(right) >= len(ideas) // 4, "it must be right now and then about what it is good at"

    def test_more_is_asked_and_the_beginning_stays(self, case: Case) -> None:
        ids = [*case.prompt, *case.answer[:2]]
        many = case.make().propose(ids, 12)
        for k in range(1, 12):
            assert case.make().propose(ids, k) == many[:k]

    def test_it_keeps_no_hold_of_what_it_is_given(self, case: Case) -> None:
        drafter = case.make()
        ids = [*case.prompt, *case.answer[:3]]
        output = drafter.propose(ids, 8)
        outcome = list(output)
        output.clear()
        ids.clear()
        assert drafter.propose([*case.prompt, *case.answer[:3]], 8) == outcome
