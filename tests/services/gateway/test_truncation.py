"""A text ends before a stop sequence or after so many tokens, to the character, whatever the pieces it comes in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.support.gateway_site import TOKENIZER, TOKENS
from tidegate.services.gateway.http.truncation import TextLimits, Truncation
from tidegate.services.llm.text.token_counter import TokenCounter, load_token_counter

WORDS = load_token_counter(Path("nowhere"))
TEXTS = [
    "",
    " ",
    "Hello",
    "Wir öffnen um 9 Uhr.\n\nMorgen  nicht.",
    "naïve 😀 café — 你好",
    "a\tb\r\nc  ",
    "<EMAIL_0123456789ab>",
]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_the_tokenizer_of_the_site(text: str) -> None:
    ids = Tokenizer.from_file(str(TOKENIZER)).encode(text, add_special_tokens=False).ids
    assert TOKENS.count(text) == len(ids)
    ends = TOKENS.ends(text)
    assert ends == sorted(ends)
    assert ends[-1:] == ([len(text)] if text else [])


def test_where_there_is_no_tokenizer_words_are_counted_and_usage_says_so() -> None:
    assert WORDS.name == "words"
    assert TOKENS.name != "words"
    assert WORDS.ends("one  two\nthree ") == [3, 8, 14]


@pytest.mark.parametrize("n", range(1, 12))
def test_a_character_of_several_tokens_is_never_cut(n: int) -> None:
    text = "a😀你好ö"
    cut = Truncation(TextLimits(max_tokens=n), TOKENS)
    cut.feed(text)
    cut.finish()
    assert text.startswith(cut.text)
    assert TOKENS.count(cut.text) <= n
    if cut.reason:
        assert TOKENS.count(text[: len(cut.text) + 1]) > n


STOPS = st.lists(st.text("ab \n", min_size=1, max_size=4), max_size=4)


@settings(derandomize=True, max_examples=500)
@given(
    pieces=st.lists(st.text("ab \né", max_size=8), max_size=8),
    stop=STOPS,
    max_tokens=st.integers(0, 8),
    counter=st.sampled_from([TOKENS, WORDS]),
)
def test_what_is_given_out_is_the_same_however_the_text_is_cut(
    pieces: list[str], stop: list[str], max_tokens: int, counter: TokenCounter
) -> None:
    text = "".join(pieces)
    limits = TextLimits(tuple(stop), max_tokens)
    whole, streamed = Truncation(limits, counter), Truncation(limits, counter)
    expected = whole.feed(text) + whole.finish()
    assert "".join([*map(streamed.feed, pieces), streamed.finish()]) == expected
    assert (streamed.reason, streamed.text) == (whole.reason, expected)
    assert not any(each in expected for each in stop)
    assert not max_tokens or counter.count(expected) <= max_tokens
    if not whole.reason:
        assert expected == text
    if whole.reason == "stop":
        assert any(text.startswith(each, len(expected)) for each in stop)


def test_no_more_is_held_back_than_may_begin_a_stop_sequence() -> None:
    cut = Truncation(TextLimits(stop=("END", "\n\n")), TOKENS)
    assert [cut.feed(piece) for piece in ("One", " E", "N", "d", "\n", "x")] == ["One", " ", "", "ENd", "", "\nx"]
    assert cut.finish() == ""
    assert cut.reason == ""
