"""Which kind of value a question asks for, and whether a text holds one."""

from __future__ import annotations

import re
from typing import Literal

ValueKind = Literal["amount", "rate", "clock", "duration", "count", "date", "phone", "email"]

_ASKED: tuple[tuple[ValueKind, str], ...] = (
    (
        "duration",
        r"how long|how many (?:\w+ )?(?:days|weeks|months|years|hours|minutes)|how soon|how quickly|how fast"
        r"|wie lange|wie schnell|wie viele (?:\w+ )?(?:tage|wochen|monate|jahre|stunden)"
        r"|combien de (?:temps|jours|mois|semaines)|(?:quel|sous quel) délai|cuánto tiempo|cuántos (?:días|meses|años)"
        r"|cuánto tarda|qué plazo",
    ),
    (
        "clock",
        r"what time|opening (?:hours|times)|(?:when|until when|how late) (?:do|does|is|are) .*(?:open|close)"
        r"|um wie viel uhr|öffnungszeit|wann (?:öffn|schließ|mach|hat|haben)|à quelle heure|horaires"
        r"|a qué hora|horario",
    ),
    (
        "rate",
        r"interest rate|what rate|\bapr\b|\baer\b|per ?cent|zinssatz|zinsen|prozent|taux|pour ?cent|tipo de interés"
        r"|tasa",
    ),
    (
        "amount",
        r"how much|what does .* cost|\bcosts?\b|\bprice|\bfees?\b|\bcharges?\b|wie ?viel (?!uhr)"
        r"|kostet|kosten|gebühr|preis"
        r"|combien (?!de )|coûte|\bfrais\b|\btarif|\bprix\b|cuánto (?!tiempo|tarda)|cuesta|comisi[óo]n|precio|coste",
    ),
    (
        "phone",
        r"phone number|telephone|which number|what number .* call|telefonnummer|numéro de téléphone|número de teléfono",
    ),
    ("email", r"e-?mail address|e-?mail-adresse|adresse e-?mail|correo electrónico"),
    ("count", r"how many|how often|wie ?viele|wie oft|combien de|cuántos|cuántas"),
    ("date", r"what date|which day|what day|wann |welchem tag|quel jour|qué día|deadline"),
)
_OPEN = re.compile(
    r"\b(?:who|whom|whose|what|when|where|which|why|how|wer|wem|wen|was|wann|wo|wohin|woher|welche[mnrs]?|warum|wie"
    r"|qui|que|quoi|quand|où|quel(?:le)?s?|comment|pourquoi|combien|quién(?:es)?|qué|cuándo|dónde|cuál(?:es)?|cómo"
    r"|cuánt[oa]s?)\b"
)
_NUMBER_WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|twelve|fourteen|twenty|thirty|ein|eine|einen|zwei|drei|vier|fünf"
    "|sechs|sieben|acht|neun|zehn|un|une|deux|trois|quatre|cinq|sept|huit|dix|uno|una|dos|tres|cuatro|cinco|siete|ocho|diez"
)
_NUMBER = rf"(?:\d+|\b(?:{_NUMBER_WORDS})\b)"
_UNITS = (
    r"(?:(?:working|business|calendar|banking)[ -])?(?:second|minute|hour|day|week|month|year)s?|same (?:working )?day"
    r"|(?:bank)?(?:arbeits)?tage?n?|(?:werk|geschäfts)tage?n?|stunden?|minuten?|wochen?|monate?n?|jahre?n?"
    r"|jours?|heures?|semaines?|mois|ans?|années?|días?|horas?|minutos?|semanas?|mes(?:es)?|años?"
)
MONTHS = {
    word: number
    for number, words in enumerate(
        (
            "jan janv ene",
            "feb févr febr",
            "mar mär mars märz",
            "apr avr avri abr abri",
            "may mai mayo",
            "jun juin juni",
            "jul juil juli",
            "aug août ago agos",
            "sep sept",
            "oct okt octo okto",
            "nov nove",
            "dec dez déc dic deze dici",
        ),
        start=1,
    )
    for word in words.split()
}
"""The beginnings of the months' names in en, de, fr, es, with the month's number."""
_MONTHS = "|".join(sorted(MONTHS, key=len, reverse=True))
_HELD: dict[ValueKind, re.Pattern[str]] = {
    "amount": re.compile(
        r"[€£$]\s?\d|\d\s?(?:€|£|\$|eur\b|gbp\b|chf\b|usd\b|euros?\b|pounds?\b|pence\b|cents?\b)|\d\s?%"
        r"|\bfree\b|no (?:fee|charge)|kostenlos|kostenfrei|gratuit|gratis|sin coste|sans frais",
        re.IGNORECASE,
    ),
    "rate": re.compile(r"\d\s?%|per ?cent|prozent|pour ?cent|por ciento", re.IGNORECASE),
    "clock": re.compile(
        r"\d{1,2}[:.h]\d{2}|\d\s?(?:am|pm|a\.m|p\.m|uhr|h)\b|noon|midnight|24 hours|24/7", re.IGNORECASE
    ),
    "duration": re.compile(rf"{_NUMBER}[ -](?:to \d+ )?(?:{_UNITS})\b|immediately|instantly|sofort", re.IGNORECASE),
    "count": re.compile(_NUMBER, re.IGNORECASE),
    "date": re.compile(rf"\d{{1,2}}\.? ?(?:{_MONTHS})|(?:{_MONTHS})\w* \d|\d{{4}}-\d\d-\d\d|{_NUMBER}", re.IGNORECASE),
    "phone": re.compile(r"\+?\d[\d ()/-]{5,}\d"),
    "email": re.compile(r"[\w.+-]+@[\w-]+\.\w+"),
}
_PATTERNS = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _ASKED)


def is_open_question(question: str) -> bool:
    """Whether a question asks for something that it does not name itself, so that yes or no would be no answer."""
    return _OPEN.search(question.lower()) is not None


def expected_kind(question: str) -> ValueKind | None:
    """The kind of value that a question (en, de, fr, es) asks for; None when it asks for none that is known here."""
    return next((kind for kind, pattern in _PATTERNS if pattern.search(question)), None)


def has_value(text: str, kind: ValueKind) -> bool:
    """Whether the text holds a value of the kind."""
    return bool(_HELD[kind].search(text))
