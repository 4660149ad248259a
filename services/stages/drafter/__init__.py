"""The drafter's composition root: the edge's own answer, or the decision to ask the cloud (see `handler.py`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.schemas import Answer, Artefact, Draft, Escalated, Message, Partial, Question, Retrieved, encode, subjects
from tidegate.services.answering.prompt_context import draft_from_reading, draft_from_text
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.readers import TenantReading
from tidegate.services.fleet.tenant_parts import TenantParts, open_tenant_parts
from tidegate.services.knowledge.extraction import extraction
from tidegate.services.knowledge.extraction.field_reader import FieldReader
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.reader.reader import RankedSpans, rank_for_tenant
from tidegate.services.knowledge.reader.together import HELPERS
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.llm.json_extraction import fill_schema
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.site_model import SiteModel
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.planning.planner import with_evidence
from tidegate.services.policies.high_risk import least_confidence
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.settings import Settings
from tidegate.services.stages.drafter.answer_cache import AnswerCache
from tidegate.services.stages.drafter.answer_cache_writer import AnswerCacheWriter
from tidegate.services.stages.drafter.handler import DrafterPorts, EscalationRules, MakeDraft, draft
from tidegate.services.stages.drafter.interactive import InteractiveVerifier
from tidegate.services.stages.drafter.latency import DrafterLatency, Stopwatch
from tidegate.services.stages.drafter.verifying import DraftVerifier
from tidegate.services.stages.threads import in_thread
from tidegate.services.uplink.source_marks import SourceMarks

Reading = tuple[Answer, tuple[Artefact, ...], Callable[[], Draft | None]]


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001 - every stage's root is `open`
    """The handler, its model warm, the indices open. Raises `CalibrationMissingError` for an unprepared site."""
    paths = StatePaths(settings)
    units = (await asyncio.to_thread(UnitReader.load, paths.models)).helped_by(HELPERS)
    fields = await asyncio.to_thread(FieldReader.load, paths.models)
    model_of = await asyncio.to_thread(load_models, paths.models, settings.drafter.adapters)
    tokens = model_of("").tokenizer
    indexes = TenantIndexes(settings.tenants, paths.index, units.embedder, exact_below=settings.retriever.exact_below)
    for tenant in settings.tenants:
        await asyncio.to_thread(indexes.index, tenant)
    latency, drafts, marks = DrafterLatency(), DraftVerifier(), SourceMarks.of(settings)
    async with open_tenant_parts(settings, partial(TenantReading.load, settings, units)) as readings:
        cache = await open_answer_cache(settings, bus, partial(detector_of, readings, settings), tokens)

        async def handler(retrieved: Retrieved) -> list[Message]:
            watch = Stopwatch()
            reading = await readings.at(retrieved.tenant, retrieved.generation)
            ports = DrafterPorts(
                read=partial(read_in_thread, reading, indexes, tokens),
                extract=in_thread(extracting(settings, model_of, fields)),
                publish_partial=partial(publish_partial, bus),
                required_degradation=latency.required_degradation,
                verify_interactively=watch.exclude(verifier.verify),
                cached_answer=cache.find,
                forecast=with_evidence,
                verify=partial(drafts.verify, reading.policies if reading else ()),
            )
            [made] = await draft(retrieved, ports, rules_of(reading, settings))
            latency.observe(retrieved, made, watch.ms)
            return [await marks.stamp(made) if marks is not None and isinstance(made, Escalated) else made]

        verifier = InteractiveVerifier(bus, settings.site, model_of)
        yield handler


async def publish_partial(bus: Bus, partial: Partial) -> None:
    await bus.publish_core(subjects.partial(False, partial.tenant, partial.rid), encode(partial))


def rules_of(reading: TenantReading | None, settings: Settings) -> EscalationRules:
    """When the hub is asked: by the settings, by the risk of the question, by what no corpus of the pack answers."""
    if reading is None:
        return EscalationRules(settings.drafter.least_confidence)
    usual, policies = reading.settings.drafter.least_confidence, reading.policies

    def needed(question: Question) -> float:
        return max(usual(question), least_confidence(question, policies))

    return EscalationRules(needed, reading.reader.hopeless)


def detector_of(readings: TenantParts[TenantReading], settings: Settings, tenant: str) -> Detector:
    """What a tenant's answers are searched with before they are kept."""
    current = readings.current(tenant)
    return (
        current.parts.detector
        if current
        else Detector(
            settings.prefilter.phone_regions,
            finds_health=settings.prefilter.health_data,
            patterns=settings.prefilter.patterns,
        )
    )


def extracting(
    settings: Settings, model_of: Callable[[str], SiteModel], fields: FieldReader
) -> Callable[[Retrieved], Answer]:
    """How a schema is filled: by what the text says, and with the site's model where the settings want it."""

    def extract(retrieved: Retrieved) -> Answer:
        asked = text_and_schema(retrieved.question)
        if settings.drafter.model_in_extraction:
            return fill_schema(model_of(retrieved.tenant), *asked, fields)
        return extraction.extract(*asked, fields)

    return extract


def text_and_schema(question: Question) -> tuple[str, str, str]:
    """What an extraction reads, the schema that it fills, and the language of the text."""
    return question.text, question.schema, question.language


def load_models(models: Path, adapters: Mapping[str, str]) -> Callable[[str], SiteModel]:
    """From a tenant to its language model; tenants without an adapter share the plain one.

    `adapters`: tenant to the name of a directory in `models/lm/adapters`, which `make models` merges with the draft
    model. Raises `ModelRefusedError` where there is none of that name.
    """
    plain = SiteModel(CausalLM(models / "lm" / "draft"))
    adapted = {
        tenant: SiteModel(CausalLM(models / "lm" / "adapters" / name), name) for tenant, name in adapters.items()
    }
    return lambda tenant: adapted.get(tenant, plain)


def read(reading: TenantReading | None, indexes: TenantIndexes, tokens: TokenText, retrieved: Retrieved) -> Reading:
    """The edge's own answer, and what makes the draft of it; no answer where nothing is in force to read by."""
    if reading is None:
        return Answer(text=""), (), no_draft
    may_read = all(made.level != "no_rerank" for made in retrieved.degradations)
    spans, parts = rank_for_tenant(
        reading.reader,
        indexes.rewritten_by(reading.thesaurus),
        retrieved.tenant,
        retrieved.question,
        retrieved.passages,
        may_read=may_read,
    )
    if spans is None:
        return Answer(text=""), parts, no_draft
    return spans.answer, parts, partial(draft_without_personal_data, reading.detector, tokens, spans)


def no_draft() -> None:
    """Of no answer there is none."""


def draft_without_personal_data(detector: Detector, tokens: TokenText, spans: RankedSpans) -> Draft | None:
    """The draft of a reading; none where the answer holds personal data, which may not leave the site."""
    return None if detector.find(spans.answer.text) else draft_from_reading(tokens, spans)


async def read_in_thread(
    reading: TenantReading | None, indexes: TenantIndexes, tokens: TokenText, retrieved: Retrieved
) -> tuple[Answer, tuple[Artefact, ...], MakeDraft]:
    """See `DrafterPorts`: `read`, and what it leaves for later, each in a thread."""
    answer, parts, make_draft = await asyncio.to_thread(read, reading, indexes, tokens, retrieved)
    return answer, parts, in_thread(make_draft)


async def open_answer_cache(
    settings: Settings, bus: Bus, detector_of: Callable[[str], Detector], tokens: TokenText
) -> AnswerCache:
    """The cache of the cloud's answers, filled from now on; it stays empty where the settings give it no room."""
    most, age_s = settings.drafter.past_answers, settings.drafter.past_answers_s
    cache = AnswerCache(settings.tenants, most, age_s, time.monotonic)
    if most:
        writer = AnswerCacheWriter(bus, cache, detector_of, partial(draft_from_text, tokens))
        await bus.listen(subjects.LIVE_ANSWERS, writer.receive)
    return cache
