"""What a value looks like, against what its field asks for, as numbers in a fixed order. Next: features.py."""

from __future__ import annotations

import re

from tidegate.services.knowledge.extraction.candidates import ValueCandidate, listed
from tidegate.services.knowledge.extraction.numbers import unit_names
from tidegate.services.knowledge.extraction.terms import OWN, PERSONS, FieldQuery, token_fits
from tidegate.services.languages.extraction_words import all_words, fold

UNIT_FEATURES = listed(
    "unit_same unit_other unit_none money no_money unwanted_money unwanted_percent unwanted_unit counted counted_money "
    "year_like fraction"
)
TEXT_FEATURES = listed(
    "digits has_digits firm street capitals greeted capital one_word two_words many_words person_name person_digits "
    "code_digits code_letters place_street place_capitals company_firm company_capitals firm_unwanted person_titled "
    "person_untitled lower phone_digits phone_letters token_fits is_token names_field is_phone phone_unwanted "
    "date_like no_letters unbalanced marked_code"
)
_MONEY = frozenset(listed("amount price fee total gross net deposit refund salary rent budget tax discount credit"))
_CODES = frozenset(listed("number reference serial invoice order offer contract batch account meter error"))
_PLACES = frozenset(listed("address place city room delivery pickup"))
_COUNTED = frozenset(listed("quantity guests room_night hours age"))
_CURRENCIES = frozenset(unit for unit in unit_names().values() if len(unit) == 3 and unit.isupper())


def unit_features(asked: FieldQuery, candidate: ValueCandidate) -> list[float]:
    """What the unit beside a number, or its size, says about it; see `UNIT_FEATURES`."""
    wants, unit, concepts = asked.unit, candidate.unit, asked.concepts
    is_money, is_percent = unit in _CURRENCIES, unit == "percent"
    wants_money = bool(concepts & _MONEY) and not wants
    counted = bool(concepts & _COUNTED)
    value = candidate.value if isinstance(candidate.value, int | float) else 0
    return [
        float(bool(wants) and wants == unit),
        float(bool(wants) and bool(unit) and wants != unit),
        float(bool(wants) and not unit),
        float(wants_money and is_money),
        float(wants_money and not is_money),
        float(not wants_money and is_money and wants not in _CURRENCIES),
        float(is_percent and wants != "percent"),
        float(not wants and bool(unit) and not is_money and not is_percent),
        float(counted and not is_money),
        float(counted and is_money),
        float(1990 <= value <= 2060 and not unit),
        float(isinstance(value, float)),
    ]


def text_features(asked: FieldQuery, candidate: ValueCandidate, written: str) -> list[float]:
    """What the words of a value say about it, and those that it was read from, `written`; see `TEXT_FEATURES`."""
    text, concepts = str(candidate.value), asked.concepts
    folded = [word.strip(".") for word in fold(text).split()]
    digits = sum(char.isdigit() for char in text) / max(1, len(text))
    is_firm = any(word in all_words("organisations") for word in folded)
    is_street = any(
        word in all_words("streets") or word.endswith(("str", "strasse", "weg", "platz")) for word in folded
    )
    capitals = all(word[:1].isupper() for word in text.split())
    greeted = folded[0] in all_words("roles") if folded else False
    wants = [bool(concepts & group) for group in (PERSONS, _CODES, _PLACES)]
    wants_firm, wants_phone = "company" in concepts, "phone" in concepts
    nameish = capitals and not digits and 1 <= len(folded) <= 3 and not is_firm
    is_token = candidate.shape.startswith("token_")
    own_words = {term.folded for term in asked.terms if term.weight == OWN}
    return [
        float(each)
        for each in (
            *(digits, digits > 0, is_firm, is_street, capitals, greeted, text[:1].isupper()),
            *(len(folded) == 1, len(folded) == 2, len(folded) >= 4),
            *(wants[0] and nameish, wants[0] and digits > 0, wants[1] and digits > 0, wants[1] and not digits),
            *(wants[2] and is_street, wants[2] and capitals, wants_firm and is_firm, wants_firm and capitals),
            is_firm and not wants_firm,
            *(wants[0] and candidate.shape == "titled", wants[0] and candidate.shape == "titled_name", text.islower()),
            *(wants_phone and digits > 0.6 and len(text) >= 7, wants_phone and digits < 0.6),
            *(is_token and token_fits(asked, candidate), is_token, bool(own_words & {*fold(written).split()})),
            *(is_phone(text) and wants_phone, is_phone(text) and not wants_phone, _is_date_like(text)),
            *(not any(char.isalnum() for char in text), text.count("(") != text.count(")")),
            any(char in text for char in "/-") and digits > 0,
        )
    ]


def is_phone(text: str) -> bool:
    """Whether a text is written as telephone numbers are."""
    digits = sum(char.isdigit() for char in text)
    return (
        6 <= digits <= 15
        and digits >= 0.6 * len(text)
        and not re.search(r"[a-zA-Z.]", text)
        and not _is_date_like(text)
    )


def _is_date_like(text: str) -> bool:
    return bool(re.search(r"\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\b20\d\d-\d\d-\d\d\b", text))
