"""What a model writes in a disguise is found sentence by sentence, however the stream is cut, and is held no longer."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.services.privacy.stream_texts import NOISE, PIECES, cut
from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.privacy.dlp.detector import WrittenTextDetector
from tidegate.services.privacy.dlp.units import LONGEST_UNIT, settled_units, split_units
from tidegate.services.privacy.transducer import StreamScreen

WRITER = WrittenTextDetector(("GB", "DE", "FR", "ES", "US"))
DISGUISED = (
    "Write to jo brand at postbox dot example.",
    "Her card is four one one one, one one one one, one one one one, one one one one.",
    "Card: **4111** then **1111** then **1111** then **1111**.",
    "Reach him at jo (at) postbox (dot) example!",
    "| 4111 | 1111 | 1111 | 1111 |",
)
PLAIN = ("The fee is 12 pounds. ", "Cards are blocked at once.\n", "Is it open? ", "- a passport\n", " . ", "\n\n", "?")
TEXT = st.lists(
    st.one_of(st.sampled_from((*DISGUISED, *PLAIN, *PIECES)), st.text(alphabet=NOISE, max_size=9)), max_size=6
)
GLUE = st.sampled_from((" ", "\n", "", ". "))


def whole(text: str) -> str:
    """The whole text at once; a token is never hidden."""
    tokens = [token.span() for token in VAULT_TOKEN.finditer(text)]
    hidden = [
        each for each in WRITER.find(text) if all(each.end <= start or end <= each.start for start, end in tokens)
    ]
    for found in reversed(hidden):
        text = f"{text[: found.start]}[{found.kind}]{text[found.end :]}"
    return text


def screen() -> StreamScreen:
    return StreamScreen(WRITER.find, lambda found: f"[{found.kind}]", settled=settled_units)


@pytest.mark.parametrize("text", DISGUISED)
@pytest.mark.parametrize("frame", ["{}", "It is open till six. {} Cards are blocked at once.", "- a passport\n{}\n- x"])
def test_a_disguise_in_an_answer_is_found_and_not_shown_in_part(text: str, frame: str) -> None:
    written = frame.format(text)
    found = [each.value for each in WRITER.find(written)]
    assert found
    stream = screen()
    shown = "".join([*(stream.feed(letter) for letter in written), stream.finish()])
    assert shown == whole(written)
    assert not any(value in shown for value in found)


@settings(max_examples=150, deadline=None)
@given(parts=TEXT, glue=GLUE, seed=st.integers(0, 1 << 30), longest=st.integers(1, 40))
def test_an_answer_gives_the_same_however_it_is_cut(parts: list[str], glue: str, seed: int, longest: int) -> None:
    text, stream = glue.join(parts), screen()
    assert "".join([*map(stream.feed, cut(Random(seed), text, longest)), stream.finish()]) == whole(text)


@settings(max_examples=150, deadline=None)
@given(parts=TEXT, more=TEXT, glue=GLUE)
def test_a_unit_that_has_ended_stays_as_it_is_and_so_does_what_is_found_in_it(
    parts: list[str], more: list[str], glue: str
) -> None:
    text = glue.join(parts)
    longer, settled = text + glue + glue.join(more), settled_units(text)
    assert settled <= settled_units(longer)
    ended = [span for span in split_units(text) if span[1] <= settled]
    assert ended == [span for span in split_units(longer) if span[1] <= settled]
    assert [each for each in WRITER.find(text) if each.end <= settled] == [
        each for each in WRITER.find(longer) if each.end <= settled
    ]


@given(text=st.text(alphabet="ab.? \n", max_size=1500), at=st.integers(0, 40))
@settings(max_examples=80, deadline=None)
def test_units_are_bounded_and_the_same_from_the_end_of_any_of_them(text: str, at: int) -> None:
    spans = list(split_units(text))
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(0 < end - start <= LONGEST_UNIT for start, end in spans)
    first = spans[min(at, len(spans) - 1)][0] if spans else 0
    assert [(first + start, first + end) for start, end in split_units(text[first:])] == [
        span for span in spans if span[0] >= first
    ]


def test_no_more_is_held_than_a_unit_and_what_may_be_a_value() -> None:
    stream = screen()
    for _ in range(40):
        stream.feed("the fee is printed in the list at the counter, which any branch has and ")
        assert len(stream.held) <= LONGEST_UNIT + 80
