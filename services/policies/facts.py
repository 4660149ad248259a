"""The typed facts about an answer that conditions of rules are written in.

Pure. Promises the same facts for the same case, in the site's process and in a replay. Next: conditions.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from tidegate.schemas import Answer, Question, TidegateError, Where
from tidegate.services.planning.answer_class import name_class
from tidegate.services.policies.phrases import normalise
from tidegate.services.policies.sources import names_of

MOST_LISTED = 64
"""Names in one list of facts; the cost of a condition is reckoned with as many."""


class ConditionFailedError(TidegateError):
    """A condition gave no answer for a case: it divides by zero, or asks a map for a key that it does not have; or more
    is cited than conditions are asked about. The answer is blocked."""

    hint = "ask first whether it can be asked: 'grounding' in checks && checks['grounding'] < 0.9"


@dataclass(frozen=True)
class Circumstances:
    """Where and for whom an answer is judged. `route` is the side that made it, `tools` and `degradations` name what
    was called for it and given up.

    `is_provisional`: it can be taken back. `is_evidence_only`: nothing but quotations may be given.
    """

    tenant: str
    site: str
    route: Where = "edge"
    tools: tuple[str, ...] = ()
    degradations: tuple[str, ...] = ()
    is_provisional: bool = False
    is_evidence_only: bool = False


@dataclass(frozen=True)
class Facts:
    """Every name that a condition may use; a name ends here with `_` where Python would take it for a word of its own.

    `class` is what policies call the question's class: its intent or, for `classify` and `extract`, the workload.
    `question` and `text` hold vault tokens for personal data; `folded_text` is the text without case and accents.
    `checks` are the scores of the checks that were made, by name. `is_signed`, `is_fresh`: all that is cited is.
    """

    tenant: str
    site: str
    class_: str
    intent: str
    intent_confidence: float
    workload: str
    language: str
    question: str
    personal_values: int
    text: str
    folded_text: str
    format: str
    writing: str
    confidence: float
    checks: dict[str, float]
    route: str
    is_escalated: bool
    citations: int
    documents: tuple[str, ...]
    collections: tuple[str, ...]
    signers: tuple[str, ...]
    is_signed: bool
    is_fresh: bool
    stale_citations: int
    tools: tuple[str, ...]
    degradations: tuple[str, ...]
    checks_not_run: tuple[str, ...]


FACTS = {each.name.rstrip("_"): str(each.type) for each in fields(Facts)}
"""The names that conditions use, with the type of each as Python writes it."""


def gather_facts(question: Question, answer: Answer, here: Circumstances) -> Facts:
    """Raises `ConditionFailedError`."""
    cited = answer.citations
    stale = sum(not each.is_fresh for each in cited)
    return Facts(
        tenant=here.tenant,
        site=here.site,
        class_=name_class(question),
        intent=question.intent,
        intent_confidence=float(question.intent_confidence),
        workload=question.workload,
        language=question.language,
        question=question.text,
        personal_values=len(question.vault_tokens),
        text=answer.text,
        folded_text=normalise(answer.text),
        format=answer.format,
        writing=answer.writing.mode if answer.writing else "quote",
        confidence=float(answer.confidence),
        checks={each.name: float(each.score) for each in answer.checks},
        route=here.route,
        is_escalated=here.route == "cloud",
        citations=len(cited),
        documents=_list("documents", (each.document_id for each in cited)),
        collections=_list("collections", (each.collection for each in cited if each.collection)),
        signers=_list("signers", (name for each in cited for name in names_of(each.signer))),
        is_signed=all(each.signer for each in cited),
        is_fresh=not stale,
        stale_citations=stale,
        tools=_list("tools", here.tools),
        degradations=_list("degradations", here.degradations),
        checks_not_run=_list("checks_not_run", answer.not_run),
    )


def _list(what: str, names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, in the order in which they come."""
    found = tuple(dict.fromkeys(names))
    if len(found) > MOST_LISTED:
        raise ConditionFailedError(f"{len(found)} {what}, and conditions are asked of {MOST_LISTED} at most")
    return found
