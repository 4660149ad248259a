"""Texts to be streamed, glued at random of personal data, pieces of it, prose, tokens and noise; and their cuts."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.services.privacy.personal_samples import FOUND, LEFT_ALONE
from tests.services.privacy.test_national_ids import AFTER_WORDS, ALONE

PLANTED = tuple((value, frame.format(value)) for _, value, frame in FOUND)
TOKEN, VALUE = "<EMAIL_0123456789ab>", "ann@example.org"
PIECES = (
    *(text for _, text in PLANTED),
    *LEFT_ALONE,
    *ALONE.values(),
    *(frame.format(value) for frame, value in AFTER_WORDS.values()),
    'Mail "jo brand"@postbox.example',
    'name: Ada "Countess" Moor',
    "r?e=jo.brand%40postbox.example",
    "am9AcG9zdGJveC5leGFtcGxl",
    "6a6f2e6272616e6440706f7374626f782e6578616d706c65",
    "NJXS4YTSMFXGIQDQN5ZXIYTPPAXGK6DBNVYGYZI=",
    "jo.brand&#64postbox.example",
    "**4111** **1111** **1111** **1111**",
    "GB29:NWBK:6016:1331:9268:19",
    "IBANGB29NWBK60161331926819",
    '{"password":"hunter2hunter2","x":"y"}',
    "Authorization: Basic am86aHVudGVyMmh1bnRlcjI=",
    f"write to {TOKEN} or <IBAN_fedcba987654>",
    "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----",
    *("born", "on 3 May", "I am", "My name is", "account number", "May", "my PIN is", "4111", "1111", "card", "GB29"),
    *(
        "|",
        "password:",
        "\u200b",
        "\u0301",
        "&#64;",
        "password is",
        "My wife",
        "regards,\n",
        "mijn naam is",
        "in 't",
        "op den",
        "met vriendelijke",
        "customer abc",
        "passport",
    ),
)
WORDS = " ".join(LEFT_ALONE).split()
NOISE = "19 4-/.,|:@\"'<>_%+( \nAZbm\u00e9\u200b"
GLUE = (" ", "\n", ". ", "", ", ", "  ")


def make_text(random: Random, most_parts: int) -> str:
    """One text of up to so many parts."""
    parts = []
    for _ in range(random.randint(1, most_parts)):
        piece = random.choice(PIECES)
        start = random.randint(0, len(piece))
        parts.append(
            random.choices(
                (
                    piece,
                    " ".join(random.choices(WORDS, k=random.randint(1, 12))),
                    piece[start : random.randint(start, len(piece))],
                    "".join(random.choices(NOISE, k=random.randint(1, 15))),
                ),
                (50, 25, 15, 10),
            )[0]
        )
    return random.choice(GLUE).join(parts)


def cut(random: Random, text: str, longest: int) -> Iterator[str]:
    """The text in pieces of 1 to `longest` characters."""
    start = 0
    while start < len(text):
        size = random.randint(1, longest)
        yield text[start : start + size]
        start += size
