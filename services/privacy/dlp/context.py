"""Finds what only the words before it reveal: births, passports, accounts, customers; next: credentials.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass

from tidegate.services.languages.identity_words import list_identity_words
from tidegate.services.languages.words import join_patterns, list_gates
from tidegate.services.privacy.dlp.finding import PersonalSpan
from tidegate.services.privacy.dlp.folding import fold

LINK_WORDS = "|".join(
    (join_patterns(lambda words: words.personal.links), *(fold(word).text for word in list_identity_words("LINK")))
)
LINK = re.compile(rf"(?:[\s:#=.,°º()\"'-]{{1,3}}|(?:{LINK_WORDS})(?:\b|(?<=[\u0900-\uffff]))){{0,10}}", re.IGNORECASE)
MONTH_STARTS = "|".join(
    (
        join_patterns(lambda words: " ".join(words.months).split()),
        *(fold(each).text for each in list_identity_words("MONTH")),
    )
)
MONTH = rf"(?:{MONTH_STARTS})[^\W\d_]{{0,8}}\.?"
YEAR = r"(?:19|20)\d{2}"
OF = r"(?:\s{1,3}(?:of|del?))?"
DATE = re.compile(
    rf"(?<![\d.])(?:\d{{1,2}}[./\s-]{{1,2}}\d{{1,2}}[./\s-]{{1,2}}(?:{YEAR}|\d{{2}})|{YEAR}[./-]\d{{1,2}}[./-]\d{{1,2}}|"
    rf"\d{{1,2}}(?:st|nd|rd|th|er|º|\.)?{OF}\s{{0,2}}{MONTH}{OF},?\s{{0,2}}{YEAR}|"
    rf"{MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s{YEAR})(?!\d)",
    re.IGNORECASE,
)
DAY_DIGITS, MONTH_DIGITS = r"(?:0[1-9]|[12]\d|3[01])", r"(?:0[1-9]|1[0-2])"
BIRTH_DATE = re.compile(
    rf"{DATE.pattern}|(?<![\d.])(?:\d{{1,2}}(?:st|nd|rd|th|er|\.)?[\s-]{{0,2}}(?:(?:of|de)\s)?"
    rf"{MONTH}{OF}[,'\s-]{{1,3}}(?:{YEAR}|\d{{2}})|{MONTH}[\s-]{YEAR}|"
    rf"{DAY_DIGITS}{MONTH_DIGITS}{YEAR}|{YEAR}{MONTH_DIGITS}{DAY_DIGITS})(?!\d)",
    re.IGNORECASE,
)
"""More than a date elsewhere: a year of two digits, a month without a day, no separators; a word of birth is near."""
BIRTH_WORDS = "|".join(
    (join_patterns(lambda words: words.personal.births), *(fold(each).text for each in list_identity_words("BIRTH")))
)
BIRTH = re.compile(rf"\b(?:{BIRTH_WORDS})(?!\w)", re.IGNORECASE)
BEFORE, AFTER = 28, 48
LONGEST_DATE = 32
LETTERS = re.compile(r"[^\W\d_]+")
LITERAL_START = re.compile(r"(?:[^\W_](?!\?))+")
"""Of a pattern: the letters that any text that it matches begins with."""
SHORT = 3


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
    short_gates: frozenset[str] = frozenset()
    """Whole words: so few letters stand inside many others."""

    @classmethod
    def of(cls, kind: str, value: re.Pattern[str], least_digits: int) -> NumberRule:
        """The rule for a kind, with the words for it in every language."""
        words = [fold(word).text for word in list_identity_words(kind)]
        spaced = "|".join(
            (join_patterns(lambda words: words.personal.numbers.get(kind, ())), *filter(_has_spaces, words))
        )
        joined = "|".join(word for word in words if not _has_spaces(word)) or r"(?!)"
        pattern = re.compile(rf"(?<![^\W_])(?:{spaced})(?![^\W_])|{joined}", re.IGNORECASE)
        starts = {LITERAL_START.match(word)[0].lower() for word in words}  # type: ignore[index]
        short = frozenset(start for start in starts if len(start) <= SHORT and _has_spaces(start))
        return cls(kind, value, least_digits, pattern, (*list_gates(kind), *sorted(starts - short)), short)

    def find_words(self, text: str, lower: str, words: Set[str], start: int = 0) -> Iterator[re.Match[str]]:
        """The rule's words from `start` on; `lower` is the text from there in lower case, `words` the words of that."""
        if any(gate in lower for gate in self.gates) or not self.short_gates.isdisjoint(words):
            yield from self.words.finditer(text, start)

    def find(self, text: str, lower: str, words: Set[str]) -> Iterator[PersonalSpan]:
        """The numbers after the rule's words; `lower` is the text in lower case, `words` are the words of that."""
        for word in self.find_words(text, lower, words):
            link = LINK.match(text, word.end())
            start = link.end() if link else word.end()
            value = self.value.match(text, start) if start > word.end() or not _has_spaces(word.group()) else None
            if value is None or sum(letter.isdecimal() for letter in value.group()) < self.least_digits:
                continue
            if self.kind != "PHONE" or not DATE.fullmatch(value.group()):
                yield PersonalSpan(self.kind, value.start(), value.end())


def _has_spaces(word: str) -> bool:
    """Whether the word is of a script in which words stand apart; the others' stand next to letters."""
    return word[0] < "\u0900"


RULES = (
    NumberRule.of("PASSPORT", DOCUMENT, 4),
    NumberRule.of("ACCOUNT", NUMBER, 6),
    NumberRule.of("CUSTOMER", CODE, 4),
    NumberRule.of("CARD", NUMBER, 13),
    NumberRule.of("SSN", MIXED, 9),
    NumberRule.of("NATIONALID", MIXED, 7),
    NumberRule.of("PHONE", NUMBER, 7),
)


def find_birth_dates(text: str) -> Iterator[PersonalSpan]:
    """A date near a word of birth, before it or after it."""
    for word in BIRTH.finditer(text):
        nearest = word.start() - BEFORE
        for date in BIRTH_DATE.finditer(text, max(0, nearest - LONGEST_DATE), min(len(text), word.end() + AFTER)):
            if date.end() > nearest:
                yield PersonalSpan("DOB", date.start(), date.end())


def find_numbers_in_context(text: str) -> Iterator[PersonalSpan]:
    """The numbers that follow the words of `RULES`."""
    lower = text.lower()
    words = frozenset(LETTERS.findall(lower))
    for rule in RULES:
        yield from rule.find(text, lower, words)
