"""Matches the phrases of content rules: a text is normalised once, and a phrase that it denies does not count.

Pure; next: services/policies/financial_promises.py and regulated_advice.py, the phrases."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

DENIAL = re.compile(
    r"(?:\b(?:no such thing as|not|no|never|neither|nor|cannot|without"
    r"|nobody|nothing|hardly|\w+n't|kein\w*|nicht|nie|niemals|ohne|weder"
    r"|pas|aucune?|jamais|sans|ni|sin|nunca|ningun\w*|tampoco|jamas)\b)(?:[^\w,]+[\w'-]+){0,3}[^\w,]+$"
)
DENIES_NOTHING = re.compile(
    r"(?:no|not|kein\w*|nicht|ohne|sans|pas|sin|ningun\w*)\W+(?:a |jeden |aucun |nul |ninguna )?"
    r"(?:doubt|question|only|just|zweifel|nur|doute|seulement|duda|solo)\b"
)
DENIAL_INSIDE = re.compile(r"\b(?:not|nicht|pas|no|never)\b")
LOSS = re.compile(r"lose|verlieren|perd|risk|riesgo|loss")
CLAUSE_END = re.compile(r"[.;:!?\n]|\b(?:but|and|aber|sondern|und|mais|et|pero|sino|y)\b")
INVISIBLE = re.compile(r"[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
FAR = 120
"""Characters before a phrase that may hold its denial: a few words, so that a long text costs no more per phrase."""
GAP = r"[^\w.;:!?\n]+"
"""What lies between two words of a phrase: never the end of a sentence."""


def compile_phrases(phrases: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    r"""Patterns for a normalised text; a `\W+` in a phrase matches no end of a sentence."""
    return tuple(re.compile(rf"(?<!\w)(?:{phrase})(?!\w)".replace(r"\W+", GAP)) for phrase in phrases)


def states_any(normalised: str, patterns: Iterable[re.Pattern[str]]) -> bool:
    """Whether the text has one of the phrases and does not deny it."""
    return any(not is_denied(normalised, match) for pattern in patterns for match in pattern.finditer(normalised))


def normalise(text: str) -> str:
    """The text in the form of the phrases: compatibility forms, case and accents do not matter, nothing is invisible.

    A number has no point or comma in it, for those end clauses.
    """
    plain = unicodedata.normalize("NFKD", INVISIBLE.sub("", text)).casefold().replace("’", "'")
    bare = "".join(mark for mark in plain if not unicodedata.combining(mark))
    return re.sub(r"(?<=\d)[.,](?=\d)", "", bare)


def is_denied(text: str, match: re.Match[str]) -> bool:
    """Whether the clause denies the phrase, just before it or between its words."""
    shortly_before = text[max(0, match.start() - FAR) : match.start()]
    clause = DENIES_NOTHING.sub(" ", CLAUSE_END.split(shortly_before)[-1])
    inside = DENIES_NOTHING.sub(" ", match.group())
    return bool(DENIAL.search(clause)) or (bool(DENIAL_INSIDE.search(inside)) and not LOSS.search(inside))
