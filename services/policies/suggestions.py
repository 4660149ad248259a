"""The nearest passages to a question that got no answer, as far as every policy in force lets them be shown.

Pure. Promises that each is judged as an answer of its words would be. Next: services/policies/evaluation.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from tidegate.schemas import Answer, Citation, Passage, Question, Suggestion
from tidegate.services.languages.secret_requests import asks_for_secret
from tidegate.services.policies.case import Case
from tidegate.services.policies.crossings import find_crossings
from tidegate.services.policies.evaluation import find_blocks, transform
from tidegate.services.policies.facts import Circumstances
from tidegate.services.policies.policy import FindPersonal, Policy

MOST_SUGGESTIONS = 3
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")


def suggest(passages: Iterable[Passage]) -> tuple[Suggestion, ...]:
    """The passages as suggestions, in their order."""
    return tuple(
        Suggestion(
            document_id=passage.document_id,
            document_version=passage.document_version,
            title=passage.title,
            heading=passage.heading,
            start=passage.start,
            end=passage.end,
            quote=passage.text,
            score=passage.similarity,
            page=passage.page,
            is_recognised=bool(passage.recognised),
            signer=passage.signer,
            is_fresh=passage.is_fresh,
        )
        for passage in passages
    )


def order_suggestions(
    answer: Answer, here: Sequence[Suggestion], at_hub: Sequence[Suggestion] = ()
) -> tuple[Suggestion, ...]:
    """All of them, best first and each once: those out of which an answer was made that fell short, as the reader
    thought them best; then those of both sides in the order of each, the more similar one first."""
    waiting, merged = [list(here), list(at_hub)], []
    while remaining := [each for each in waiting if each]:
        merged.append(max(remaining, key=lambda each: each[0].score).pop(0))
    cited = [each for each in merged if any(_holds(each, citation) for citation in answer.citations)]
    spans = {(each.document_id, each.start, each.end): each for each in (*cited, *merged)}
    return tuple(spans.values())


def allow_suggestions(
    question: Question,
    candidates: Iterable[Suggestion],
    policies: Sequence[Policy],
    find_personal: FindPersonal,
    here: Circumstances,
) -> tuple[Suggestion, ...]:
    """The first `MOST_SUGGESTIONS` that pass; none without a policy, and none for a class that one switches off.

    A passage passes where no rule blocks its words, no transform would change them, and no sentence asks for a secret.
    It is no answer that rests on a citation, so that personal data in it are not exempt for being quoted.
    """
    is_off = any({question.intent, question.workload} & policy.no_suggestions for policy in policies)
    if is_off or not policies:
        return ()
    found: list[Suggestion] = []
    for candidate in candidates:
        if passes(question, candidate, policies, find_personal, here):
            found.append(candidate)
            if len(found) == MOST_SUGGESTIONS:
                break
    return tuple(found)


def passes(
    question: Question,
    candidate: Suggestion,
    policies: Sequence[Policy],
    find_personal: FindPersonal,
    here: Circumstances,
) -> bool:
    """Whether it is of a source that all trust, and every word passes that would be shown: quote, title, heading."""
    if any(policy.sources.find_fault(candidate.signer) for policy in policies):
        return False
    texts = (candidate.quote, "\n".join(filter(None, (candidate.title, candidate.heading))))
    cases = [Case(question, Answer(text=text), here) for text in texts]
    return all(_is_allowed(case, policies, find_personal) for case in cases)


def _is_allowed(case: Case, policies: Sequence[Policy], find_personal: FindPersonal) -> bool:
    if any(map(asks_for_secret, SENTENCE_END.split(case.answer.text))):
        return False
    blocks: Iterator[object] = chain(find_crossings(case, policies), find_blocks(case, policies))
    return next(blocks, None) is None and not transform(case, policies, find_personal)[1]


def _holds(suggestion: Suggestion, citation: Citation) -> bool:
    is_same = suggestion.document_id == citation.document_id
    return is_same and suggestion.start < citation.end and citation.start < suggestion.end
