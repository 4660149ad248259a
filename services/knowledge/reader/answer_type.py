"""Which kind of value a question asks for, and whether a text holds one. Next: services/languages/words.py."""

from __future__ import annotations

import re
from functools import lru_cache

from tidegate.services.languages.words import ValueKind, join_patterns

_ORDER: tuple[ValueKind, ...] = ("duration", "clock", "rate", "amount", "phone", "email", "count", "date")
"""The kinds as they are looked for: what is narrow comes before what is wide."""
_ASKED = {
    kind: re.compile(join_patterns(lambda words, kind=kind: words.asked.get(kind, ())), re.IGNORECASE)  # type: ignore[misc]
    for kind in _ORDER
}
_OPEN = re.compile(rf"\b(?:{join_patterns(lambda words: words.open_questions)})\b")
_NUMBER = rf"(?:\d+|\b(?:{join_patterns(lambda words: words.number_words)})\b)"
_MONTHS = join_patterns(lambda words: " ".join(words.months).split())


def _values(kind: str) -> str:
    return join_patterns(lambda words: words.values.get(kind, ()))  # type: ignore[call-overload]


_MONEY = rf"eur\b|gbp\b|chf\b|usd\b|{_values('money')}"
_UNITS = join_patterns(lambda words: words.duration_units)
_PATTERNS: dict[ValueKind, str] = {
    "amount": rf"[€£$]\s?\d|\d\s?(?:€|£|\$|{_MONEY})|\d\s?%|{_values('amount')}",
    "rate": rf"\d\s?%|{_values('rate')}",
    "clock": rf"\d{{1,2}}[:.h]\d{{2}}|\d\s?(?:am|pm|a\.m|p\.m|uhr|h)\b|{_values('clock')}",
    "duration": rf"{_NUMBER}[ -](?:to \d+ )?(?:{_UNITS})\b|{_values('duration')}",
    "count": _NUMBER,
    "date": rf"\d{{1,2}}\.? ?(?:{_MONTHS})|(?:{_MONTHS})\w* \d|\d{{4}}-\d\d-\d\d|{_NUMBER}",
    "phone": r"\+?\d[\d ()/-]{5,}\d",
    "email": r"[\w.+-]+@[\w-]+\.\w+",
}
_HELD = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _PATTERNS.items()}


@lru_cache(maxsize=1024)
def is_open_question(question: str) -> bool:
    """Whether a question asks for something that it does not name itself, so that yes or no would be no answer."""
    return _OPEN.search(question.lower()) is not None


@lru_cache(maxsize=1024)
def expected_kind(question: str) -> ValueKind | None:
    """The kind of value that a question asks for; None when it asks for none that is known here."""
    return next((kind for kind, pattern in _ASKED.items() if pattern.search(question)), None)


@lru_cache(maxsize=8192)
def has_value(text: str, kind: ValueKind) -> bool:
    """Whether the text holds a value of the kind."""
    return bool(_HELD[kind].search(text))
