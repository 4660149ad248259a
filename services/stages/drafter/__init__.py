"""The drafter's composition root: the edge's own answer, or the decision to ask the cloud (see `handler.py`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.schemas import Answer, Artefact, Draft, Message, Partial, Question, Retrieved, encode, subjects
from tidegate.services.answering.prompt_context import draft_from_reading, draft_from_text
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.readers import TenantReaders
from tidegate.services.knowledge.extraction import extraction
from tidegate.services.knowledge.extraction.field_reader import FieldReader
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.reader import rank_for_tenant
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.llm.json_extraction import fill_schema
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.site_model import SiteModel
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.planning.planner import with_evidence
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.settings import Settings
from tidegate.services.stages.drafter.answer_cache import AnswerCache
from tidegate.services.stages.drafter.answer_cache_writer import AnswerCacheWriter
from tidegate.services.stages.drafter.handler import DrafterPorts, EscalationRules, draft
from tidegate.services.stages.drafter.interactive import InteractiveVerifier
from tidegate.services.stages.drafter.latency import DrafterLatency, Stopwatch
from tidegate.services.stages.threads import in_thread

Reading = tuple[Answer, tuple[Artefact, ...], Draft | None]


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001 - every stage's root is `open`
    """The handler, its model warm, the indices open. Raises `CalibrationMissingError` for an unprepared site."""
    paths = StatePaths(settings)
    units = await asyncio.to_thread(UnitReader.load, paths.models)
    fields = await asyncio.to_thread(FieldReader.load, paths.models)
    model_of = await asyncio.to_thread(load_models, paths.models, settings.drafter.adapters)
    tokens = model_of("").tokenizer
    detector = Detector(settings.prefilter.phone_regions)
    indexes = TenantIndexes(settings.tenants, paths.index, units.embedder, exact_below=settings.retriever.exact_below)
    cache = await open_answer_cache(settings, bus, detector, tokens)
    for tenant in settings.tenants:
        await asyncio.to_thread(indexes.index, tenant)
    latency = DrafterLatency()
    verifier = InteractiveVerifier(bus, settings.site, model_of)

    async def publish_partial(partial: Partial) -> None:
        await bus.publish_core(subjects.partial(False, partial.tenant, partial.rid), encode(partial))

    ports = DrafterPorts(
        read=in_thread(partial(read, TenantReaders(settings, units), indexes, detector, tokens)),
        extract=in_thread(extracting(settings, model_of, fields)),
        publish_partial=publish_partial,
        required_degradation=latency.required_degradation,
        verify_interactively=verifier.verify,
        cached_answer=cache.find,
        forecast=with_evidence,
    )
    rules = rules_of(settings, Calibration.load(paths.calibration))

    async def handler(retrieved: Retrieved) -> list[Message]:
        watch = Stopwatch()
        own = replace(ports, verify_interactively=watch.exclude(ports.verify_interactively))
        [made] = await draft(retrieved, own, rules)
        latency.observe(retrieved, made, watch.ms)
        return [made]

    yield handler


def rules_of(settings: Settings, calibration: Calibration) -> EscalationRules:
    """When the hub is asked, by the settings and by what no corpus of the pack answers."""
    hopeless = frozenset(calibration.out_of_scope_intents)
    return EscalationRules(settings.drafter.least_confidence, hopeless)


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


def read(
    readers: TenantReaders, indexes: TenantIndexes, detector: Detector, tokens: TokenText, retrieved: Retrieved
) -> Reading:
    """The edge's own answer, and with it the draft, where nothing in that is personal data."""
    may_read = all(made.level != "no_rerank" for made in retrieved.degradations)
    reading, parts = rank_for_tenant(
        readers.of(retrieved.tenant),
        indexes,
        retrieved.tenant,
        retrieved.question,
        retrieved.passages,
        may_read=may_read,
    )
    if reading is None:
        return Answer(text=""), parts, None
    may_leave = not detector.find(reading.answer.text)
    return reading.answer, parts, draft_from_reading(tokens, reading) if may_leave else None


async def open_answer_cache(settings: Settings, bus: Bus, detector: Detector, tokens: TokenText) -> AnswerCache:
    """The cache of the cloud's answers, filled from now on; it stays empty where the settings give it no room."""
    most, age_s = settings.drafter.past_answers, settings.drafter.past_answers_s
    cache = AnswerCache(settings.tenants, most, age_s, time.monotonic)
    if most:
        writer = AnswerCacheWriter(bus, cache, detector, partial(draft_from_text, tokens))
        await bus.listen(subjects.LIVE_ANSWERS, writer.receive)
    return cache
