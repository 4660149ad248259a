"""What is short is judged where it is asked for, and everything else in a thread."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas import Answer, Citation
from tidegate.services.stages.threads import BRIEF_CHARS, in_thread_unless, is_brief


@given(st.integers(0, BRIEF_CHARS + 5), st.lists(st.integers(0, 600), max_size=3), st.integers(0, 600))
def test_an_answer_is_brief_with_all_of_its_quotations_and_the_question(
    text: int, quotes: list[int], asked: int
) -> None:
    cited = tuple(
        Citation(document_id="fees", document_version="1", start=0, end=chars, quote="q" * chars) for chars in quotes
    )
    answer = Answer(text="t" * text, citations=cited)
    assert is_brief(answer, "a" * asked) is (asked + text + sum(quotes) <= BRIEF_CHARS)


@pytest.mark.parametrize("is_quick", [False, True])
def test_only_what_is_quick_is_called_in_the_loops_own_thread(is_quick: bool) -> None:
    called_in = asyncio.run(in_thread_unless(is_quick, threading.get_ident))
    assert (called_in == threading.get_ident()) is is_quick


@pytest.mark.parametrize("is_quick", [False, True])
def test_what_is_raised_is_raised_to_who_asked(is_quick: bool) -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(in_thread_unless(is_quick, lambda: 1 // 0))
