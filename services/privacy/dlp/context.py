"""Finds what only the words before it reveal: births, passports, accounts, customers; next: credentials.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tidegate.services.languages.words import join_patterns, list_gates
from tidegate.services.privacy.dlp.finding import PersonalSpan

LINK = re.compile(
    rf"(?:[\s:#=.,°º()\"'-]{{1,3}}|(?:{join_patterns(lambda words: words.personal.links)})\b){{0,10}}", re.IGNORECASE
)
MONTH = rf"(?:{join_patterns(lambda words: ' '.join(words.months).split())})[^\W\d_]{{0,8}}\.?"
YEAR = r"(?:19|20)\d{2}"
DATE = re.compile(
    rf"(?<![\d.])(?:\d{{1,2}}[./ -]{{1,2}}\d{{1,2}}[./ -]{{1,2}}(?:{YEAR}|\d{{2}})|{YEAR}[./-]\d{{1,2}}[./-]\d{{1,2}}|"
    rf"\d{{1,2}}(?:st|nd|rd|th|er|\.)?(?: of| de)? {{0,2}}{MONTH}(?: de| del)?,? {{0,2}}{YEAR}|"
    rf"{MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? {YEAR})(?!\d)",
    re.IGNORECASE,
)
DAY_DIGITS, MONTH_DIGITS = r"(?:0[1-9]|[12]\d|3[01])", r"(?:0[1-9]|1[0-2])"
BIRTH_DATE = re.compile(
    rf"{DATE.pattern}|(?<![\d.])(?:\d{{1,2}}(?:st|nd|rd|th|er|\.)?[ -]{{0,2}}(?:of |de )?"
    rf"{MONTH}(?: de| del)?[,' -]{{1,3}}(?:{YEAR}|\d{{2}})|{MONTH}[ -]{YEAR}|"
    rf"{DAY_DIGITS}{MONTH_DIGITS}{YEAR}|{YEAR}{MONTH_DIGITS}{DAY_DIGITS})(?!\d)",
    re.IGNORECASE,
)
"""More than a date elsewhere: a year of two digits, a month without a day, no separators; a word of birth is near."""
BIRTH = re.compile(rf"\b(?:{join_patterns(lambda words: words.personal.births)})(?!\w)", re.IGNORECASE)
BEFORE, AFTER = 28, 48


NUMBER = re.compile(r"\d(?:[ ./-]?\d){3,21}")
CODE = re.compile(r"[A-Za-z]{0,5}[-/ ]?\d(?:[-/]?[A-Za-z0-9]){2,18}")
MIXED = re.compile(r"(?:\d|[A-Z](?![A-Za-z]))(?:[ ./-]?(?:\d|[A-Z](?![A-Za-z]))){6,20}")
DOCUMENT = re.compile(r"[A-Za-z0-9]{6,14}(?![^\W_])|\d(?: ?\d){6,11}")


@dataclass(frozen=True)
class NumberRule:
    """`value`, directly after one of the kind's words and what links it, is of this kind with so many digits in it.

    Without one of the kind's gates in the text there is none of the words, and that is ten times as fast to see.
    """

    kind: str
    value: re.Pattern[str]
    least_digits: int
    words: re.Pattern[str]
    gates: tuple[str, ...]

    @classmethod
    def of(cls, kind: str, value: re.Pattern[str], least_digits: int) -> NumberRule:
        """The rule for a kind, with the words for it in every language."""
        words = join_patterns(lambda words: words.personal.numbers.get(kind, ()))
        pattern = re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])", re.IGNORECASE)
        return cls(kind, value, least_digits, pattern, list_gates(kind))


RULES = (
    NumberRule.of("PASSPORT", DOCUMENT, 4),
    NumberRule.of("ACCOUNT", NUMBER, 6),
    NumberRule.of("CUSTOMER", CODE, 4),
    NumberRule.of("CARD", NUMBER, 13),
    NumberRule.of("SSN", MIXED, 9),
    NumberRule.of("NATIONALID", MIXED, 7),
)


def find_birth_dates(text: str) -> Iterator[PersonalSpan]:
    """A date near a word of birth, before it or after it."""
    for word in BIRTH.finditer(text):
        for date in BIRTH_DATE.finditer(text, max(0, word.start() - BEFORE), min(len(text), word.end() + AFTER)):
            yield PersonalSpan("DOB", date.start(), date.end())


def find_numbers_in_context(text: str) -> Iterator[PersonalSpan]:
    """The numbers that follow the words of `RULES`."""
    lower = text.lower()
    for rule in RULES:
        if not any(gate in lower for gate in rule.gates):
            continue
        for word in rule.words.finditer(text):
            link = LINK.match(text, word.end())
            value = rule.value.match(text, link.end()) if link and link.end() > word.end() else None
            if value and sum(letter.isdecimal() for letter in value.group()) >= rule.least_digits:
                yield PersonalSpan(rule.kind, value.start(), value.end())
