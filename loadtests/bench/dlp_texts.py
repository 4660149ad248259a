"""Fills sentences with invented personal data of many locales, in layouts and encodings as people send them.

Run as a program by an interpreter that has Faker; it imports nothing of ours, so that the peer's environment makes the
texts. Each line that it prints is one text in JSON: locale, language, form, text, truth (a list of [kind, start, end]).
Next: dlp_vs_presidio.py, which measures on them.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import json
import random
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zlib import crc32

SLOT = re.compile(r"(\{\w+\})")
KINDS = {
    "name": "NAME",
    "given": "NAME",
    "surname": "NAME",
    "address": "ADDRESS",
    "postcode": "POSTCODE",
    "birth": "DOB",
    "email": "EMAIL",
    "phone": "PHONE",
    "iban": "IBAN",
    "card": "CARD",
    "ip": "IP",
    "id": "NATIONALID",
}
FRAMES = ("names", "addresses", "postcodes", "births", "numbers", "harmless")
FORMS = ("plain",) * 6 + ("breaks", "blanks", "lower", "percent", "entities", "base64")
"""Half of the texts come as they are."""
IDS: dict[str, tuple[str, ...]] = {
    "en_GB": ("ssn",),
    "en_US": ("ssn",),
    "de_AT": ("ssn",),
    "de_CH": ("ssn",),
    "fr_FR": ("ssn",),
    "es_ES": ("nif", "nie"),
    "it_IT": ("ssn",),
    "nl_NL": ("ssn",),
    "pl_PL": ("pesel",),
    "pt_BR": ("cpf",),
    "sv_SE": ("ssn",),
}
"""Faker's methods for the national numbers of a locale; the others have none."""
WITHOUT_IBAN = {"en_US": "en_GB", "pt_BR": "pt_PT"}
TRIES = 60
Half = Callable[[str], bool]


def halves(name: str) -> Half:
    """Which of Faker's names belong to a half: `heldout`, `dev`; no name is in both."""
    wanted = {"dev": 0, "heldout": 1}[name]
    return lambda value: crc32(value.lower().encode()) % 2 == wanted


class Inventor:
    """Invents the values of one locale. Deterministic for a seed and a release of Faker and phonenumbers."""

    def __init__(self, locale: str, months: list[str], half: Half, seed: int) -> None:
        faker = importlib.import_module("faker")
        self._faker = faker.Faker(locale)
        self._faker.seed_instance(seed)
        self._bank = faker.Faker(WITHOUT_IBAN.get(locale, locale))
        self._bank.seed_instance(seed)
        self._cards = faker.Faker("en_US")  # other locales know fewer issuers
        self._cards.seed_instance(seed)
        self._phones = importlib.import_module("phonenumbers")
        self._locale, self._months, self._half = locale, months, half
        self._chance = random.Random(f"{locale} {seed}")

    def fill(self, slot: str) -> str:
        """A value for a slot. Raises `LookupError` where the locale has none."""
        invent: Callable[[], str] = getattr(self, f"_{slot}")
        return invent()

    def _given(self) -> str:
        return self._of_half(self._faker.first_name)

    def _surname(self) -> str:
        return self._of_half(self._faker.last_name)

    def _of_half(self, invent: Callable[[], Any]) -> str:
        for _ in range(TRIES):
            value = str(invent())
            if self._half(value):
                break
        return value

    def _name(self) -> str:
        return f"{self._given()} {self._surname()}"

    def _address(self) -> str:
        street = self._faker.street_address().replace("\n", ", ")
        town = f"{self._faker.postcode()} {self._faker.city()}"
        if self._locale in ("en_GB", "en_US"):
            town = f"{self._faker.city()} {self._faker.postcode()}"
        return f"{street}, {town}" if self._chance.random() < 0.8 else str(street)

    def _postcode(self) -> str:
        return str(self._faker.postcode())

    def _birth(self) -> str:
        day = self._faker.date_of_birth(minimum_age=16, maximum_age=95)
        month = self._months[day.month - 1]
        separator = {"en": "/", "de": ".", "nl": "-", "pl": "."}.get(self._locale[:2], "/")
        numbers = f"{day.day:02}", f"{day.month:02}", f"{day.year}"
        shown = (numbers[1], numbers[0], numbers[2]) if self._locale == "en_US" else numbers
        of = " de " if self._locale[:2] in ("es", "pt") else " "
        dot = "." if self._locale[:2] == "de" else ""
        return self._chance.choice((separator.join(shown), f"{day.day}{dot}{of}{month}{of}{day.year}", str(day)))

    def _email(self) -> str:
        return str(self._chance.choice((self._faker.email, self._faker.free_email))())

    def _phone(self) -> str:
        region = self._locale[3:]
        for _ in range(TRIES):
            value = str(self._faker.phone_number())
            try:
                number = self._phones.parse(value, region)
            except self._phones.NumberParseException:
                continue
            if self._phones.is_valid_number(number) and "x" not in value:
                return value
        example = self._phones.example_number(region)
        return str(self._phones.format_number(example, self._phones.PhoneNumberFormat.NATIONAL))

    def _iban(self) -> str:
        value = str(self._bank.iban())
        return _grouped(value) if self._chance.random() < 0.5 else value

    def _card(self) -> str:
        value = str(self._cards.credit_card_number(self._chance.choice(("visa16", "mastercard", "amex"))))
        return _grouped(value) if self._chance.random() < 0.5 and len(value) == 16 else value

    def _ip(self) -> str:
        return str(self._chance.choice((self._faker.ipv4_public, self._faker.ipv4_public, self._faker.ipv6))())

    def _id(self) -> str:
        if self._locale == "en_GB":  # Faker's begin with ZZ, which no number of a person does
            prefix, letter = self._chance.choice(("AB", "JK", "SP", "WM")), self._chance.choice("ABCD")
            return str(self._faker.numerify(f"{prefix}######{letter}"))
        methods = IDS.get(self._locale)
        if methods is None:
            raise LookupError(self._locale)
        return str(getattr(self._faker, self._chance.choice(methods))())


def _grouped(value: str) -> str:
    return " ".join(value[start : start + 4] for start in range(0, len(value), 4))


def written(part: str, form: str, chance: random.Random) -> str:
    """A part of a text in its form; parts are written apart, so that it is known where each is."""
    if form == "lower":
        return part.lower()
    if form == "percent":
        return quote(part)
    if form == "entities":
        return "".join(f"&#{ord(each)};" if not each.isascii() or chance.random() < 0.3 else each for each in part)
    if form == "blanks":
        return re.sub(" ", lambda _: chance.choice((" ", "  ", "\u00a0", "\t", " ")), part)
    if form == "breaks":
        return re.sub(" ", lambda _: chance.choice((" ", " ", " ", "\n")), part)
    return part


def make_text(frame: str, form: str, inventor: Inventor, chance: random.Random) -> tuple[str, list[list[Any]]]:
    """The text and its truth; in base64 the whole of it is what has to be hidden."""
    text, truth = "", []
    for part in SLOT.split(frame):
        value = inventor.fill(part[1:-1]) if SLOT.fullmatch(part) else part
        shown = written(value, form, chance)
        if SLOT.fullmatch(part):
            truth.append([KINDS[part[1:-1]], len(text), len(text) + len(shown)])
        text += shown
    if form == "base64":
        block = base64.b64encode(text.encode()).decode()
        return f"data: {block}", [[truth[0][0], 6, 6 + len(block)]] if truth else []
    return text, truth


def make_texts(frames: dict[str, Any], half: Half, seed: int, fillings: int) -> Iterator[dict[str, Any]]:
    """Every frame of every locale so often; of harmless ones, which hold no value, each form once in three rounds."""
    for language, spec in frames.items():
        for number, locale in enumerate(spec["locales"]):
            inventor = Inventor(locale, spec["months"], half, seed + number)
            chance = random.Random(f"{seed} {locale}")
            for group in FRAMES:
                for frame in spec[group] * (1 if group == "harmless" else fillings):
                    if "{id}" in frame and locale not in IDS:
                        continue
                    form = chance.choice(FORMS)
                    text, truth = make_text(frame, form, inventor, chance)
                    yield {"locale": locale, "language": language, "form": form, "text": text, "truth": truth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frames", type=Path)
    parser.add_argument("--half", choices=("dev", "heldout"), default="heldout")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fillings", type=int, default=4, help="how often each frame is filled for each locale")
    arguments = parser.parse_args()
    frames = tomllib.loads(arguments.frames.read_text("utf-8"))
    for each in make_texts(frames, halves(arguments.half), arguments.seed, arguments.fillings):
        sys.stdout.write(json.dumps(each, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
