"""Finds what only the words before it reveal: births, passports, accounts, customers; next: credentials.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tidegate.services.privacy.dlp.finding import PersonalSpan

LINK = re.compile(
    r"(?:[\s:#=.,°º()\"'-]{1,3}|(?:number|no|nr|num|nummer|numero|numéro|número|n|id|code|card|key|is|was|are|ist|lautet|"
    r"war|est|es|the|my|mein|meine|mon|mi|de|del|du|der|client|cliente|bancaire|bancaria|bleue|visa|mastercard|credit|crédito|débit|holder)\b){0,10}",
    re.IGNORECASE,
)
MONTH = (
    r"(?:jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez|janv|févr|mars|avr|juin|juil|août|déc|"
    r"ene|abr|ago|dic)[^\W\d_]{0,8}\.?"
)
YEAR = r"(?:19|20)\d{2}"
DATE = re.compile(
    rf"(?<![\d.])(?:\d{{1,2}}[./ -]{{1,2}}\d{{1,2}}[./ -]{{1,2}}(?:{YEAR}|\d{{2}})|{YEAR}[./-]\d{{1,2}}[./-]\d{{1,2}}|"
    rf"\d{{1,2}}(?:st|nd|rd|th|er|\.)?(?: of| de)? {{0,2}}{MONTH}(?: de| del)?,? {{0,2}}{YEAR}|"
    rf"{MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? {YEAR})(?!\d)",
    re.IGNORECASE,
)
BIRTH = re.compile(
    r"\b(?:born|birth(?:day|date)?|d\.?o\.?b|geb(?:oren|urtsdatum|urtstag|\.)|née?|naissance|nacid[oa]|nací|nacimiento|"
    r"cumpleaños)(?!\w)",
    re.IGNORECASE,
)
BEFORE, AFTER = 28, 36


@dataclass(frozen=True)
class Rule:
    """`value`, directly after one of the words and what links it, is of this kind if `accepts` agrees.

    Without one of the `gate`s in the text there is none of the words, and that is ten times as fast to see.
    """

    kind: str
    gate: tuple[str, ...]
    words: re.Pattern[str]
    value: re.Pattern[str]
    accepts: Callable[[str], bool]


def has_digits(digits: int) -> Callable[[str], bool]:
    return lambda value: sum(letter.isdecimal() for letter in value) >= digits


def compile_words(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_])(?:{pattern})(?![^\W_])", re.IGNORECASE)


NUMBER = re.compile(r"\d(?:[ ./-]?\d){3,21}")
CODE = re.compile(r"[A-Za-z]{0,5}[-/ ]?\d(?:[-/]?[A-Za-z0-9]){2,18}")
MIXED = re.compile(r"(?:\d|[A-Z](?![A-Za-z]))(?:[ ./-]?(?:\d|[A-Z](?![A-Za-z]))){6,20}")
DOCUMENT = re.compile(r"[A-Za-z0-9]{6,14}(?![^\W_])|\d(?: ?\d){6,11}")

RULES = (
    Rule(
        "PASSPORT",
        ("pass", "pasaporte", "ausweis", "ident", "id card", "driv", "führerschein", "condu"),
        compile_words(
            r"passports?|reisepass(?:nummer|nr)?|pass(?:nummer|nr)|(?:personal)?ausweis(?:nummer|nr)?|passeport|pasaporte|"
            r"carte d'identité|identity card|id card|driving licen[cs]e|driver'?s license|führerschein(?:nummer)?|"
            r"permis de conduire|permiso de conducir"
        ),
        DOCUMENT,
        has_digits(4),
    ),
    Rule(
        "ACCOUNT",
        ("acc", "a/c", "konto", "depot", "compte", "cuenta"),
        compile_words(r"accounts?|acct|a/c|konto(?:nummer|nr)?|kontos|depot(?:nummer)?|compte|cuenta"),
        NUMBER,
        has_digits(6),
    ),
    Rule(
        "CUSTOMER",
        ("customer", "client", "kunde", "member", "mitglied", "patient", "mrn", "medical", "ver", "number", "contrat"),
        compile_words(
            r"customer|client|kunden?(?:nummer|nr|-nr)?|cliente|member(?:ship)?|mitglieds(?:nummer|nr)|patient(?:ennummer)?|"
            r"mrn|medical record|versicherten?nummer|vertrags(?:nummer|nr)|policy number|contract number|"
            r"numéro de contrat|número de contrato"
        ),
        CODE,
        has_digits(4),
    ),
    Rule(
        "CARD",
        ("card", "kart", "carte", "tarjeta"),
        compile_words(r"\w{0,12}(?:card|karte)|carte|tarjeta"),
        NUMBER,
        has_digits(13),
    ),
    Rule("SSN", ("ssn", "social"), compile_words(r"ssn|social security"), MIXED, has_digits(9)),
    Rule(
        "NATIONALID",
        ("tax", "tin", "steuer", "sozial", "sécurité", "seguridad", "insurance", "dni", "nie", "nif"),
        compile_words(
            r"tax (?:id|number)|tin|steuer-?(?:id|nummer|identifikationsnummer)|sozialversicherungsnummer|"
            r"sécurité sociale|seguridad social|national insurance|dni|nie|nif"
        ),
        MIXED,
        has_digits(7),
    ),
)


def find_birth_dates(text: str) -> Iterator[PersonalSpan]:
    """A date near a word of birth, before it or after it."""
    for word in BIRTH.finditer(text):
        for date in DATE.finditer(text, max(0, word.start() - BEFORE), min(len(text), word.end() + AFTER)):
            yield PersonalSpan("DOB", date.start(), date.end())


def find_numbers_in_context(text: str) -> Iterator[PersonalSpan]:
    """The numbers that follow the words of `RULES`."""
    lower = text.lower()
    for rule in RULES:
        if not any(word in lower for word in rule.gate):
            continue
        for word in rule.words.finditer(text):
            link = LINK.match(text, word.end())
            value = rule.value.match(text, link.end()) if link and link.end() > word.end() else None
            if value and rule.accepts(value.group()):
                yield PersonalSpan(rule.kind, value.start(), value.end())
