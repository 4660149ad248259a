"""Splits a question that asks several things. Promises every part verbatim. Next: services/languages/data/en.toml."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

from tidegate.services.knowledge.reader.answer_type import is_open_question
from tidegate.services.languages.words import LANGUAGES, load_words

_LEAD = re.compile(r"(.*[:–—.!])\s", re.DOTALL)
_FEWEST_WORDS = 2
_MOST_PARTS = 3


def split_question(question: str, language: str) -> tuple[str, ...]:
    """The parts of a question that each ask for something of their own, at most three; one where it is a single one."""
    if language not in LANGUAGES:
        return (question,)
    ends = [match.start() for match in _joints(language).finditer(question)][: _MOST_PARTS - 1]
    edges = [0, *ends, len(question)]
    parts = [question[start:end].strip(" ,;") for start, end in pairwise(edges)]
    is_each_asking = all(is_open_question(part) and len(part.split()) >= _FEWEST_WORDS for part in parts)
    return tuple(parts) if is_each_asking else (question,)


def complete_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """The parts as each would be asked alone: with what the first says before it asks, for the others go on from it.

    Of `Earphones with a torn seal: which grade` and `and where do they go?`, the second becomes `Earphones with a torn
    seal: and where do they go?`.
    """
    found = _LEAD.match(parts[0])
    lead = found[1].rstrip(" :–—") if found else ""
    return (parts[0], *(f"{lead}: {part}" if lead else part for part in parts[1:]))


@cache
def _joints(language: str) -> re.Pattern[str]:
    """Where another question word follows a comma, a question mark or an `and`, a preposition between them or not."""
    words = load_words(language)
    asking = "|".join(words.open_questions)
    joining = "|".join(words.conjunctions)
    return re.compile(
        rf"(?:[?;,]\s+(?:(?:{joining})\s+)?|\s(?:{joining})\s+)(?=(?:\w{{1,7}}\s+)?¿?(?:{asking})\b)", re.IGNORECASE
    )
