"""The allow rule of grounding: an answer rests on what it cites, or its JSON was checked; and an answer's scores.

Pure; next: services/policies/registry.py."""

from __future__ import annotations

import re
import unicodedata

from tidegate.schemas import Answer, Check
from tidegate.schemas.vault_token import without_tokens

WORD = re.compile(r"\w+")


def grounded_claims(answer: Answer) -> tuple[bool, str]:
    """Whether every claim rests on a citation.

    A text passes when every word of it is in its citations; a reworded one when its `grounding` and `entailment`
    checks passed. No text passes without citations, or with a failed `grounding` check. JSON needs its `schema` check.
    """
    if answer.format == "json":
        return _passed(answer, "schema"), explain_schema_check(answer)
    if not answer.citations:
        return False, "nothing is cited"
    grounding = check_of(answer, "grounding")
    if grounding is not None and not grounding.passed:
        return False, "the grounding check failed"
    count = len(answer.citations)
    cited = {word for citation in answer.citations for word in list_words(citation.quote)}
    if set(list_words(answer.text)) <= cited:
        return True, f"every word is in {count} citation(s)"
    if _passed(answer, "grounding") and _passed(answer, "entailment"):
        return True, f"reworded from {count} citation(s), checked"
    return False, "it claims more than it cites"


def explain_schema_check(answer: Answer) -> str:
    """Whether the answer's JSON is what its schema asks for; if not, which fields or keyword stand in the way."""
    if _passed(answer, "schema"):
        return "the schema check passed"
    problems = [f"{field.path or 'value'} is {field.problem}" for field in answer.fields if field.problem]
    keywords = [check.name for check in answer.checks if check.name.startswith("schema_") and not check.passed]
    return "; ".join((*keywords, *problems)) or "no schema check"


def entailment(answer: Answer) -> float | None:
    """The score of the check of that name; JSON claims nothing about documents and passes where it has none."""
    check = check_of(answer, "entailment")
    if check is None:
        return 1.0 if answer.format == "json" else None
    return check.score


def confidence(answer: Answer) -> float:
    """The calibrated confidence."""
    return answer.confidence


def check_of(answer: Answer, name: str) -> Check | None:
    """The answer's check of that name."""
    return next((check for check in answer.checks if check.name == name), None)


def list_words(text: str) -> list[str]:
    """The words of a text, case folded, without its vault tokens, which claim nothing."""
    return WORD.findall(unicodedata.normalize("NFKC", without_tokens(text)).casefold())


def _passed(answer: Answer, name: str) -> bool:
    check = check_of(answer, name)
    return check is not None and check.passed
