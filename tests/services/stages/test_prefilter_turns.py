"""A number that a person writes in two turns is personal in both, wherever it was cut."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.services.privacy.personal_samples import DETECTOR
from tests.support.screened_turns import asked, screening, with_intents
from tidegate.schemas import Screened
from tidegate.services.privacy.dlp.finding import Finding
from tidegate.services.stages.prefilter.turns import PersonalPiece, find_across, joined, outside_tokens

pytestmark = pytest.mark.anyio

NUMBERS = ("4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "+44 20 7946 0958")
asides = st.sampled_from(["", "thanks", "Is it blocked?", "My card is", "hm, wait"])


async def find_by_rules(text: str) -> list[Finding]:
    return DETECTOR.find(text)


@pytest.fixture(scope="module")
async def screen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    async with screening(with_intents(tmp_path_factory.mktemp("site"))) as screened:
        yield screened


@given(number=st.sampled_from(NUMBERS), cut=st.integers(1, 18), before=asides, after=asides)
@settings(max_examples=60, deadline=None)
async def test_both_parts_of_a_number_are_found_wherever_it_is_cut(
    number: str, cut: int, before: str, after: str
) -> None:
    cut = min(cut, len(number) - 1)
    head, tail = number[:cut].rstrip(), number[cut:].lstrip()
    texts = [f"{before} {head}".strip(), f"{tail} {after}".strip()]
    if not (re.search(r"\d", head) and re.search(r"\d", tail)):
        return
    # A cut within a group leaves a blank where none belongs, which the rules for some kinds do not read over.
    if not any(each.value.startswith(head) for each in DETECTOR.find(" ".join(texts))):
        return
    across = await find_across(find_by_rules, texts)
    for text, found in zip(texts, across, strict=True):
        own = joined(text, DETECTOR.find(text), found)
        hidden = {at for each in own for at in range(each.start, each.end)}
        assert not [letter for at, letter in enumerate(text) if letter.isdigit() and at not in hidden]
        assert all(each.value == text[each.start : each.end] for each in own)


@given(texts=st.lists(st.text("4 1.a", max_size=150), max_size=6))
@settings(max_examples=60, deadline=None)
async def test_every_piece_is_a_part_of_its_text_with_a_digit(texts: list[str]) -> None:
    for text, found in zip(texts, await find_across(find_by_rules, texts), strict=True):
        assert all(each.value == text[each.start : each.end] for each in found)
        assert all(re.search(r"\d", each.value) for each in found)


def test_of_a_finding_that_reaches_over_a_token_the_rest_is_hidden() -> None:
    text = "card <CARD_0a1b2c3d4e5f> 1111, thanks"
    whole = PersonalPiece("CARD", 5, 29, text[5:29])
    assert outside_tokens(text, [whole]) == [PersonalPiece("CARD", 25, 29, "1111")]
    assert outside_tokens(text, [PersonalPiece("CARD", 6, 15, text[6:15])]) == []


@pytest.mark.parametrize(
    "turns",
    [
        ("My card is 4111 1111", "Go on.", "1111 1111 thanks. How do I block it?"),
        ("My card is 4111", "Go on.", "1111 1111", "And?", "1111. How do I block it?"),
        ("My number is +44 20 7946", "Go on.", "0958. Is it on file?"),
    ],
)
async def test_the_second_half_of_a_number_does_not_go_further(screen: Any, turns: tuple[str, ...]) -> None:
    [found] = await screen(asked(*turns))
    assert isinstance(found, Screened)
    assert not {"1111", "0958", "7946", "4111"} & {*re.findall(r"\d+", re.sub(r"<\w+>", "", found.question.text))}


async def test_two_numbers_of_two_turns_that_are_none_together_stay(screen: Any) -> None:
    [found] = await screen(asked("Is the branch open on 12 May?", "Yes.", "And until 16:30 on 13 May?"))
    assert isinstance(found, Screened)
    assert "13 May" in found.question.text
