"""Asks a running fleet the questions of a pack over NATS and HTTP, and times what a client sees.

Promises that a question is asked again under its own id until it is answered. Next: report.py.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import httpx
import msgspec

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.history import history
from tidegate.schemas import Asked, Published, Refused, UnreadableError, decode, encode, encode_json
from tidegate.schemas.entries import OPERATOR, entry
from tidegate.schemas.pack import LabelledQuestion
from tidegate.schemas.refusals import may_retry
from tidegate.schemas.subjects import ANSWERS, ASK, ESCALATIONS
from tidegate.services.evaluation.report import ClientRun
from tidegate.services.packs.correctness import judge

TRANSPORTS = ("nats-json", "nats-msgpack", "http", "http-stream")


class Requester(Protocol):
    """Whoever can send a request over NATS."""

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """See `CoreClient`."""


class SiteClient(msgspec.Struct, frozen=True):
    """How a client reaches one site: its NATS server, its HTTP address, and the access key that it uses there.

    `ask_at` is the subject of a question over NATS: `ask` for an application; empty for the operator, who names the
    tenant in the subject.
    """

    client: Requester
    http_url: str
    access_key: str
    ask_at: str = ""


async def ask_all(
    questions: Sequence[LabelledQuestion],
    clients: Mapping[str, SiteClient],
    *,
    tenant: str,
    budget_ms: int,
    on_answer: Callable[[ClientRun], None],
    patience_s: float = 60.0,
) -> list[ClientRun]:
    """Ask every question once, spread over the sites and the transports, one question at a time per site.

    A client keeps asking under the same request id until `patience_s` has passed, as a real one would when the
    server that it talks to goes away.
    """
    turn = itertools.cycle(TRANSPORTS)
    runs = [
        ClientRun(question=question, rid=uuid.uuid4().hex, site=site, transport=next(turn))
        for question, site in zip(questions, itertools.cycle(clients), strict=False)
    ]

    async def ask_site(site: str) -> None:
        known = clients[site]
        headers = bearer(known.access_key)
        async with httpx.AsyncClient(base_url=known.http_url, timeout=patience_s, headers=headers) as http:
            for run in [run for run in runs if run.site == site]:
                await ask_with_retry(run, known, http, tenant, budget_ms, patience_s)
                on_answer(run)

    async with asyncio.TaskGroup() as group:
        for site in clients:
            group.create_task(ask_site(site))
    return runs


def bearer(access_key: str) -> dict[str, str]:
    """The header by which a client shows its key; none without one."""
    return {"Authorization": f"Bearer {access_key}"} if access_key else {}


async def ask_with_retry(
    run: ClientRun, site: SiteClient, http: httpx.AsyncClient, tenant: str, budget_ms: int, patience_s: float
) -> None:
    """Fill in `run`; leaves `reply` None when nobody answered for `patience_s` seconds."""
    question = run.question
    asked = Asked(
        tenant=tenant,
        text=question.text,
        rid=run.rid,
        asker=f"visitor-{run.rid[:8]}",
        workload=question.workload,
        schema=question.schema,
        budget_ms=budget_ms,
    )
    give_up = time.monotonic() + patience_s
    while time.monotonic() < give_up:
        started = time.perf_counter()
        try:
            if run.transport.startswith("http"):
                reply = await ask_over_http(asked, http, run, streaming=run.transport == "http-stream")
            else:
                as_json = run.transport == "nats-json"
                reply = await ask_over_nats(asked, site.client, as_json=as_json, ask_at=site.ask_at)
        except (UnreachableError, httpx.TransportError, UnreadableError):
            await asyncio.sleep(0.1)
            continue
        run.e2e_ms = (time.perf_counter() - started) * 1000
        run.ttft_ms = run.ttft_ms or run.e2e_ms
        run.reply = reply
        if isinstance(reply, Refused) and may_retry(reply):
            await asyncio.sleep(0.1)
            continue
        return


async def ask_over_nats(asked: Asked, client: Requester, *, as_json: bool, ask_at: str = "") -> Published | Refused:
    """Ask with nothing but a NATS request; as the operator where it is not said at which subject."""
    data = encode_json(asked) if as_json else encode(asked)
    subject = ask_at or entry(ASK, asked.tenant, OPERATOR)
    data = await client.request(subject, data, timeout_s=asked.budget_ms / 1000 + 3.0)
    reply: Published | Refused = decode(data, Published, Refused)
    return reply


def build_chat_body(asked: Asked, *, streaming: bool) -> dict[str, object]:
    """The request as any OpenAI client would send it."""
    body: dict[str, object] = {
        "model": "tidegate",
        "messages": [{"role": "user", "content": asked.text}],
        "user": asked.asker,
        "stream": streaming,
    }
    if asked.schema:
        schema = {"name": "extract", "schema": msgspec.json.decode(asked.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


async def ask_over_http(
    asked: Asked, http: httpx.AsyncClient, run: ClientRun, *, streaming: bool
) -> Published | Refused:
    """Ask like an OpenAI client; with `streaming`, `run.ttft_ms` is the first piece of content."""
    headers = {
        "X-Request-Id": asked.rid,
        "X-Tidegate-Tenant": asked.tenant,
        "X-Tidegate-Budget-Ms": str(asked.budget_ms),
    }
    started = time.perf_counter()
    body = build_chat_body(asked, streaming=streaming)
    if not streaming:
        response = await http.post("/v1/chat/completions", json=body, headers=headers)
        return parse_gateway_reply(decode_json(response.content))
    run.ttft_ms = 0.0
    last: dict[str, object] = {}
    async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
        if response.status_code != httpx.codes.OK:
            return parse_gateway_reply(decode_json(await response.aread()))
        async for line in response.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            chunk = decode_json(line[6:].encode())
            choices = chunk.get("choices") or [{}]
            delta = choices[0].get("delta", {})
            if not run.ttft_ms and (delta.get("content") or delta.get("refusal")):
                run.ttft_ms = (time.perf_counter() - started) * 1000
            if "tidegate" in chunk or "error" in chunk:
                last = chunk
    return parse_gateway_reply(last)


def decode_json(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises `UnreadableError`."""
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise UnreadableError(f"the gateway's reply is no JSON object: {error}") from error


def parse_gateway_reply(body: dict[str, object]) -> Published | Refused:
    """The full answer that the gateway puts beside the OpenAI fields. Raises `UnreadableError`."""
    found = body.get("tidegate") or body.get("error")
    if not isinstance(found, dict):
        raise UnreadableError("the gateway's reply holds neither an answer nor an error")
    if "error" in body:
        return Refused(code=str(found.get("code") or "error"), reason=str(found.get("message")))
    return msgspec.convert(found, Published, strict=False)


async def read_facts(run: ClientRun, bus: JetStreamBus, tenant: str) -> None:
    """Fill in what the streams hold of one request, and whether its reply is right."""
    facts = await history(bus.link.client, run.rid, tenant, run.site)
    run.answers_stored = sum(fact.stream == ANSWERS for fact in facts)
    run.escalated = any(fact.stream == ESCALATIONS for fact in facts)
    reply = run.reply
    if isinstance(reply, Published):
        cited = [citation.document_id for citation in reply.citations]
        run.correct = judge(run.question, reply.outcome, reply.text, cited)
