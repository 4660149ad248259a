"""The fast lane's composition root: asks the hub for a verdict at once, beside the durable lane."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from tidegate.brokers.base import Bus
from tidegate.brokers.stage import Handler
from tidegate.schemas import (
    Answer,
    Artefact,
    Committed,
    Delta,
    Escalated,
    Message,
    Passage,
    Refused,
    RejectError,
    Retrieved,
    Verified,
    decode,
    encode,
)
from tidegate.schemas.refusals import may_retry
from tidegate.schemas.subjects import PIPE, TOKENS, subject_of, tokens
from tidegate.schemas.verification_subjects import fast_lane
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.readers import TenantReading
from tidegate.services.fleet.tenant_parts import open_tenant_parts
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.reader.reader import answer_for_tenant
from tidegate.services.knowledge.reader.together import HELPERS
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.settings import Settings
from tidegate.services.stages.fast_lane.handler import EscalationRefusedError, FastLanePorts, ask_in_time
from tidegate.services.streaming.log import AnswerLog, CorruptLogError

REFUSED = "refused_at_hub"
"""The code under which a hub does not take a question."""


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001 - a root is `open`
    """The handler, with the edge's reader beside it for when the cloud is lost. Raises `CalibrationMissingError`."""
    paths = StatePaths(settings)
    units = (await asyncio.to_thread(UnitReader.load, paths.models)).helped_by(HELPERS)
    indexes = TenantIndexes(settings.tenants, paths.index, units.embedder, exact_below=settings.retriever.exact_below)
    async with open_tenant_parts(settings, partial(TenantReading.load, settings, units)) as readings:

        async def answer_alone(escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
            reading = await readings.at(escalated.tenant, escalated.generation)
            passages = await passages_of(escalated, settings.site, bus)
            if reading is None or passages is None:
                return Answer(text=""), ()
            own, tenant = indexes.rewritten_by(reading.thesaurus), escalated.tenant
            return await asyncio.to_thread(answer_for_tenant, reading.reader, own, tenant, escalated.question, passages)

        ports = FastLanePorts(partial(ask_hub, settings, bus), answer_alone, partial(committed_part, bus), time.time)

        async def handler(escalated: Escalated) -> list[Message]:
            reading = await readings.at(escalated.tenant, escalated.generation)
            rules = (reading.settings if reading else settings).drafter
            return await ask_in_time(escalated, ports, rules.least_confidence)

        yield handler


async def ask_hub(settings: Settings, bus: Bus, escalated: Escalated, left_s: float) -> Verified:
    """See `FastLanePorts`."""
    timeout_s = min(left_s, settings.cloud_verifier.timeout_s)
    data = await bus.request(fast_lane(settings.site, escalated.tenant), encode(escalated), timeout_s=timeout_s)
    reply = decode(data, Verified, Refused)
    if isinstance(reply, Refused):
        if may_retry(reply):
            raise ConnectionError(reply.reason)
        if reply.code == REFUSED:
            raise EscalationRefusedError(reply.reason, reply.hint)
        raise RejectError(f"the hub refused: {reply.reason}", reply.hint)
    verified: Verified = reply
    return verified


async def passages_of(escalated: Escalated, site: str, bus: Bus) -> tuple[Passage, ...] | None:
    """The passages that were retrieved for a question before it was escalated; None where they are no longer stored."""
    asked_for = escalated.followed_by(Retrieved, question=escalated.question, plan=escalated.plan)
    data = await bus.last(PIPE, subject_of(asked_for, site))
    return None if data is None else decode(data, Retrieved).passages


async def committed_part(bus: Bus, escalated: Escalated) -> Committed:
    """See `FastLanePorts`."""
    stored = await bus.read(TOKENS, tokens(escalated.tenant, escalated.rid))
    try:
        log = AnswerLog.from_lines((decode(data, Delta) for _, data in stored), escalated.rid, escalated.tenant)
    except CorruptLogError:  # its first lines are gone, by age or for room: at best the publisher knows them
        return Committed()
    return log.committed_part
