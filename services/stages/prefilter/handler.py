"""Decides what of a person's words may go further: screened and without personal data, or withheld with a reason.

Promises that what cannot be screened never passes. Next: prefilter/__init__.py, which plugs in detectors and models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tidegate.schemas import (
    Artefact,
    Asked,
    Decision,
    Fact,
    Message,
    Question,
    RejectError,
    Replied,
    Screened,
    TidegateError,
    Withheld,
    Workload,
    digest_of,
    replace,
)
from tidegate.schemas.refusal_texts import LANGUAGES, refusal_text
from tidegate.schemas.vault_token import tokens_in
from tidegate.services.stages.prefilter.admission import AT_FULL_SERVICE, Admission
from tidegate.services.stages.prefilter.conversation import FollowUp, Resolve, resolve_screened, text_for_language
from tidegate.services.stages.prefilter.personal_redaction import PersonalRedaction
from tidegate.services.stages.prefilter.replies import (
    FindReply,
    Occasion,
    ReplyThresholds,
    VerdictEstimate,
    find_distress,
    find_pleasantry,
    find_smalltalk,
    may_be_distress,
)
from tidegate.services.stages.prefilter.screened_text import PersonalData, readable_text, spellings_of
from tidegate.services.stages.prefilter.turns import outside_tokens

STAGE = "prefilter"


class UnscreenableError(TidegateError, ValueError):
    """What a text holds could not be found out in time, so that none of it may pass."""

    hint = "ask with a shorter text"


class DetectedLanguage(NamedTuple):
    """The language of a text (ISO 639-1), and whether the site speaks it."""

    code: str
    is_supported: bool


class IntentEstimate(NamedTuple):
    """What a text asks for, with calibrated probabilities; `unsafe` is that of all unsafe intents together."""

    intent: str
    probability: float
    unsafe: float
    workload: Workload
    distress: VerdictEstimate = VerdictEstimate()
    smalltalk: VerdictEstimate = VerdictEstimate()


class ScreeningVersions(NamedTuple):
    """The versions of what screens."""

    detector: Artefact
    language: Artefact
    embedding: Artefact
    intent: Artefact
    safety: Artefact


@dataclass(frozen=True)
class PrefilterPorts:
    """What the prefilter may call. Whatever they raise beyond what is documented here is tried again, and dead-lettered
    if it goes on."""

    unseal: Callable[[Asked], Asked]
    """The request in clear; raises `ValueError` for one that does not open."""
    find_personal: Callable[[str], Awaitable[Sequence[PersonalData]]]
    """Raises `UnscreenableError` where the text could not be searched to its end."""
    find_in_schema: Callable[[str], Awaitable[Sequence[PersonalData]]]
    """By rules alone, in all of a schema: what a model takes for a name may be a field of a form."""
    tokenise: Callable[[Asked, Sequence[PersonalData]], Awaitable[Sequence[str]]]
    """A vault token for each finding."""
    detect_language: Callable[[str, str], DetectedLanguage]
    """From a text and the language that the asker names."""
    classify: Callable[[str], Awaitable[IntentEstimate]]
    resolve: Resolve
    find_reply: FindReply
    """The site's own text for an intent, its verdict and a language."""


@dataclass(frozen=True)
class ScreeningRules:
    """The languages that the site speaks, the longest text, and when a text is no plain question."""

    versions: ScreeningVersions
    languages: Sequence[str]
    thresholds: ReplyThresholds
    max_chars: int


async def screen(
    asked: Asked, ports: PrefilterPorts, rules: ScreeningRules, admission: Admission = AT_FULL_SERVICE
) -> list[Message]:
    """`Screened`, or `Withheld` with the first reason found, or `Replied` where no document is needed.

    A person in distress is replied to in whatever language, whatever else the text may be, and by a site that is
    closed, too. Raises `RejectError` for a request that did not come through the gateway.
    """
    _check_admitted(asked)
    try:
        fact = await _judge(asked, ports, rules, is_closed=admission.is_closed)
    except UnscreenableError:
        fact = withhold(asked, "unscreenable", rules.versions.detector)
    return [admission.stamp(fact)]


def refuse_closed(asked: Asked, admission: Admission) -> Fact:
    """What becomes of a request at a site where nothing is in force to read it by. Raises `RejectError`."""
    _check_admitted(asked)
    return admission.stamp(withhold(asked, "closed"))


def _check_admitted(asked: Asked) -> None:
    if not (asked.rid and asked.site):
        raise RejectError("the request has no id or no site", "ask the gateway, or the site's ask subject")


async def _judge(asked: Asked, ports: PrefilterPorts, rules: ScreeningRules, *, is_closed: bool) -> Fact:
    versions = rules.versions
    try:
        asked = ports.unseal(asked)
        text = readable_text(asked.text, rules.max_chars)
        schemas = spellings_of(asked.schema)
        asked.instructions.encode()
    except (ValueError, RecursionError):
        return withhold(asked, "unscreenable")
    if any(map(tokens_in, (text, *schemas, asked.instructions, *(turn.text for turn in asked.history)))):
        return withhold(asked, "forged_token")
    redaction = PersonalRedaction(ports.find_personal, ports.tokenise)
    asked, redacted = await redaction.conversation(replace(asked, text=text))
    asked = await redaction.schema(asked, redacted)
    if any([outside_tokens(each, await ports.find_in_schema(each)) for each in spellings_of(asked.schema)]):
        return withhold(asked, "unscreenable", versions.detector)
    language, estimate, followed = understood = await understand(asked, redacted, ports)
    distress = find_distress(estimate.distress, estimate.unsafe, rules.thresholds, language.code)
    if distress is not None:
        return reply(asked, distress, ports, versions)
    if is_closed:
        return withhold(asked, "closed", *versions, language=language.code)
    if not language.is_supported:
        parts = (versions.detector, versions.language)
        return withhold(asked, "unsupported_language", *parts, language=language.code, languages=rules.languages)
    if not estimate.unsafe < rules.thresholds.unsafe:  # a probability that is not a number is unsafe too
        return refuse_unsafe(asked, understood, ports, rules)
    smalltalk = find_pleasantry(followed.text, language.code, rules.languages) or find_smalltalk(
        estimate.smalltalk, rules.thresholds, language.code
    )
    if smalltalk is not None and not asked.schema and asked.workload in ("", "assist"):
        return reply(asked, smalltalk, ports, versions)
    if followed.is_unclear:
        return withhold(asked, "unclear", *versions, language=language.code)
    return first_fact(asked, versions).followed_by(Screened, question=question_of(asked, understood))


class Understood(NamedTuple):
    """What a question asks for, in which language, and as what it was understood after what was said before."""

    language: DetectedLanguage
    estimate: IntentEstimate
    followed: FollowUp


async def understand(asked: Asked, redacted: str, ports: PrefilterPorts) -> Understood:
    """A follow-up is judged as it was written and as it was understood."""
    redact_earlier = PersonalRedaction(ports.find_personal, ports.tokenise).text
    language = ports.detect_language(await text_for_language(asked, redacted, redact_earlier), asked.language)
    estimate = await ports.classify(redacted)
    followed = await resolve_screened(asked, redacted, language.code, ports.resolve, redact_earlier)
    if followed.is_rewritten:
        estimate = worse(await ports.classify(followed.text), estimate)
    return Understood(language, estimate, followed)


def question_of(asked: Asked, understood: Understood) -> Question:
    """The screened question. The asker's own workload comes before the intent's.

    Instructions are not judged as the question is: the safety head takes twelve of twenty harmless system prompts for
    unsafe, since they tell somebody what to do. What is written under them is judged as any answer.
    """
    language, estimate, followed = understood
    return Question(
        text=followed.text,
        language=language.code,
        intent=estimate.intent,
        intent_confidence=estimate.probability,
        workload=asked.workload or estimate.workload,
        schema=asked.schema,
        vault_tokens=tuple(dict.fromkeys((*followed.tokens, *tokens_in(asked.schema)))),
        rewritten_by="rules" if followed.is_rewritten else "",
        instructions=asked.instructions,
    )


def worse(estimate: IntentEstimate, other: IntentEstimate) -> IntentEstimate:
    """The first one, with the greater danger of both: a question is not safer for being a part of a conversation."""
    distress = max(estimate.distress, other.distress, key=lambda each: each.probability)
    # Not `max`: a probability that is not a number must stay one.
    unsafe = estimate.unsafe if not estimate.unsafe < other.unsafe else other.unsafe
    return estimate._replace(unsafe=unsafe, distress=distress, smalltalk=VerdictEstimate())


def withhold(
    asked: Asked, reason: str, *parts: Artefact, language: str = "", languages: Sequence[str] = ()
) -> Withheld:
    """`Withheld` with a sentence in the asker's language, or in English; it repeats nothing of the question."""
    known = language if language in LANGUAGES else asked.language[:2].lower()
    text = refusal_text(reason, known, languages)
    return first_fact(asked, parts).followed_by(Withheld, reason=reason, stage=STAGE, language=language, text=text)


def refuse_unsafe(asked: Asked, understood: Understood, ports: PrefilterPorts, rules: ScreeningRules) -> Withheld:
    """`Withheld` as unsafe: in the pack's words for such requests where it has some, and with the help for people in
    distress where that may be somebody who asks."""
    language, estimate, _ = understood
    if may_be_distress(estimate.distress, rules.thresholds):
        text = ports.find_reply(estimate.distress.intent, "distress", language.code)
    else:
        text = ports.find_reply("unsafe", "unsafe", language.code)
    withheld = withhold(asked, "unsafe", *rules.versions, language=language.code)
    return replace(withheld, text=text) if text else withheld


def reply(asked: Asked, occasion: Occasion, ports: PrefilterPorts, parts: Sequence[Artefact]) -> Replied:
    """`Replied` with the site's own text for the occasion."""
    probability = f"its probability is {occasion.probability:.2f}"
    return first_fact(asked, parts).followed_by(
        Replied,
        reason=occasion.verdict,
        stage=STAGE,
        text=ports.find_reply(occasion.intent, occasion.verdict, occasion.language),
        language=occasion.language,
        confidence=occasion.probability,
        decisions=(Decision(f"intent/{occasion.intent}", "allow", probability),),
        instructions=digest_of(asked.instructions),
    )


def first_fact(asked: Asked, parts: Sequence[Artefact]) -> Fact:
    """What every fact of this request carries, from a request that is not a fact itself."""
    return Fact(
        rid=asked.rid,
        tenant=asked.tenant,
        site=asked.site,
        asked_at_ms=asked.asked_at_ms,
        deadline_at_ms=asked.deadline_at_ms or asked.asked_at_ms + asked.budget_ms,
        timings=asked.timings,
        lineage=tuple(parts),
        can_retract=asked.can_retract,
    )
