"""What people write in words, in markup or in pieces is found in whole texts, and what only looks so is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.services.languages.spelled_words import LANGUAGES, load_spelled_words
from tidegate.services.privacy.dlp.detector import WholeTextDetector
from tidegate.services.privacy.dlp.disguised import undisguise
from tidegate.services.privacy.dlp.folding import fold

DETECTOR = WholeTextDetector(("GB", "DE", "FR", "ES", "US", "IT", "PT", "NL", "PL"))
CARD = "4111111111111111"


def redacted(text: str) -> str:
    for found in reversed(DETECTOR.find(text)):
        text = f"{text[: found.start]}<{found.kind}>{text[found.end :]}"
    return text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("call me on zero seven nine one one, one two three four five six", "call me on <PHONE>"),
        ("ruf mich an: null eins fünf eins zwei drei vier fünf sechs sieben acht neun!", "ruf mich an: <PHONE>!"),
        ("appelez zéro six douze trente-quatre cinquante-six soixante-dix-huit", "appelez <PHONE>"),
        ("bel nul zes twaalf vierendertig zesenvijftig achtenzeventig", "bel <PHONE>"),
        ("my PIN: one two three four", "my PIN: <SECRET>"),
        ("write to jo.brand at postbox dot example", "write to <EMAIL>"),
        ("write to jo.brand (at) postbox [dot] com, please", "write to <EMAIL>, please"),
        ("jo<at>postbox<dot>com", "<EMAIL>"),
        ("write to jo @ postbox.example now", "write to <EMAIL> now"),
        ("jo.brand_at_postbox_dot_com", "<EMAIL>"),
        ("jo.brand<b>@</b>postbox.example", "<EMAIL>"),
        ("mail jo.brand=40postbox.exam=\nple", "mail <EMAIL>"),
        ("6a 6f 40 70 6f 73 74 62 6f 78 2e 6f 72 67", "<EMAIL>"),
        ("card <b>4111</b><i>1111</i><b>1111</b><span class='x'>1111</span>", "card <b><CARD></span>"),
        (
            "- first 4111\n- then 1111\n- then 1111\n- last 1111",
            "- first <CARD>\n- then <CARD>\n- then <CARD>\n- last <CARD>",
        ),
        ('{"a":"4111","b":"1111","c":"1111","d":"1111"}', '{"a":"<CARD>","b":"<CARD>","c":"<CARD>","d":"<CARD>"}'),
        ('{"date_of_birth":"1980-05-03"}', '{"date_of_birth":"<DOB>"}'),
        ("birthDate = 1980_05_03", "birthDate = <DOB>"),
        ('{"accountNumber": "12345678"}', '{"accountNumber": "<ACCOUNT>"}'),
        ('{"clientSecret": "Zx81aa77"}', '{"clientSecret": "<SECRET>"}'),
        ("born **3 May** **1980**", "born **<DOB>"),
        ("call +  49 151 23456789 or https://wa.me/447911123456", "call <PHONE> or https://wa.me<PHONE>"),
        ("my IP is 192[.]168[.]1[.]7", "my IP is <IP>"),
        ("call O151 23456789", "call <PHONE>"),
        ("card \u283c\u2819" + "\u2801" * 15, "card <CARD>"),
        ("\u5361\u53f7 " + "\u56db" + "\u4e00" * 15, "\u5361\u53f7 <CARD>"),
        ("D\u041589370400440532013000", "<IBAN>"),
    ],
)
def test_a_disguise_hides_nothing(text: str, expected: str) -> None:
    assert redacted(text).replace("**", "") == expected.replace("**", "")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_card_and_an_address_are_found_in_the_words_of_every_language(language: str) -> None:
    words = load_spelled_words(language)
    digits = {str(value): word for word, value in reversed(words.numbers.items()) if value < 10}
    assert redacted(f"# {' '.join(digits[digit] for digit in CARD)} #") == "# <CARD> #"
    at, dot = (*words.at, *words.weak_at)[0], words.dots[0]
    assert redacted(f"# jo.brand {at} postbox {dot} com #") == "# <EMAIL> #"


@pytest.mark.parametrize(
    "text",
    [
        "Count with me: one two three four five six. We need one or two, maybe three or four, of five hundred.",
        "sechs Richtige: drei, sieben, elf, neunzehn, dreiunddreißig, vierzig",
        "Un, deux, trois, nous irons au bois; quatre, cinq, six, cueillir des cerises.",
        "Part numbers: 4500, 4600, 4700, 4800; invoices 4111, 4222, 4333 and 4444; seats 11, 12, 13.",
        "The opening hours are 8:30-12:00, 13:00-17:30 (Mon-Fri) and 9-13 on Saturday.",
        "<table><tr><td>2019</td><td>2020</td><td>2021</td><td>2022</td></tr></table>",
        '{"article_number": "4006381333931", "unit_price": 12.5, "opening_time": "08:30", "customer_count": 1200}',
        "max_connections=1024 timeout_ms=30000 buffer_size=4194304 x=40&y=20&z=3D",
        "We met at noon at the point. See you @ work. Bye now, @ 5.00 each. Look at section dot 5.",
        "The pages are at www.harbour.example; the portal is at developer.harbour.example.",
        "Use **bold**, `code` and <b>html</b>; a < b, c > d; 5*1000*1000; snake_case: fine, camelCase: too",
    ],
)
def test_what_only_looks_disguised_is_left_alone(text: str) -> None:
    assert DETECTOR.find(text) == []


FIELDS = st.text(alphabet="abcdefgh _-", min_size=1, max_size=10)
WRITTEN: dict[str, Callable[[list[str], str], str]] = {
    "fields": lambda groups, name: json.dumps({f"{name}{n}": group for n, group in enumerate(groups)}),
    "items": lambda groups, name: "\n".join(f"- {name}: {group}" for group in groups),
    "cells": lambda groups, name: f"{name}<td>" + "</td><td>".join(groups) + "</td>",
    "quotes": lambda groups, name: f"{name} " + ", ".join(f'"{group}"' for group in groups),
}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(written=st.sampled_from(sorted(WRITTEN)), name=FIELDS, last=st.integers(0, 9999))
def test_no_group_of_a_card_is_left_wherever_its_groups_stand(written: str, name: str, last: int) -> None:
    body = f"4988{last:04}7301{last:04}"[:15]
    doubled = sum(sum(divmod(int(digit) * (2 - n % 2), 10)) for n, digit in enumerate(body))
    number = f"{body}{-doubled % 10}"
    left = redacted(WRITTEN[written]([number[at : at + 4] for at in range(0, 16, 4)], name))
    assert not any(number[at : at + 4] in left for at in range(0, 16, 4))


PIECES = st.lists(
    st.sampled_from(
        ["jo", " at ", " dot ", "[.]", "(at)", "<b>", "**", "=40", "=\n", "one two three ", "x_y: ", "@", " ", "\u2801"]
    )
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(pieces=PIECES)
def test_the_view_knows_the_way_back(pieces: list[str]) -> None:
    text = "".join(pieces)
    plain = undisguise(fold(text))
    if plain is None:
        return
    assert len(plain.text) == len(plain.starts) == len(plain.ends)
    assert list(plain.starts) == sorted(plain.starts)
    assert all(0 <= start < end <= len(text) for start, end in zip(plain.starts, plain.ends, strict=True))
