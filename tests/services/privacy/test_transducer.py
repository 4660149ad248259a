"""However a text is cut, what is released is what the whole text gives, and no byte of a value is released before."""

from __future__ import annotations

import re
import statistics
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.services.privacy.personal_samples import DETECTOR
from tests.services.privacy.stream_texts import NOISE, PIECES, PLANTED, TOKEN, VALUE, cut, make_text
from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.privacy.dlp.finding import Finding
from tidegate.services.privacy.dlp.settled import LONGEST_NUMBER, LONGEST_RUN, settled_length
from tidegate.services.privacy.transducer import StreamScreen

TEXTS = 10_000
PROSE = (
    "A lost card is blocked at once when you call the branch, and a new one comes by post within five working days. "
    "The fee for it is printed in the price list, which every branch keeps at the counter; children pay nothing. "
    "Whoever has an account with us can order one online too, and sees there when it was sent. "
)


def hide(found: Finding) -> str:
    return f"[{found.kind}]"


def restore(token: str) -> str:
    return VALUE if token == TOKEN else token


def reference(text: str) -> str:
    """The whole text at once, from its end to its start: plain, and nothing of the transducer's own."""
    tokens = [(found.start(), found.end()) for found in VAULT_TOKEN.finditer(text)]
    changes = [(start, end, restore(text[start:end])) for start, end in tokens]
    changes += [
        (found.start, found.end, hide(found))
        for found in DETECTOR.find(text)
        if all(found.end <= start or end <= found.start for start, end in tokens)
    ]
    for start, end, other in sorted(changes, reverse=True):
        text = text[:start] + other + text[end:]
    return text


def stream(pieces: list[str]) -> tuple[str, StreamScreen]:
    screen = StreamScreen(DETECTOR.find, hide, restore)
    return "".join([*map(screen.feed, pieces), screen.finish()]), screen


def test_ten_thousand_texts_give_the_same_however_they_are_cut() -> None:
    random = Random(11)
    for _ in range(TEXTS):
        text = make_text(random, 2)
        pieces = list(cut(random, text, random.choice((3, 20, 60))))
        assert stream(pieces)[0] == reference(text), (text, pieces)


TEXT = st.lists(st.one_of(st.sampled_from(PIECES), st.text(alphabet=NOISE, max_size=12)), max_size=5)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    parts=TEXT, glue=st.sampled_from((" ", "\n", "", ". ")), seed=st.integers(0, 1 << 30), longest=st.integers(1, 30)
)
def test_any_text_gives_the_same_however_it_is_cut(parts: list[str], glue: str, seed: int, longest: int) -> None:
    text = glue.join(parts)
    assert stream(list(cut(Random(seed), text, longest)))[0] == reference(text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(parts=TEXT, more=TEXT, glue=st.sampled_from((" ", "\n", "")))
def test_what_is_settled_stays_as_it_is_whatever_follows(parts: list[str], more: list[str], glue: str) -> None:
    text = glue.join(parts)
    settled = settled_length(text)
    longer = glue.join([*parts, *more])

    def found_before(whole: str) -> list[Finding]:
        return [found for found in DETECTOR.find(whole) if found.end <= settled]

    assert settled <= settled_length(longer)
    assert found_before(text) == found_before(longer)


@pytest.mark.parametrize(("value", "text"), PLANTED, ids=[value for value, _ in PLANTED])
def test_no_byte_of_a_planted_value_is_released_one_character_at_a_time(value: str, text: str) -> None:
    text = f"{PROSE}{text}\n{PROSE}"
    at = text.index(value)
    screen = StreamScreen(DETECTOR.find, hide, restore)
    out = ""
    for index, character in enumerate(text):
        out += screen.feed(character)
        assert len(screen.held) <= 200
        if at <= index < at + len(value):
            assert len(out) <= at
    assert value not in out + screen.finish()


@pytest.mark.parametrize(
    "text",
    [
        "the customer abc 4711 is here and more",
        "my IBAN is de88 nwbk 6016 and some words more follow here, and yet some",
        "on 3 May 1971, as my mother says, I was born here",
        "the password: correct \n and so on",
        "the password: correct horse and so on",
        'write "jo brand"@postbox.example or "so" he said',
        "my name is ada lovelace of nowhere",
        "Regards, Jane Doe and others say so",
        "pay 4111\n1111 | 1111\t1111 now and later",
        "in Krakow,AB 12 34 56 C and no more",
        "rss mra 85t10 a562 s, RSS MRA 85T10 A562S and more",
    ],
)
def test_what_is_decided_late_is_held_until_then(text: str) -> None:
    out, _ = stream(list(text))
    assert out == reference(text)
    assert stream([word + " " for word in text.split(" ")])[0] == reference(text + " ")


def test_plain_prose_flows_at_once() -> None:
    screen = StreamScreen(DETECTOR.find, hide)
    held = []
    for token in re.findall(r"\S+\s+", PROSE * 3):
        screen.feed(token)
        held.append(len(screen.held.split()))
    assert statistics.median(held) == 0
    assert statistics.fmean(held) < 1
    screen = StreamScreen(DETECTOR.find, hide)
    held = []
    for token in re.findall(r"\s*\S+", PROSE):  # with its blank before it, a word is not known to be over
        screen.feed(token)
        held.append(len(screen.held.split()))
    assert statistics.median(held) == 1


def test_a_long_stream_is_not_kept_and_hold_back_is_bounded() -> None:
    out, screen = stream(list(cut(Random(3), PROSE * 40 + PLANTED[0][1], 40)))
    assert out == reference(PROSE * 40 + PLANTED[0][1])
    assert len(screen._text) < 6000
    screen = StreamScreen(DETECTOR.find, hide)
    out = ""
    for _ in range(30):
        out += screen.feed("x" * 500)
        assert len(screen.held) <= LONGEST_RUN
    assert out + screen.finish() == "x" * 15_000
    screen = StreamScreen(DETECTOR.find, hide)
    for _ in range(60):
        screen.feed("12 345 " * 8)
        assert len(screen.held) <= LONGEST_NUMBER
    assert screen.finish()
