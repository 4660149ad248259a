"""The transform rule that redacts personal values which no document gives to everybody.

Pure but for the detector that it is given; next: services/privacy/dlp/detector.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec

from tidegate.schemas import Answer, Citation, ExtractedField
from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.policies.policy import FindPersonal

REDACTED = "[redacted]"


def redact_pii(answer: Answer, find_personal: FindPersonal) -> tuple[Answer, str]:
    """Personal values become `[redacted]` in the text and in what it quotes, but for those verbatim in a citation of a
    document that is public contact (a branch's own telephone number); vault tokens stay. JSON stays JSON.
    """
    find_personal = cache(find_personal)  # an answer often is what it quotes
    quotes = public_quotes(answer)
    if answer.format == "json":
        text, count = _redact_json(answer.text, quotes, find_personal)
    else:
        text, count = _redact_text(answer.text, quotes, find_personal)
    citations = tuple(_redact_citation(citation, quotes, find_personal) for citation in answer.citations)
    count = count or sum(each != other for each, other in zip(citations, answer.citations, strict=True))
    if not count:
        return answer, ""
    fields = tuple(_redact_field(field, quotes, find_personal) for field in answer.fields)
    return msgspec.structs.replace(
        answer, text=text, citations=citations, fields=fields
    ), f"{count} personal value(s) redacted"


def public_quotes(answer: Answer) -> tuple[str, ...]:
    """What the answer quotes of documents that may give the personal data in them to anybody."""
    return tuple(citation.quote for citation in answer.citations if citation.is_public_contact)


def _redact_citation(citation: Citation, quotes: Sequence[str], find_personal: FindPersonal) -> Citation:
    if citation.is_public_contact:
        return citation
    quote, count = _redact_text(citation.quote, quotes, find_personal)
    return msgspec.structs.replace(citation, quote=quote) if count else citation


def _redact_field(field: ExtractedField, quotes: Sequence[str], find_personal: FindPersonal) -> ExtractedField:
    """A field of an extraction, its value redacted as it is in the answer's JSON, and its evidence as a text."""
    written, _ = _redact_json(json.dumps({field.path: field.value}, ensure_ascii=False), quotes, find_personal)
    (value,) = json.loads(written).values()
    evidence, _ = _redact_text(field.evidence, quotes, find_personal)
    return msgspec.structs.replace(field, value=value, evidence=evidence)


def _redact_text(text: str, quotes: Sequence[str], find_personal: FindPersonal) -> tuple[str, int]:
    kept = [match.span() for match in VAULT_TOKEN.finditer(text)]
    spans: list[tuple[int, int]] = []
    for found in sorted(find_personal(text), key=attrgetter("start")):
        if any(found.value in quote for quote in quotes):
            continue
        if any(start < found.end and found.start < end for start, end in kept):
            continue
        if spans and found.start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], found.end))
        else:
            spans.append((found.start, found.end))
    for start, end in reversed(spans):
        text = text[:start] + REDACTED + text[end:]
    return text, len(spans)


def _redact_json(text: str, quotes: Sequence[str], find_personal: FindPersonal) -> tuple[str, int]:
    """A text that only claims to be JSON is redacted as a text."""
    try:
        tree = json.loads(text)
    except ValueError:
        return _redact_text(text, quotes, find_personal)
    in_context = {found.value for found in find_personal(text)}  # a key may be what tells that its value is personal
    count = 0

    def walk(node: Any) -> Any:
        nonlocal count
        if isinstance(node, dict):
            return {walk(key): walk(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(item) for item in node]
        if isinstance(node, bool) or node is None:
            return node
        written = node if isinstance(node, str) else json.dumps(node)
        if written in in_context and not any(written in quote for quote in quotes):
            count += 1
            return REDACTED
        changed, found = _redact_text(written, quotes, find_personal)
        count += found
        return changed if found else node

    tree = walk(tree)
    return (json.dumps(tree, ensure_ascii=False), count) if count else (text, 0)
