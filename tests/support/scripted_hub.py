"""A hub that answers what a test tells it to, for sites that run in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import Check, Citation, Escalated, Partial, Question, Verified, decode, encode
from tidegate.schemas.answer import Answer
from tidegate.schemas.subjects import cloud_partial, ping
from tidegate.schemas.uplink import CloudState
from tidegate.schemas.verification_subjects import fast_lane


def vouched(text: str, quote: str) -> Answer:
    """An answer that claims to be checked."""
    citation = Citation(document_id="d", document_version="v", start=0, end=len(quote), quote=quote)
    checks = (Check("grounding", True, 1.0), Check("entailment", True, 1.0))
    return Answer(text=text, citations=(citation,), confidence=0.9, checks=checks)


@asynccontextmanager
async def scripted_hub(url: str, answer_to: Callable[[Question], tuple[Answer, int]]) -> AsyncIterator[None]:
    """Another hub: it shows its answer up to some character, whatever stands there, and then gives it whole."""
    async with JetStreamBus.open(NatsSettings(url=url), "hub") as bus:

        async def answer(data: bytes) -> bytes:
            escalated = decode(data, Escalated)
            whole, cut = answer_to(escalated.question)
            fields = {"question": escalated.question, "plan": escalated.plan}
            begun = msgspec.structs.replace(whole, text=whole.text[:cut])
            partial = escalated.followed_by(Partial, source="cloud", answer=begun, **fields)
            await bus.publish_core(cloud_partial(partial.site, partial.tenant, partial.rid), encode(partial))
            return encode(escalated.followed_by(Verified, answer=whole, **fields))

        async def answer_ping(_: bytes) -> bytes:
            return encode(CloudState())

        await bus.respond(fast_lane("*", "*"), answer)
        await bus.respond(ping("*"), answer_ping)
        yield
