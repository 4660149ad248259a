"""Decides what of a person's words may go further: screened and without personal data, or withheld with a reason."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from tidegate.schemas import Artefact, Asked, Fact, Message, Question, RejectError, Screened, Withheld, Workload
from tidegate.schemas.refusal_texts import LANGUAGES, sentence

STAGE = "prefilter"


class Found(Protocol):
    """A piece of personal data: characters `start` to `end` of the text."""

    @property
    def kind(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def value(self) -> str: ...


class Tongue(NamedTuple):
    """The language of a text (ISO 639-1), and whether the site speaks it."""

    code: str
    spoken: bool


class Meant(NamedTuple):
    """What a text asks for, with calibrated probabilities; `unsafe` is that of all unsafe intents together."""

    intent: str
    probability: float
    unsafe: float
    workload: Workload


class Parts(NamedTuple):
    """The versions of what screens."""

    detector: Artefact
    language: Artefact
    embedding: Artefact
    intent: Artefact


async def screen(
    asked: Asked,
    *,
    unseal: Callable[[Asked], Asked],
    tokens_in: Callable[[str], Collection[str]],
    find_personal: Callable[[str], Awaitable[Sequence[Found]]],
    tokenise: Callable[[Asked, Sequence[Found]], Awaitable[Sequence[str]]],
    detect_language: Callable[[str, str], Tongue],
    classify: Callable[[str], Awaitable[Meant]],
    languages: Sequence[str],
    parts: Parts,
    unsafe_threshold: float = 0.5,
    max_chars: int = 8000,
) -> list[Message]:
    """`Screened`, or `Withheld` with the first reason found. What cannot be screened never passes.

    `unseal` gives the request in clear, and raises `ValueError` for one that does not open. Anything else that is
    raised is tried again, and buried if it goes on. Raises `RejectError` for what did not come through a door.
    """
    if not (asked.rid and asked.site):
        raise RejectError(
            "the request has no id or no site", "ask through a door: the gateway or the site's ask subject"
        )
    try:
        asked = unseal(asked)
        text = _readable(asked.text, max_chars)
        schemas = _spellings(asked.schema)
    except (ValueError, RecursionError):
        return [withheld(asked, "unscreenable")]
    if any(map(tokens_in, (text, *schemas))):
        return [withheld(asked, "forged_token")]
    if any([await find_personal(schema) for schema in schemas]):
        return [withheld(asked, "unscreenable", parts.detector)]
    findings = await find_personal(text)
    redacted, tokens = replaced(text, findings, await tokenise(asked, findings) if findings else [])
    tongue = detect_language(redacted, asked.language)
    if not tongue.spoken:
        return [withheld(asked, "unsupported_language", *parts[:2], language=tongue.code, languages=languages)]
    meant = await classify(redacted)
    if not meant.unsafe < unsafe_threshold:  # a probability that is not a number is unsafe too
        return [withheld(asked, "unsafe", *parts, language=tongue.code)]
    return [screened(asked, redacted, tokens, tongue, meant, parts)]


def replaced(text: str, findings: Sequence[Found], tokens: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """`text` with a token in place of each finding, and the tokens, each once. Raises if one finding has no token."""
    kept: list[str] = []
    place = 0
    for found, token in zip(findings, tokens, strict=True):
        kept += (text[place : found.start], token)
        place = found.end
    return "".join((*kept, text[place:])), tuple(dict.fromkeys(tokens))


def screened(asked: Asked, text: str, tokens: tuple[str, ...], tongue: Tongue, meant: Meant, parts: Parts) -> Screened:
    """`Screened` with the redacted `text`; the asker's own choice of workload comes before the intent's."""
    question = Question(
        text=text,
        language=tongue.code,
        intent=meant.intent,
        intent_confidence=meant.probability,
        workload=asked.workload or meant.workload,
        schema=asked.schema,
        vault_tokens=tokens,
    )
    return _first_fact(asked, parts).followed_by(Screened, question=question)


def withheld(
    asked: Asked, reason: str, *parts: Artefact, language: str = "", languages: Sequence[str] = ()
) -> Withheld:
    """`Withheld` with a sentence in the asker's language, or in English; it repeats nothing of what they said."""
    known = language if language in LANGUAGES else asked.language[:2].lower()
    text = sentence(reason, known, languages)
    return _first_fact(asked, parts).followed_by(Withheld, reason=reason, stage=STAGE, language=language, text=text)


def _first_fact(asked: Asked, parts: tuple[Artefact, ...]) -> Fact:
    """What every fact of this request carries, from a request that is not a fact itself."""
    return Fact(
        rid=asked.rid,
        tenant=asked.tenant,
        site=asked.site,
        asked_at_ms=asked.asked_at_ms,
        deadline_at_ms=asked.deadline_at_ms or asked.asked_at_ms + asked.budget_ms,
        ledger=asked.ledger,
        lineage=tuple(parts),
        can_retract=asked.can_retract,
    )


def _readable(text: str, max_chars: int) -> str:
    if not text.strip() or len(text) > max_chars or "\x00" in text:
        raise ValueError("empty, too long or not text")
    text.encode()  # half a surrogate pair is no character, and could not be stored
    return text


def _spellings(schema: str) -> tuple[str, ...]:
    """The schema as it stands and with its escapes resolved, so that nothing hides; `ValueError` if it is not JSON."""
    return (schema, json.dumps(json.loads(schema), ensure_ascii=False)) if schema else ()
