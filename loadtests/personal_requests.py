"""Requests full of personal data that no pack labels: random values, each of which proves itself or is introduced.

None of them is in a document of a shipped pack: what a site publishes is found wherever the fleet holds documents.

Next: personal_scan.py, which asks them and looks for what they held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
PHONES = range(700, 900)
"""The last digits of telephone numbers: documents of the shipped packs have some of the others, to be called."""
FRAMES: dict[str, tuple[str, ...]] = {
    "email": (
        "Please write to {}, and tell me what a card costs.",
        "Bitte schreiben Sie mir an {}, was kostet eine Karte?",
        "Quels sont vos horaires ? Mon adresse : {}.",
        "how do I block my card? mail me at {}",
    ),
    "card": (
        "My card {} was stolen, please block it!",
        "Meine Karte {} wurde gestohlen, bitte sperren!",
        "Card number: {}. What does a new one cost?",
    ),
    "iban": (
        "Can I send money abroad from {}?",
        "Mein Konto {} ist gesperrt, was nun?",
        "Quels sont les frais pour le compte {} ?",
    ),
    "phone": ("Call me on {}, when do you open?", "Rufen Sie mich an: {}. Wann haben Sie offen?"),
    "name": (
        "My name is {}. When do you open on Saturday?",
        "Ich hei\u00dfe {} und m\u00f6chte ein Konto er\u00f6ffnen.",
    ),
    "secret": ("my password is {} and I cannot log in", "Mein Passwort: {} geht nicht mehr"),
}


class PersonalRequest(NamedTuple):
    """A question, and the values in it, as they were written and without their layout."""

    text: str
    values: tuple[str, ...]


def personal_requests(seed: int, count: int) -> Iterator[PersonalRequest]:
    """So many requests, the same for the same seed; of two values each."""
    random = Random(seed)
    kinds = tuple(FRAMES)
    for number in range(count):
        first, second = kinds[number % len(kinds)], random.choice(kinds)
        parts, values = [], list[str]()
        for kind in (first, second):
            value = MAKERS[kind](random)
            parts.append(random.choice(FRAMES[kind]).format(value))
            values += dict.fromkeys((value, value.replace(" ", "").replace("-", "")))
        yield PersonalRequest(" ".join(parts), tuple(values))


def word(random: Random, syllables: int) -> str:
    """Something that can be said, and that is in no document."""
    return "".join(random.choice(CONSONANTS) + random.choice(VOWELS) for _ in range(syllables))


def email(random: Random) -> str:
    """An address below example.org."""
    return f"{word(random, 3)}.{word(random, 3)}{random.randint(10, 99)}@{word(random, 2)}.example.org"


def card(random: Random) -> str:
    """A card number with its check digit, in one of the layouts that people write."""
    digits = "4" + "".join(random.choices("0123456789", k=14))
    total = sum(sum(divmod(int(digit) * (2 - at % 2), 10)) for at, digit in enumerate(digits))
    digits += str(-total % 10)
    between = random.choice(("", " ", "-"))
    return between.join(digits[at : at + 4] for at in range(0, 16, 4))


def iban(random: Random) -> str:
    """A German account with its check digits."""
    account = "".join(random.choices("123456789", k=18))
    digits = f"{98 - int(account + '131400') % 97:02d}"
    whole = f"DE{digits}{account}"
    return random.choice((whole, " ".join(whole[at : at + 4] for at in range(0, len(whole), 4))))


def phone(random: Random) -> str:
    """A number of those that are kept free for films, and that no pack publishes as its own."""
    return random.choice(("+44 20 7946 0{:03d}", "+442079460{:03d}")).format(random.choice(PHONES))


def name(random: Random) -> str:
    """A first and a last name."""
    return f"{word(random, 2).title()} {word(random, 3).title()}"


def secret(random: Random) -> str:
    """A password."""
    return f"{word(random, 3)}{random.randint(1000, 9999)}{random.choice('!?#')}"


MAKERS: dict[str, Callable[[Random], str]] = {
    "email": email,
    "card": card,
    "iban": iban,
    "phone": phone,
    "name": name,
    "secret": secret,
}
