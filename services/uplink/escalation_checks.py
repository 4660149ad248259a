"""The rules for what may come up from a site: form, size, and no personal data. Pure.

Promises that a fault is a code, and repeats nothing of the message. Next: intake.py, which applies them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from tidegate.schemas import Escalated, Question
from tidegate.schemas.request import MAX_INSTRUCTIONS
from tidegate.schemas.subject_claims import EscalationClaim
from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.privacy.dlp.finding import Finding
from tidegate.services.privacy.dlp.person_model import UnfinishedScreeningError

FAULTS = {
    "unreadable": "it is no escalation",
    "unknown_field": "it has a field that is unknown here",
    "bad_subject": "its subject is not of the fixed form",
    "bad_traceparent": "its traceparent is not of the fixed form",
    "too_large": "it, or a part of it, is larger than any site makes it",
    "wrong_site": "it names another site than the one that sent it",
    "wrong_tenant": "it names another tenant than its subject",
    "wrong_request": "it names another request than its subject",
    "unknown_site": "the hub never provisioned this site",
    "revoked_site": "the site was revoked",
    "cloned_site": "the site is fenced: there are two of it",
    "unknown_tenant": "the hub does not serve this tenant",
    "foreign_tenant": "the site does not serve this tenant",
    "forged_token": "a vault token in it is not of the fixed form",
    "personal_data": "it holds personal data in clear",
    "unscreened": "it was not read to its end for names in time",
    "foreign_session": "the verification session is another site's, or of another tenant",
}
"""What is refused, by code, in words that repeat nothing."""
MOST_BYTES = 512 * 1024
"""Of an escalation: more than four bytes for each character of the longest question, instructions, schema and draft."""
MOST_TEXT_CHARS = 32_000
"""Of a question: four times what a site takes, since a vault token may be longer than what it stands for."""
MOST_INSTRUCTIONS_CHARS = 2 * MAX_INSTRUCTIONS
MOST_SCHEMA_CHARS = 16_384
MOST_OTHER_CHARS = 4_096
"""Of any other text: a draft, a code, a name, the sentence of a plan."""
MOST_PARTS = 512
"""Of any list or map."""

FindByRules = Callable[[str], Sequence[Finding]]
RulesOf = Callable[[str], FindByRules]
"""The rules of a tenant: what its sites take for personal data, but for what only a model finds."""
NamesOf = Callable[[str], FindByRules | None]
"""What finds a tenant's names with the model; None where nothing does. It raises `UnfinishedScreeningError`."""


def fault_of_claim(escalated: Escalated, claim: EscalationClaim) -> str:
    """Where the body says otherwise than the subject: the code, or nothing."""
    if escalated.site != claim.site:
        return "wrong_site"
    if escalated.tenant != claim.tenant:
        return "wrong_tenant"
    return "wrong_request" if escalated.rid != claim.rid else ""


def fault_of_sizes(escalated: Escalated) -> str:
    """`too_large`, where any part of it is; or nothing."""
    question = escalated.question
    is_long = (
        len(question.text) > MOST_TEXT_CHARS
        or len(question.instructions) > MOST_INSTRUCTIONS_CHARS
        or len(question.schema) > MOST_SCHEMA_CHARS
    )
    rest = msgspec.structs.replace(question, text="", instructions="", schema="")
    others = msgspec.to_builtins(msgspec.structs.replace(escalated, question=rest))
    return "too_large" if is_long or _has_long(others) else ""


def _has_long(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) > MOST_OTHER_CHARS
    if isinstance(value, dict):
        return len(value) > MOST_PARTS or any(map(_has_long, (*value, *value.values())))
    if isinstance(value, list | tuple):
        return len(value) > MOST_PARTS or any(map(_has_long, value))
    return False


def fault_of_words(question: Question, find_personal: FindByRules) -> str:
    """What is in a question that no site lets out: the code, or nothing.

    A vault token stands for a value that stayed at the site.
    """
    if not all(map(VAULT_TOKEN.fullmatch, question.vault_tokens)):
        return "forged_token"
    named = f"{question.language} {question.intent}"
    texts = (question.text, question.instructions, named, *spellings(question.schema))
    return "personal_data" if any(holds_personal(text, find_personal) for text in texts) else ""


def fault_of_names(question: Question, find_names: FindByRules) -> str:
    """What the model finds in the words of whoever asks: the code, or nothing. A schema's are of who wrote the program,
    whose fields are called after people's properties."""
    try:
        found = any(holds_personal(text, find_names) for text in (question.text, question.instructions))
    except UnfinishedScreeningError:
        return "unscreened"
    return "personal_data" if found else ""


def holds_personal(text: str, find_personal: FindByRules) -> bool:
    """Whether anything personal is in the text beside its vault tokens: what is found within a token is none, and what
    reaches beyond one is personal where a letter or a digit of it is not the token's."""
    found = find_personal(text) if text else ()
    in_tokens = {at for match in VAULT_TOKEN.finditer(text) for at in range(*match.span())} if found else set()
    return any(text[at].isalnum() and at not in in_tokens for each in found for at in range(each.start, each.end))


def spellings(schema: str) -> Iterator[str]:
    """The schema as it stands, and with its escapes resolved, so that nothing hides."""
    if schema:
        yield schema
        try:
            yield json.dumps(json.loads(schema), ensure_ascii=False)
        except (ValueError, RecursionError):  # no JSON: it stands as it is
            return
