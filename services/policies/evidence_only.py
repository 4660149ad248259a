"""What may be given while the policies are too old to judge by: quotations of documents, and nothing in other words.

Pure; next: evaluation.py, which asks; services/planning/standing.py, which says when."""

from __future__ import annotations

from tidegate.schemas import Answer, Decision, replace

RULE = "standing/evidence_only"


def keep_to_evidence(answer: Answer) -> tuple[Answer, Decision] | None:
    """The quotations that an answer rests on, word for word and each once; None where it is no text that cites."""
    quotes = tuple(dict.fromkeys(citation.quote for citation in answer.citations))
    if answer.format != "text" or not quotes:
        return None
    if all(answer.text.count(quote) for quote in quotes) and _letters("".join(quotes)) == _letters(answer.text):
        return answer, Decision(RULE, "allow", "it is quoted word for word")
    quoted = replace(answer, text="\n".join(quotes), writing=None)
    return quoted, Decision(RULE, "transform", "only quotations may be given now")


def _letters(text: str) -> str:
    return "".join(text.split())
