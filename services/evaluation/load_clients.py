"""The clients of an open loop: HTTP as OpenAI's clients speak it, or NATS as the operator, each streaming or not.

Next: open_loop.py, which calls them; services/gateway, which answers."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import Asked, Published, Refused, TidegateError, decode, encode
from tidegate.schemas.entries import OPERATOR, entry
from tidegate.schemas.pack import LabelledQuestion
from tidegate.schemas.subjects import ASK, STREAM
from tidegate.services.evaluation.client import ask_over_http, bearer
from tidegate.services.evaluation.open_loop import Ask, LoadReply
from tidegate.services.evaluation.report import ClientRun
from tidegate.services.streaming.events import DeltaEvent, EndEvent, ErrorEvent, Event


class NotAnsweredError(TidegateError, ConnectionError):
    """The connection ended before the reply, or none could be made."""

    hint = "see `tidegate status`, and the limits of the gateway (`gateway.limits`)"


class LoadQuestions(msgspec.Struct, frozen=True):
    """What is asked, over and over, by which tenant, and how long an answer is waited for."""

    texts: Sequence[str]
    tenant: str
    budget_ms: int

    def asked(self, number: int) -> Asked:
        """The request of this number, with an id of its own."""
        text = self.texts[number % len(self.texts)]
        return Asked(tenant=self.tenant, text=text, rid=uuid.uuid4().hex, budget_ms=self.budget_ms)


@asynccontextmanager
async def open_http_load(
    url: str, access_key: str, questions: LoadQuestions, patience_s: float, *, streaming: bool, verify: Any = True
) -> AsyncIterator[Ask]:
    """Asks at the gateway of this address, over as many connections as there are requests under way."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(
        base_url=url, timeout=patience_s, headers=bearer(access_key), limits=limits, verify=verify, trust_env=False
    ) as http:

        async def ask(number: int) -> LoadReply:
            asked = questions.asked(number)
            question = LabelledQuestion(id="load", text=asked.text, kind="answerable")
            run = ClientRun(question=question, rid=asked.rid, site="", transport="http")
            try:
                reply = await ask_over_http(asked, http, run, streaming=streaming)
            except httpx.TransportError as error:
                raise NotAnsweredError(str(error) or type(error).__name__) from error
            return LoadReply(reply, run.ttft_ms / 1000 if run.ttft_ms else None)

        yield ask


@asynccontextmanager
async def open_nats_load(
    server: NatsSettings, site: str, questions: LoadQuestions, patience_s: float, *, streaming: bool
) -> AsyncIterator[Ask]:
    """Asks at the site's server over one connection, as its operator. Raises `UnreachableError`."""
    async with JetStreamBus.open(server, site) as bus:

        async def ask(number: int) -> LoadReply:
            asked = questions.asked(number)
            if streaming:
                return await _follow(bus, asked, patience_s)
            subject = entry(ASK, asked.tenant, OPERATOR)
            reply = await bus.request(subject, encode(asked), timeout_s=patience_s)
            return LoadReply(decode(reply, Published, Refused))

        yield ask


async def _follow(bus: JetStreamBus, asked: Asked, patience_s: float) -> LoadReply:
    """The whole of one stream. Raises `UnreachableError` where no event comes for `patience_s`."""
    inbox, replies, began_s = bus.link.new_inbox(), asyncio.Queue[Any](), time.perf_counter()
    subscription = await bus.link.subscribe(inbox, replies.put)
    first_s: float | None = None
    try:
        await bus.link.send(entry(STREAM, asked.tenant, OPERATOR), encode(asked), inbox)
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    message = await replies.get()
            except TimeoutError as error:
                raise UnreachableError(f"no event within {patience_s:g} s") from error
            if not message.data:
                raise UnreachableError("nobody answers")
            match msgspec.msgpack.decode(message.data, type=Event):
                case DeltaEvent(text=text) if text and first_s is None:
                    first_s = time.perf_counter() - began_s
                case EndEvent(published=published):
                    return LoadReply(published, first_s)
                case ErrorEvent(code=code, reason=reason):
                    return LoadReply(Refused(code=code, reason=reason), first_s)
    finally:
        await bus.link.unsubscribe(subscription)
