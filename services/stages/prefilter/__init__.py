"""The prefilter: language, intent, safety, and personal data replaced by vault tokens, before anything else is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from cachetools import LRUCache

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.schemas import Artefact, Asked, Message, Turn
from tidegate.schemas.vault_token import read_kinds
from tidegate.services.fleet.live_settings import with_live_settings
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.tenant_parts import SiteStanding, TenantParts, open_tenant_parts
from tidegate.services.fleet.vault import open_vault
from tidegate.services.knowledge.embedding import MODEL, Embedder
from tidegate.services.knowledge.intent_classifier import IntentHead, IntentHeadMissingError
from tidegate.services.knowledge.reader.together import HELPERS
from tidegate.services.knowledge.safety_head import SafetyHead
from tidegate.services.languages.followups import resolve_followup
from tidegate.services.packs.active import INTENT_HEAD, PUBLISHED, PackInForce
from tidegate.services.packs.replies import FILE as REPLIES
from tidegate.services.packs.replies import ReplyTexts
from tidegate.services.planning.standing import NOTHING_IN_FORCE, degradations_of
from tidegate.services.privacy.dlp.detector import Detector, WholeTextDetector
from tidegate.services.privacy.dlp.finding import Finding
from tidegate.services.privacy.dlp.person_model import PersonModel, UnfinishedScreeningError
from tidegate.services.privacy.dlp.published import PublishedText
from tidegate.services.privacy.sealing import unseal_request
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings
from tidegate.services.stages.prefilter.admission import Admission
from tidegate.services.stages.prefilter.handler import (
    IntentEstimate,
    PrefilterPorts,
    ScreeningRules,
    ScreeningVersions,
    UnscreenableError,
    refuse_closed,
    screen,
)
from tidegate.services.stages.prefilter.language import LanguageModel
from tidegate.services.stages.prefilter.replies import ReplyThresholds, VerdictEstimate
from tidegate.services.stages.prefilter.safety import SafetyTier
from tidegate.services.stages.prefilter.screened_text import PersonalData
from tidegate.services.stages.settings import PrefilterSettings
from tidegate.services.stages.threads import in_thread

INLINE_CHARS = 500
"""A text up to this long is searched in less time than a thread takes to start."""
INTENTS = "intents/intents"
"""The part of a pack that the intent head is made of."""
SCREENED_BY = (INTENT_HEAD, PUBLISHED, "site.toml", REPLIES)
"""The files of a generation by which it screens."""
PART_WORDS = 18
"""About 24 word pieces in the site's languages, so that a part seldom loses its end to the 32 that are read."""


MakeTokens = Callable[[str, str, Sequence[tuple[str, str]], str], list[str]]
"""A token for each kind and value of a tenant's asker in a session: `Vault.put_all`, or what stores nothing."""


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001, ARG001 - a root is `open`
    """The handler, when key, vault and models are loaded and warm.

    Each request is screened by what is in force of its tenant's pack when it comes, and goes on with that. Raises
    `EmbeddingModelMissingError`, `NameModelMissingError` or `IntentHeadMissingError`, with a hint, when something was
    never prepared.
    """
    paths = StatePaths(settings)
    vault = await asyncio.to_thread(open_vault, settings)
    try:
        models = await asyncio.to_thread(ScreeningModels, paths.models, finds_names=settings.prefilter.name_model)
        loader = ScreeningLoader(settings, models, vault)
        await asyncio.to_thread(loader.warm_up)
        async with open_tenant_parts(settings, loader.load) as screenings:
            yield partial(screen_by, screenings, SiteStanding(settings))
    finally:
        vault.close()


async def screen_by(screenings: TenantParts[Screening], standing: SiteStanding, asked: Asked) -> list[Message]:
    """Screen a request by what is in force now; a site where nothing is, is closed."""
    given_up = standing.degradations(asked.tenant)
    current = screenings.current(asked.tenant)
    if current is None:
        return [refuse_closed(asked, Admission(0, given_up or degradations_of(NOTHING_IN_FORCE)))]
    own = current.parts
    return await screen(asked, own.ports, own.rules, Admission(current.generation, given_up))


class ScreeningModels:
    """The models that screen, whatever is in force. Raises `EmbeddingModelMissingError`, `NameModelMissingError`."""

    def __init__(self, directory: Path, *, finds_names: bool) -> None:
        self._directory = directory
        self.embedder = Embedder.load(directory)
        self.safety = SafetyHead.load(directory)
        self._persons = PersonModel.load(directory) if finds_names else None

    @property
    def persons(self) -> PersonModel:
        """What finds names; loaded now where the site has not wanted it before. Raises `NameModelMissingError`."""
        if self._persons is None:
            self._persons = PersonModel.load(self._directory)
        return self._persons


class Screening(NamedTuple):
    """How a tenant's requests are screened by its pack in force."""

    ports: PrefilterPorts
    rules: ScreeningRules


class ScreeningLoader:
    """Makes what screens out of what is in force; what depends on parts that did not change is not made again."""

    def __init__(
        self, settings: Settings, models: ScreeningModels, vault: Vault, *, stores_values: bool = True
    ) -> None:
        self._settings = settings
        self._put = vault.put_all if stores_values else vault.tokens_of
        self._models = models
        self._vault = vault
        self._made: LRUCache[tuple[str, str, int], Screening] = LRUCache(2 * len(settings.tenants))
        self._language = lru_cache(maxsize=8)(LanguageModel)

    def warm_up(self) -> None:
        """Use everything once: what is loaded at first use takes seconds, and the first generation may come later."""
        prefilter = self._settings.prefilter
        _, detector = self._detectors(prefilter, PublishedText())
        language = self._language(prefilter.languages)
        detector.find("Warm up: I am Ann Example, +44 20 7946 0958.")
        self._safety(language, ReplyThresholds()).judge("Warm up with a sentence of some length.")
        for spoken in prefilter.languages:
            resolve_followup("Warm up?", (Turn("user", "Warm up?"),), spoken)

    def load(self, pack: PackInForce) -> Screening:
        """The parts that screen, warm. Raises `IntentHeadMissingError`, `NameModelMissingError`, `PackError`,
        `SettingsError`."""
        key = (pack.tenant, pack.digest_of(SCREENED_BY), pack.epochs.get(INTENTS, 0))
        if not pack.number or key not in self._made:
            self._made[key] = self._make(pack)
        return self._made[key]

    def _make(self, pack: PackInForce) -> Screening:
        prefilter = with_live_settings(self._settings, pack).prefilter
        embedder, head = self._models.embedder, pack.intent_head
        if not head.version.endswith(f"+{embedder.version}"):
            raise IntentHeadMissingError(pack.made.intent_head, "it was trained over another embedding model")
        rules_alone, detector = self._detectors(prefilter, pack.published)
        language = self._language(prefilter.languages)
        thresholds = ReplyThresholds(
            prefilter.distress_threshold, prefilter.unsafe_threshold, prefilter.smalltalk_threshold
        )
        safety = self._safety(language, thresholds)
        ports = PrefilterPorts(
            unseal=partial(unseal_request, self._vault),
            find_personal=partial(find_personal, detector),
            find_in_schema=partial(find_personal, rules_alone),
            tokenise=partial(tokenise, self._vault, self._put),
            detect_language=language.detect,
            classify=partial(safety.classify, partial(classify, embedder, head)),
            resolve=in_thread(resolve_followup),  # some 4 ms for a conversation of a few answers
            find_reply=ReplyTexts(pack.replies, prefilter.emergency, prefilter.helpline).find,
        )
        versions = ScreeningVersions(
            detector=Artefact("detector", "dlp", detector.version),
            language=Artefact("model", "py3langid", language.version),
            embedding=Artefact("model", MODEL, embedder.version),
            intent=Artefact("model", "intent", head.version, pack.epochs.get(INTENTS, 0)),
            safety=Artefact("model", "safety", safety.version),
        )
        head.predict(embedder.embed("Warm up with a sentence of some length."))
        return Screening(ports, ScreeningRules(versions, prefilter.languages, thresholds, prefilter.max_chars))

    def _detectors(self, prefilter: PrefilterSettings, published: PublishedText) -> tuple[Detector, Detector]:
        """One of rules alone, and that which reads questions; a site that was never prepared has published nothing."""
        rules_alone = Detector(prefilter.phone_regions, finds_health=prefilter.health_data, patterns=prefilter.patterns)
        return rules_alone, WholeTextDetector(
            prefilter.phone_regions,
            self._models.persons if prefilter.name_model else None,
            published,
            finds_health=prefilter.health_data,
            patterns=prefilter.patterns,
            budget_s=prefilter.name_budget_ms / 1000,
        )

    def _safety(self, language: LanguageModel, thresholds: ReplyThresholds) -> SafetyTier:
        return SafetyTier(self._models.safety, thresholds, language.detect, split_parts, spread, HELPERS)


async def find_personal(detector: Detector, text: str) -> list[Finding]:
    """The personal data in `text`; a long one, or one that a model reads, is searched in a thread.

    Raises `UnscreenableError` where that was not done in time.
    """
    is_quick = len(text) <= INLINE_CHARS and not detector.has_model
    try:
        return detector.find(text) if is_quick else await asyncio.to_thread(detector.find, text)
    except UnfinishedScreeningError as error:
        raise UnscreenableError(str(error)) from error


async def tokenise(vault: Vault, put: MakeTokens, asked: Asked, findings: Sequence[PersonalData]) -> list[str]:
    """A vault token for each finding, kept for this asker in this session. The gateway has replaced both by digests."""
    asker, session = asked.asker, asked.session
    if not (asked.sealed and asker):
        asker = vault.digest_of_asker(asked.tenant, asked.asker, asked.rid)
        session = vault.digest_of_session(asked.tenant, asked.asker, asked.session, asked.rid)
    pairs = [(finding.kind, finding.value) for finding in findings]
    return await asyncio.to_thread(put, asked.tenant, asker, pairs, session)


def classify(embedder: Embedder, head: IntentHead, text: str) -> IntentEstimate:
    """What the text asks for, by the part that is surest; how unsafe it is, or in how much distress the person, by the
    worst of its parts. A text of more than one part is no small talk.

    The model reads 32 tokens in 4 ms; a text is not safe because it takes longer than that to come to its point. A
    vault token is read as the word for its kind: its digits would mean nothing and fill the 32.
    """
    vectors = [embedder.embed(part) for part in split_parts(text)]
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
    words = read_kinds(text, str.lower)
    return (words, *later_parts(words))


def later_parts(text: str) -> list[str]:
    """What follows the first `PART_WORDS` words, in overlapping parts of so many; none for a short text."""
    words = text.split()
    step = PART_WORDS * 2 // 3
    return [" ".join(words[start : start + PART_WORDS]) for start in range(step, len(words) - PART_WORDS + step, step)]
