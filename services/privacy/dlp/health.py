"""Finds health data where a site asks for it: insurance and patient numbers, codes of diagnoses; next: context.py."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidegate.services.privacy.dlp import check_digits as check
from tidegate.services.privacy.dlp.context import LETTERS, NumberRule
from tidegate.services.privacy.dlp.finding import PersonalSpan

DIAGNOSIS = r"[A-TV-Z]\d[0-9AB](?:\.[0-9A-TV-Z]{1,4})?(?![^\W_])"
CODE = r"[A-Za-z]{0,5}[-/ ]?\d(?:[-/]?[A-Za-z0-9]){2,18}"
RULE = NumberRule.of("HEALTH", re.compile(rf"{DIAGNOSIS}|{CODE}"), 2)
DOTTED_DIAGNOSIS = re.compile(r"(?<![^\W_])[A-TV-Z]\d[0-9AB]\.[0-9A-TV-Z]{1,4}(?![^\W_])")
"""ICD-10 and ICD-10-CM; without its dot a code counts after a word only."""
GERMAN_NUMBER = re.compile(r"(?<![^\W_])[A-Z][ -]?\d{3}[ -]?\d{3}[ -]?\d{3}(?![^\W_])")
NHS_NUMBER = re.compile(r"(?<![^\W_])\d{3}[ -]?\d{3}[ -]?\d{4}(?![^\W_])")
MEDICARE_NUMBER = re.compile(
    r"(?<![^\W_])[1-9][AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d-?[AC-HJKMNP-RT-Y][0-9AC-HJKMNP-RT-Y]\d-?"
    r"[AC-HJKMNP-RT-Y]{2}\d{2}(?![^\W_])"
)
"""The Medicare Beneficiary Identifier of the United States, whose letters leave out S, L, O, I, B and Z."""


def find_health_data(text: str) -> Iterator[PersonalSpan]:
    """Numbers of patients and insurances by their check digits, shapes or words, and codes of diagnoses."""
    for shape, verdict in ((GERMAN_NUMBER, check.is_german_health_number), (NHS_NUMBER, check.is_nhs_number)):
        for found in shape.finditer(text):
            if verdict("".join(filter(str.isalnum, found.group()))):
                yield PersonalSpan("HEALTH", found.start(), found.end())
    for shape in (MEDICARE_NUMBER, DOTTED_DIAGNOSIS):
        yield from (PersonalSpan("HEALTH", found.start(), found.end()) for found in shape.finditer(text))
    lower = text.lower()
    yield from RULE.find(text, lower, frozenset(LETTERS.findall(lower)))
