"""Whether what is quoted answers a question with yes or with no. Promises neither where the words do not carry it.

Next: services/languages/data/prose, whose words it goes by.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.answer_type import is_open_question
from tidegate.services.languages.prose import PROSE_LANGUAGES, load_prose
from tidegate.services.languages.weekdays import find_weekdays
from tidegate.services.languages.words import LANGUAGES

Polarity = Literal["yes", "no", ""]

LEAST_SHARED = 0.75
"""Share of the question's words that the quote must state, for yes or no to be said of them."""
LONG = 4
"""Letters from which a word of a language without a list of small words is hardly one of them."""
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_CLAUSE = re.compile(r"[,;:–—()]|\.\s")


def find_polarity(question: str, language: str, quote: str, quoted_in: str) -> Polarity:
    """What `quote`, in the language `quoted_in`, says to the question; nothing where it begins with yes or no itself,
    limits what it says, leaves some of the question open, or is in another language than the question."""
    if language != quoted_in or language not in LANGUAGES:
        return ""
    return read_polarity(question, language, quote)


def read_polarity(question: str, language: str, quote: str) -> Polarity:
    """The same for a question and a quote in one of `PROSE_LANGUAGES`, for an answer that says yes or no already: in
    those of them that are not of `LANGUAGES` neither open questions nor small words are known, so that the question
    counts as one of yes or no, and its long words must be stated by themselves too."""
    if language in LANGUAGES and not is_yes_no_question(question, language):
        return ""
    words = _words(language)
    if words["answers"].match(quote) or words["hedges"].search(quote) or words["negations"].search(question):
        return ""
    if not set(_NUMBER.findall(question)) <= set(_NUMBER.findall(quote)):
        return ""
    if not find_weekdays(question, language) <= find_weekdays(quote, language):
        return ""
    asked = set(find_terms(question, language))
    clauses = [clause for clause in _CLAUSE.split(quote) if clause.strip()]
    shared = [len(asked & set(find_terms(clause, language))) for clause in clauses]
    if not asked or max(shared, default=0) < LEAST_SHARED * len(asked):
        return ""
    long = {term for term in asked if len(term) >= LONG and language not in LANGUAGES}
    if len(long & set(find_terms(quote, language))) < LEAST_SHARED * len(long):
        return ""
    if not words["negations"].search(quote):
        return "yes"
    return "no" if words["negations"].search(clauses[shared.index(max(shared))]) else ""


def is_yes_no_question(question: str, language: str) -> bool:
    """Whether a question asks neither for something that it does not name nor for one of several things."""
    return "?" in question and not is_open_question(question) and not _words(language)["alternatives"].search(question)


def is_negated(text: str, language: str) -> bool:
    """Whether a text denies something."""
    return _words(language)["negations"].search(text) is not None


def is_bare_answer(text: str) -> bool:
    """Whether a text says yes or no, in whatever language of ours, and nothing else."""
    found = _words(PROSE_LANGUAGES[0])["answers"].match(text)
    return found is not None and not any(map(str.isalnum, text[found.end() :]))


@cache
def _words(language: str) -> dict[str, re.Pattern[str]]:
    words = load_prose(language)
    answers = [word for each in PROSE_LANGUAGES for word in (load_prose(each).yes, load_prose(each).no)]
    patterns = {
        "answers": rf"\W*(?:{'|'.join(answers)})(?!\w)(?=\W*(?:[,.;:!–—-]|$))",
        "negations": rf"(?<!\w)(?:{'|'.join(words.negations)})(?!\w)",
        "hedges": rf"(?<!\w)(?:{'|'.join(words.hedges)})(?!\w)",
        "alternatives": rf"(?<!\w)(?:{'|'.join(words.alternatives)})(?!\w)",
    }
    return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in patterns.items()}
