"""The block rules on what an answer says, in every language that the product knows. Next: phrases.py."""

from __future__ import annotations

import re

from tidegate.schemas import Answer, Question
from tidegate.services.languages.words import LANGUAGES, ContentRule
from tidegate.services.policies.phrases import compile_phrases, normalise, states_any

RULES: tuple[ContentRule, ...] = ("promises", "medical_advice", "legal_advice")
PATTERNS: dict[ContentRule, dict[str, tuple[re.Pattern[str], ...]]] = {
    rule: {language: compile_phrases(rule, language) for language in LANGUAGES} for rule in RULES
}


def speculative_financial_promises(question: Question, answer: Answer) -> str:  # noqa: ARG001 - a block rule gets both
    """In which language the answer promises a gain; empty when in none.

    A promise claims a certain gain, a sure rise, or that nothing can be lost; denied phrases ("returns are not
    guaranteed") and plain features of a product (a guaranteed rate, a deposit guarantee scheme) are none.
    """
    language = find_language(answer, "promises")
    return f"it promises a gain that nobody can promise ({language})" if language else ""


def medical_advice(question: Question, answer: Answer) -> str:  # noqa: ARG001 - a block rule gets both
    """Why only a doctor may give the answer; empty when anybody may: "see a doctor" is no advice, "take 20 mg" is."""
    return "it gives medical advice" if find_language(answer, "medical_advice") else ""


def legal_advice(question: Question, answer: Answer) -> str:  # noqa: ARG001 - a block rule gets both
    """Why only a lawyer may give the answer; empty when anybody may: a period of notice is no advice, "sue" is."""
    return "it gives legal advice" if find_language(answer, "legal_advice") else ""


def find_language(answer: Answer, rule: ContentRule) -> str:
    """The first language in which the answer states one of the rule's phrases; empty when in none."""
    text = normalise(answer.text)
    return next((language for language, patterns in PATTERNS[rule].items() if states_any(text, patterns)), "")
