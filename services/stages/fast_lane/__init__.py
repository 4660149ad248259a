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
    Refused,
    RejectError,
    Retrieved,
    Verified,
    decode,
    encode,
)
from tidegate.schemas.refusals import may_retry
from tidegate.schemas.subjects import PIPE, TOKENS, fast_lane, subject_of, tokens
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.readers import TenantReaders
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.reader.reader import answer_for_tenant
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.settings import Settings
from tidegate.services.stages.fast_lane.handler import FastLanePorts, ask_in_time
from tidegate.services.streaming.log import AnswerLog, CorruptLogError


@asynccontextmanager
async def open(settings: Settings, bus: Bus) -> AsyncIterator[Handler]:  # noqa: A001 - a root is `open`
    """The handler, with the edge's reader beside it for when the cloud is lost. Raises `CalibrationMissingError`."""
    paths = StatePaths(settings)
    units = await asyncio.to_thread(UnitReader.load, paths.models)
    readers = TenantReaders(settings, units)
    indexes = TenantIndexes(settings.tenants, paths.index, units.embedder, exact_below=settings.retriever.exact_below)

    async def ask_hub(escalated: Escalated, left_s: float) -> Verified:
        timeout_s = min(left_s, settings.cloud_verifier.timeout_s)
        data = await bus.request(fast_lane(settings.site), encode(escalated), timeout_s=timeout_s)
        reply = decode(data, Verified, Refused)
        if isinstance(reply, Refused):
            if may_retry(reply):
                raise ConnectionError(reply.reason)
            raise RejectError(f"the hub refused: {reply.reason}", reply.hint)
        verified: Verified = reply
        return verified

    async def answer_alone(escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        asked_for = escalated.followed_by(Retrieved, question=escalated.question, plan=escalated.plan)
        data = await bus.last(PIPE, subject_of(asked_for, settings.site))
        if data is None:
            return Answer(text=""), ()
        passages = decode(data, Retrieved).passages
        tenant, reader = escalated.tenant, readers.of(escalated.tenant)
        return await asyncio.to_thread(answer_for_tenant, reader, indexes, tenant, escalated.question, passages)

    async def committed_part(escalated: Escalated) -> Committed:
        stored = await bus.read(TOKENS, tokens(escalated.tenant, escalated.rid))
        try:
            log = AnswerLog.from_lines((decode(data, Delta) for _, data in stored), escalated.rid, escalated.tenant)
        except CorruptLogError:  # its first lines are gone, by age or for room: at best the publisher knows them
            return Committed()
        return log.committed_part

    ports = FastLanePorts(ask_hub, answer_alone, committed_part, time.time)
    yield partial(ask_in_time, ports=ports, alone_from=settings.drafter.least_confidence)
