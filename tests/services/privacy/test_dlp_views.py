"""Layout and encodings hide nothing, a view knows the way back to the text, and what looks encoded is left alone."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.services.privacy.personal_samples import DETECTOR, redacted
from tidegate.services.privacy.dlp.encoded import decode_marks
from tidegate.services.privacy.dlp.folding import FoldedText, fold, squeeze

CARD, EMAIL, IBAN = "4111111111111111", "jo.brand@postbox.example", "GB29NWBK60161331926819"
FRAMES = st.sampled_from(["It is {} now.", "{}", "Re: {}\nthanks", "a | {} | b"])
GAPS = st.text(alphabet=" .-/|\n\t\u2013\u00a0\u00b7", min_size=1, max_size=6)
UNSEEN = st.sampled_from(["\u200b", "\u2066", "\u2069", "\u00ad", "\U000e0020", "\ufe0f", "\u0301"])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(frame=FRAMES, gaps=st.lists(GAPS, min_size=3, max_size=3), unseen=UNSEEN, at=st.integers(1, 15))
def test_a_card_is_found_whatever_stands_between_its_groups(frame: str, gaps: list[str], unseen: str, at: int) -> None:
    groups = [CARD[start : start + 4] for start in range(0, 16, 4)]
    written = groups[0] + "".join(gap + group for gap, group in zip(gaps, groups[1:], strict=True))
    assert redacted(frame.format(written)) == frame.format("<CARD>")
    hidden = CARD[:at] + unseen + CARD[at:]
    assert redacted(frame.format(hidden)) == frame.format("<CARD>")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IBAN GB29.NWBK.6016.1331.9268.19.", "IBAN <IBAN>."),
        ("IBAN GB29\nNWBK\n6016\n1331\n9268\n19 ok", "IBAN <IBAN> ok"),
        ('Mail "jo brand"@postbox.example now', "Mail <EMAIL> now"),
        ("Mail jo.brand\ufe6bpostbox.example now", "Mail <EMAIL> now"),
        ('name: Ada "Countess" Moor, please', "name: <NAME>, please"),
        ("call 020\n7946\n0958 now", "call <PHONE> now"),
        ("call +44  20 -- 7946 // 0958 now", "call <PHONE> now"),
        ("**4111** **1111** **1111** **1111**", "**<CARD>**"),
        ("card 4111\u20281111\u2e3a1111\u21921111", "card <CARD>"),
        ("card \u2779\u2776".replace("\u2779\u2776", "\u2779" + "\u2776" * 15), "card <CARD>"),
        ("Mail jo.brand@postbox\u3002example now", "Mail <EMAIL> now"),
        ("IBAN GB29:NWBK:6016:1331:9268:19.", "IBAN <IBAN>."),
        ("IBANGB29NWBK60161331926819", "IBAN<IBAN>"),
        ("call \u2460\u2461 or 415..555..2671", "call \u2460\u2461 or <PHONE>"),
    ],
)
def test_odd_layout_hides_nothing(text: str, expected: str) -> None:
    assert redacted(text) == expected


def percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def entities(text: str) -> str:
    return "".join(f"&#{ord(each)};" if index % 2 else f"&#x{ord(each):X};" for index, each in enumerate(text))


def escapes(text: str) -> str:
    return "".join(f"\\u{ord(each):04x}" for each in text)


def blocks(text: str) -> str:
    return base64.b64encode(f"it is {text}".encode()).decode()


def url_blocks(text: str) -> str:
    return base64.urlsafe_b64encode(f"\u00ff\u00ff {text}".encode()).decode().rstrip("=")


def bare_entities(text: str) -> str:
    return "".join(f"&#{ord(each):08}" for each in text)


def braces(text: str) -> str:
    return "".join(f"\\u{{{ord(each):x}}}" for each in text)


def octal(text: str) -> str:
    return "".join(f"\\{ord(each):03o}" for each in text)


def base32(text: str) -> str:
    return base64.b32encode(f"it is {text}".encode()).decode()


def hexadecimal(text: str) -> str:
    return f"it is {text}".encode().hex()


def wide(text: str) -> str:
    return base64.b64encode(f"it is {text}".encode("utf-16-le")).decode()


ENCODERS: tuple[Callable[[str], str], ...] = (quote, percent, entities, escapes, blocks, url_blocks)
ENCODERS += (bare_entities, braces, octal, base32, hexadecimal, wide)


@pytest.mark.parametrize("encode", ENCODERS, ids=[each.__name__ for each in ENCODERS])
@pytest.mark.parametrize(("kind", "value"), [("CARD", CARD), ("EMAIL", EMAIL), ("IBAN", IBAN)])
def test_encoded_values_are_found_whole(encode: Callable[[str], str], kind: str, value: str) -> None:
    written = encode(value)
    assert redacted(f"Open r={written} now") == f"Open r=<{kind}> now"
    twice = percent(written)
    assert redacted(f"Open {twice} now") == f"Open <{kind}> now"


def test_base64_in_base64_is_read_and_its_depth_is_bounded() -> None:
    assert redacted(blocks(blocks(blocks(EMAIL)))) == "<EMAIL>"
    assert redacted(blocks(blocks(blocks(blocks(EMAIL))))) != "<EMAIL>"


@pytest.mark.parametrize(
    "text",
    [
        "Donaudampfschifffahrtsgesellschaft, incomprehensibilities, thequickbrownfoxjumps",
        "50% off, 100%, AT&T; a && b; &copy; 2026 &nbsp; R&D",
        "| year | 2019 | 2020 | 2021 | 2022 |\n| --- | --- | --- | --- | --- |\n| cost | 10 | 20 | 30 | 40 |",
        "See C:\\users\\x, \\x and \\u12, or 1\u20442 of it; the 2nd, 3\u00b2 and H\u2082O.",
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b, x=40&y=20&z=3D, a = 20; MULTIPLICATIONSTABELLEN",
        "5*1000*1000 and 3*4*5*6*7*8 = 20160; INV:DE12:2024, XDE12 3456",
        "Opening: 9.00 \u2013 17.30 / 10.00 \u2013 14.00\n12.05.2024 - 13.05.2024",
    ],
)
def test_what_only_looks_encoded_or_numbered_is_left_alone(text: str) -> None:
    assert DETECTOR.find(text) == []


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    text=st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("%4 0&#;6x|.-\u0301\ufb01\u2069")))
)
def test_every_view_maps_back_in_order_and_inside_the_text(text: str) -> None:
    folded = fold(text)
    for view in filter(None, (folded, squeeze(folded), decode_marks(folded))):
        assert len(view.text) == len(view.starts) == len(view.ends)
        pairs = list(zip(view.starts, view.ends, strict=True))
        assert all(0 <= start < end <= len(text) for start, end in pairs)
        assert pairs == sorted(pairs)
    if text.isascii():
        assert folded.text == text
    else:
        assert not any(unicodedata.category(each) == "Cf" for each in folded.text)


def test_a_replaced_stretch_stands_for_all_that_it_replaces() -> None:
    view = FoldedText.of("abcdef").replaced([(1, 3, "X"), (4, 6, "YZ")])
    assert view.text == "aXdYZ"
    assert [view.locate(index, index + 1) for index in range(5)] == [(0, 1), (1, 3), (3, 4), (4, 6), (4, 6)]
    assert view.locate(1, 4) == (1, 6)
