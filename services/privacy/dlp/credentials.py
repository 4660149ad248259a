"""Secrets: what opens something, known by its own shape or by the word before it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidegate.services.privacy.dlp.finding import Span

SHAPES = (
    ("AKIA", re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    ("eyJ", re.compile(r"\beyJ[\w-]{8,2000}\.[\w-]{8,2000}\.[\w-]{0,2000}")),
    ("gh", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,80}\b")),
    ("sk-", re.compile(r"\bsk-[\w-]{16,200}")),
    ("xox", re.compile(r"\bxox[abprs]-[\w-]{10,200}")),
    ("AIza", re.compile(r"\bAIza[\w-]{35}")),
    (
        "PRIVATE KEY",
        re.compile(r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]{0,8000}(?:-----END [A-Z ]{0,20}KEY-----)?"),
    ),
)
WORD = re.compile(
    r"(?<![^\W_])(api[ _-]?key|access[ _-]?key|secret(?:[ _-]?key)?|access[ _-]?token|auth[ _-]?token|bearer|token|"
    r"pass(?:word|wort|phrase|code)|pwd?|kennwort|mot de passe|contraseña|clave|cvv2?|cvc2?|"
    r"security code|prüfziffer|cryptogramme|pin(?:[ -]?(?:code|nummer))?|tan|otp|one-time code|geheimzahl)(?![^\W_])",
    re.IGNORECASE,
)
MARK = re.compile(r"\s{0,3}[:=]{1,2}\s{0,3}")
COPULA = re.compile(
    r"(?:\s{1,3}(?:for|of|to|für|von|de|para|pour)\s{1,3}(?:\w{1,20}\s{1,3}){0,2})?\s{0,3}"
    r"(?:is|was|ist|war|lautet|est|es|'s)\s{1,3}",
    re.IGNORECASE,
)
SPACE = re.compile(r"\s{1,3}(?:(?:number|nummer|no|nr)\.?\s{1,3})?", re.IGNORECASE)
VALUE = re.compile(r"[\"'`\u201c\u201e]?(\S{3,200})")
TRAILING = ".,;:)]}\"'`\u201d\u201c"
SHORT_CODES = frozenset({"pin", "tan", "otp", "cvv", "cvc", "cvv2", "cvc2", "geheimzahl"})


def secrets(text: str) -> Iterator[Span]:
    """Keys of well-known shapes, private keys, JSON web tokens, and what is said to be a password, a PIN or a code."""
    for literal, shape in SHAPES:
        if literal in text:
            for found in shape.finditer(text):
                yield Span("SECRET", found.start(), found.end())
    for word in WORD.finditer(text):
        span = _said(text, word)
        if span:
            yield span


def _said(text: str, word: re.Match[str]) -> Span | None:
    mark = MARK.match(text, word.end())
    copula = None if mark else COPULA.match(text, word.end())
    link = mark or copula or SPACE.match(text, word.end())
    value = VALUE.match(text, link.end()) if link else None
    if value is None:
        return None
    start = value.start(1)
    end = start + len(value[1].rstrip(TRAILING))
    said = text[start:end]
    name = word[1].lower()
    quoted = text[value.start()] in "\"'`\u201c\u201e"
    if name in SHORT_CODES or name.startswith("pin") or "code" in name:
        proven = said.isdecimal() and 3 <= len(said) <= 10
        proven = proven or (bool(mark) and any(letter.isdecimal() for letter in said))
    elif mark:
        proven = not said.isalpha() or quoted or _ends_line(text, value.end())
    else:
        proven = bool(copula and quoted) or _is_random(said, loosely=bool(copula))
    return Span("SECRET", start, end) if proven and len(said) > 2 else None


def _ends_line(text: str, place: int) -> bool:
    return not text[place : place + 200].split("\n")[0].strip()


def _is_random(said: str, loosely: bool) -> bool:
    """Whether it looks chosen, not written: letters and digits mixed; after a copula, digits or signs will do."""
    digit = any(letter.isdecimal() for letter in said)
    letter = any(letter.isalpha() for letter in said)
    sign = any(not letter.isalnum() and letter not in "-'/," for letter in said)
    if loosely:
        return len(said) >= 4 and (digit or sign)
    return len(said) >= 8 and digit and letter
