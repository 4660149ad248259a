"""The prefilter: language, intent, safety, and personal data replaced by vault tokens, before anything else is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.schemas import Artefact, Asked, Turn
from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.embedding import MODEL, Embedder
from tidegate.services.knowledge.intent_classifier import IntentHead, IntentHeadMissingError
from tidegate.services.knowledge.safety_head import SafetyHead
from tidegate.services.languages.followups import resolve_followup
from tidegate.services.packs.load import load_replies
from tidegate.services.packs.replies import ReplyTexts
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.finding import Finding
from tidegate.services.privacy.dlp.person_model import PersonModel
from tidegate.services.privacy.dlp.published import PublishedText
from tidegate.services.privacy.sealing import unseal_request
from tidegate.services.privacy.vault import Vault, asker_digest, load_site_key
from tidegate.services.settings import Settings
from tidegate.services.stages.prefilter.handler import (
    IntentEstimate,
    PersonalData,
    PrefilterPorts,
    ScreeningRules,
    ScreeningVersions,
    screen,
)
from tidegate.services.stages.prefilter.language import LanguageModel
from tidegate.services.stages.prefilter.replies import ReplyThresholds, VerdictEstimate
from tidegate.services.stages.prefilter.safety import SafetyTier

INLINE_CHARS = 500
"""A text up to this long is searched in less time than a thread takes to start."""
PART_WORDS = 18
"""About 24 word pieces in the site's languages, so that a part seldom loses its end to the 32 that are read."""


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001, ARG001 - a root is `open`
    """The handler, when key, vault and models are loaded and warm.

    Raises `EmbeddingModelMissingError`, `NameModelMissingError` or `IntentHeadMissingError`, with a hint,
    when something was never prepared.
    """
    paths = StatePaths(settings)
    key = await asyncio.to_thread(load_site_key, paths.key)
    vault = await asyncio.to_thread(Vault.open, paths.vault, key)
    try:
        yield await asyncio.to_thread(_handler, settings, paths, key, vault)
    finally:
        vault.close()


def _handler(settings: Settings, paths: StatePaths, key: bytes, vault: Vault) -> Handler:
    embedder = Embedder.load(paths.models)
    head = IntentHead.load(paths.intent_head)
    if not head.version.endswith(f"+{embedder.version}"):
        raise IntentHeadMissingError(paths.intent_head, "it was trained over another embedding model")
    prefilter = settings.prefilter
    rules_alone = Detector(prefilter.phone_regions)
    detector = _detector_with_model(settings, paths) if prefilter.name_model else rules_alone
    language = LanguageModel(prefilter.languages)
    detector.find("Warm up: I am Ann Example, +44 20 7946 0958.")
    language.detect("Warm up with a sentence of some length.")
    for spoken in prefilter.languages:
        resolve_followup("Warm up?", (Turn("user", "Warm up?"),), spoken)
    thresholds = ReplyThresholds(
        prefilter.distress_threshold, prefilter.unsafe_threshold, prefilter.smalltalk_threshold
    )
    safety = SafetyTier(SafetyHead.load(paths.models), thresholds, language.detect, split_parts, spread)
    safety.judge("Warm up with a sentence of some length.")
    head.predict(embedder.embed("Warm up with a sentence of some length."))
    ports = PrefilterPorts(
        unseal=partial(unseal_request, key),
        find_personal=partial(find_personal, detector),
        find_in_schema=partial(find_personal, rules_alone),
        tokenise=partial(tokenise, vault, key),
        detect_language=language.detect,
        classify=partial(safety.classify, partial(classify, embedder, head)),
        resolve=resolve_followup,
        find_reply=ReplyTexts(load_replies(paths.pack), prefilter.emergency, prefilter.helpline).find,
    )
    versions = ScreeningVersions(
        detector=Artefact("detector", "dlp", detector.version),
        language=Artefact("model", "py3langid", language.version),
        embedding=Artefact("model", MODEL, embedder.version),
        intent=Artefact("model", "intent", head.version),
        safety=Artefact("model", "safety", safety.version),
    )
    rules = ScreeningRules(versions, prefilter.languages, thresholds, max_chars=prefilter.max_chars)
    return partial(screen, ports=ports, rules=rules)


def _detector_with_model(settings: Settings, paths: StatePaths) -> Detector:
    """Rules and the model for names; a site that was never prepared has published nothing."""
    published = paths.published.read_text("utf-8") if paths.published.exists() else ""
    return Detector(settings.prefilter.phone_regions, PersonModel.load(paths.models), PublishedText(published))


async def find_personal(detector: Detector, text: str) -> list[Finding]:
    """The personal data in `text`; a long one, or one that a model reads, is searched in a thread."""
    is_quick = len(text) <= INLINE_CHARS and not detector.has_model
    return detector.find(text) if is_quick else await asyncio.to_thread(detector.find, text)


async def tokenise(vault: Vault, key: bytes, asked: Asked, findings: Sequence[PersonalData]) -> list[str]:
    """A vault token for each finding, kept for this asker. The gateway has replaced the asker by a digest."""
    asker = asked.asker if asked.sealed and asked.asker else asker_digest(key, asked.tenant, asked.asker, asked.rid)
    pairs = [(finding.kind, finding.value) for finding in findings]
    return await asyncio.to_thread(vault.put_all, asked.tenant, asker, pairs)


async def classify(embedder: Embedder, head: IntentHead, text: str) -> IntentEstimate:
    """What the text asks for, by the part that is surest; how unsafe it is, or in how much distress the person, by the
    worst of its parts. A text of more than one part is no small talk.

    The model reads 32 tokens in 4 ms; a text is not safe because it takes longer than that to come to its point. A
    vault token is read as the word for its kind: its digits would mean nothing and fill the 32.
    """
    vectors = [await embedder.embed_soon(part) for part in split_parts(text)]
    predictions = [head.predict(vector) for vector in vectors]
    surest = max(predictions, key=lambda prediction: prediction.probability)
    unsafe = spread(max(map(head.unsafe_probability, predictions)), len(predictions))
    found = [head.find_verdict(prediction, "distress") for prediction in predictions]
    intent, probability = max(found, key=lambda pair: pair[1])
    return IntentEstimate(
        surest.intent,
        surest.probability,
        unsafe,
        head.workloads[surest.intent],
        distress=VerdictEstimate(intent, spread(probability, len(predictions))),
        smalltalk=VerdictEstimate(*head.find_verdict(surest, "smalltalk"))
        if len(predictions) == 1
        else VerdictEstimate(),
    )


def spread(probability: float, parts: int) -> float:
    """`probability` that one of so many parts is unsafe, when a text is no likelier to be so for being long.

    The prior odds are shared among the parts (Bonferroni); without it every long letter would look unsafe somewhere.
    """
    return probability / (probability + parts * (1 - probability))


def split_parts(text: str) -> tuple[str, ...]:
    """The whole text, and what follows its first words in parts; vault tokens as the words for their kinds."""
    words = VAULT_TOKEN.sub(lambda token: token[1].lower(), text)
    return (words, *later_parts(words))


def later_parts(text: str) -> list[str]:
    """What follows the first `PART_WORDS` words, in overlapping parts of so many; none for a short text."""
    words = text.split()
    step = PART_WORDS * 2 // 3
    return [" ".join(words[start : start + PART_WORDS]) for start in range(step, len(words) - PART_WORDS + step, step)]
