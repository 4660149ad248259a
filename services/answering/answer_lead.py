"""The yes or no that an answer begins with, however it is worded, and whether what it cites says the same.

Promises nothing where the words do not carry it: half of all wrong leads cannot be told from right ones by words, so a
lead that is not borne out is left out of an answer (`written_sentences`). Pure. Next: `sentence_check`, which weighs
it; services/knowledge/reader/yes_no.py, the stricter rule for what is quoted; decision 0060."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from tidegate.services.answering.claim_denials import denies, refuses, split_clauses
from tidegate.services.answering.claim_edits import marks_in
from tidegate.services.answering.quantities import split_words
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.yes_no import Polarity
from tidegate.services.languages.claim_words import load_claim_words
from tidegate.services.languages.prose import PROSE_LANGUAGES, load_prose

LEAD_FEATURES = (
    "lead_stated", "lead_cited", "lead_same_modal", "lead_other_modal", "lead_only", "lead_condition", "lead_with",
)  # fmt: skip
"""Each speaks for the lead above 0.0 and against it below; all are 0.0 without a lead."""
MOST_LEADS = 3
"""Clauses that may be one lead: "No, unfortunately not, you cannot."."""
_MODALS = ("may", "must", "should")


class AnswerLead(NamedTuple):
    """What the first words of an answer say, and what it says behind them; `says` is empty where they say neither."""

    says: Polarity
    rest: str


NO_LEAD = AnswerLead("", "")


def split_lead(answer: str, language: str) -> AnswerLead:
    """The lead of an answer, in one of `PROSE_LANGUAGES`; two that contradict each other are none."""
    if language not in PROSE_LANGUAGES:
        return AnswerLead("", answer)
    says: Polarity = ""
    rest = answer
    for _ in range(MOST_LEADS):
        found = _match(rest, language)
        if not found.says:
            break
        if says and found.says != says:
            return AnswerLead("", answer)
        says, rest = found
    return AnswerLead(says, rest)


def measure_lead(lead: AnswerLead, question: str, source: str, language: str) -> dict[str, float]:
    """The values of `LEAD_FEATURES` for a lead to `question`; `source` is the sentence that is cited for it."""
    values = dict.fromkeys(LEAD_FEATURES, 0.0)
    if not lead.says or not question:
        return values
    asked = set(find_terms(question, language))
    clause = max(split_clauses(source), key=lambda each: len(asked & set(find_terms(each, language))), default=source)
    values.update(_read_denials(lead.rest, clause, question, language))
    values.update(_read_modals(lead.rest, clause, question, language))
    values.update(_read_marks(lead.rest, language))
    sign = 1.0 if lead.says == "yes" else -1.0
    return {name: sign * value for name, value in values.items()}


def _match(text: str, language: str) -> AnswerLead:
    for says, pattern in _leads(language).items():
        if found := pattern.match(text.replace("’", "'")):
            return AnswerLead(says, text[found.end() :])
    return AnswerLead("", text)


@cache
def _leads(language: str) -> dict[Polarity, re.Pattern[str]]:
    words = load_prose(language)
    of: dict[Polarity, tuple[str, ...]] = {"no": (words.no, *words.no_leads), "yes": (words.yes, *words.yes_leads)}
    # A number behind "No." makes an abbreviation of it; a hyphen without white space a word ("no-one").
    end = r"(?:\s*[,;:!–—]+\s*|\s*\.+(?!\s*\d)(?=\s|$)\s*|\s+-+\s+|\s*$)"
    return {says: re.compile(rf"\W*(?:{'|'.join(each)}){end}", re.IGNORECASE) for says, each in of.items()}


def _read_denials(rest: str, clause: str, question: str, language: str) -> dict[str, float]:
    """What is stated or cited says no by its own denials, to a question without one; to one with a denial, yes."""
    turned = -1.0 if denies(question, language) else 1.0
    return {
        "lead_stated": -turned if rest and refuses(rest, language) else 0.0,
        "lead_cited": -turned if refuses(clause, language) else 0.0,
    }


def _read_modals(rest: str, clause: str, question: str, language: str) -> dict[str, float]:
    """ "May I?" is answered yes by "may", no by "must"; a denial turns either."""
    asked = _values("modal", question, language)
    text = rest if _values("modal", rest, language) else clause
    stated = _values("modal", text, language)
    sign = -1.0 if denies(text, language, is_of_statement=True) else 1.0
    same = sign * sum(each in asked and each in stated for each in _MODALS)
    other = -float(("may" in asked and "must" in stated) or ("must" in asked and "may" in stated))
    return {"lead_same_modal": same, "lead_other_modal": other}


def _read_marks(rest: str, language: str) -> dict[str, float]:
    scope, opposite = _values("scope", rest, language), _values("opposite", rest, language)
    return {
        "lead_only": -float("only" in scope),
        "lead_condition": float("if" in scope),
        "lead_with": float("with" in opposite),
    }


def _values(family: str, text: str, language: str) -> set[str]:
    marks = marks_in(split_words(text), load_claim_words(language))
    return {mark.value for mark in marks if mark.family == family}
