"""A site for the tests of the gateway: real endpoints, a real broker in memory, real workers with scripted handlers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import nats
import pytest

from tests.support.message_parts import REPLICATED
from tests.support.table_passages import RELATED, TABLE_HEADER, TABLE_ROWS, TABLE_TEXT
from tidegate.brokers.base import Bus
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.stage import Stage
from tidegate.brokers.worker import settle
from tidegate.schemas import (
    Answer,
    Approved,
    Asked,
    Citation,
    Degradation,
    Drafted,
    Escalated,
    Message,
    Plan,
    Published,
    Question,
    Receipt,
    Refused,
    RejectError,
    Retrieved,
    Routed,
    Screened,
    Verified,
    Withheld,
    decode,
    encode,
)
from tidegate.schemas.subjects import ASK
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.gateway.http.body import HttpTimes
from tidegate.services.gateway.http.server import all_metrics, serve_http
from tidegate.services.gateway.ingress import Ingress, IngressLimits
from tidegate.services.gateway.nats import serve_nats
from tidegate.services.gateway.settings import GatewaySettings
from tidegate.services.llm.text.token_counter import load_token_counter
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.privacy.sealing import unseal_request
from tidegate.services.privacy.vault import Vault, load_site_key
from tidegate.services.settings import Settings

Options = TypeVar("Options", bound=msgspec.Struct)
TOKENIZER = Path(__file__).parents[2] / "infra" / "models" / "weights" / "tokenizer.json"
TOKENS = load_token_counter(TOKENIZER)
EMAIL = 'ada."the first"@example.org'
MARKUP = '<img src=x onerror="document.title=`owned`"><script>document.title="owned"</script> is text.'
PLAN = Plan(where="edge", may_escalate=True, k=8, model="multilingual", shares_ms={}, config_version="t1", reason="faq")


@dataclass
class Site:
    """What runs, and the pipeline behind the gateway: the first word of a question says what becomes of it."""

    settings: Settings
    bus: Bus
    vault: Vault
    key: bytes
    ingress: Ingress
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    arrivals: asyncio.Queue[Asked] = field(default_factory=asyncio.Queue)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def screen(self, asked: Asked) -> list[Message]:
        """The stand-in prefilter, which already writes the answer where the question would be."""
        self.asked.append(asked)
        self.arrivals.put_nowait(asked)
        text = unseal_request(self.key, asked).text
        behaviour = text.split()[0]
        if behaviour == "die":
            raise RejectError("this question kills")
        if behaviour == "vanish":
            return []
        if behaviour == "wait":
            await self.may_answer.wait()
        answer = f"Your question has {len(text.split())} words, and this is the answer to it."
        if behaviour in ("personal", "json"):
            token = self.vault.put_all(asked.tenant, asked.asker, [("EMAIL", EMAIL)])[0]
            answer = f"We write to {token} today, and to {token} tomorrow."
            if behaviour == "json":
                answer = msgspec.json.encode({"email": token, "n": 1}).decode()
        answer = {"markup": MARKUP, "long": "x" * 400}.get(behaviour, answer)
        question = Question(text=answer, language="en", intent=behaviour, intent_confidence=0.9)
        common = {name: getattr(asked, name) for name in ("rid", "tenant", "site", "asked_at_ms", "deadline_at_ms")}
        return [Screened(**common, question=question)]

    def handlers(self) -> dict[str, Callable[[Any], Any]]:
        own: dict[str, Callable[[Any], Any]] = {
            "prefilter": self.screen,
            "policy": self.judge,
            "publisher": self.publish,
        }
        return {**own, "router": route, "retriever": retrieve, "drafter": draft, "fast-lane": answer_from_cloud}

    async def judge(self, fact: Drafted | Verified) -> list[Message]:
        """The stand-in policy."""
        behaviour = fact.question.intent
        if behaviour == "hold":
            await self.may_answer.wait()
        reasons = {"withhold": "policy_block", "abstain": "abstained"}
        if reason := reasons.get(behaviour):
            related = RELATED if behaviour == "abstain" else ()
            text = "I would rather not say."
            return [fact.followed_by(Withheld, reason=reason, stage="policy", text=text, suggestions=related)]
        route: Any = "cloud" if isinstance(fact, Verified) else "edge"
        return [fact.followed_by(Approved, question=fact.question, plan=PLAN, route=route, answer=fact.answer)]

    async def publish(self, fact: Approved | Withheld) -> list[Message]:
        """The stand-in publisher."""
        answer = fact.answer if isinstance(fact, Approved) else Answer(text=fact.text)
        outcome = "answered" if isinstance(fact, Approved) else "withheld"
        if isinstance(fact, Withheld) and fact.reason == "abstained":
            outcome = "abstained"
        return [
            fact.followed_by(
                Published,
                outcome=outcome,
                reason=fact.reason if isinstance(fact, Withheld) else "",
                suggestions=fact.suggestions if isinstance(fact, Withheld) else (),
                text=answer.text,
                format=answer.format,
                language="en",
                citations=answer.citations,
                confidence=answer.confidence,
                receipt=Receipt(
                    site=fact.site,
                    route=fact.route,
                    plan=PLAN,
                    lineage=(),
                    citations=answer.citations,
                    decisions=(),
                    degradations=fact.degradations,
                ),
            )
        ]


async def route(fact: Screened) -> list[Message]:
    return [fact.followed_by(Routed, question=fact.question, plan=PLAN)]


async def retrieve(fact: Routed) -> list[Message]:
    return [fact.followed_by(Retrieved, question=fact.question, plan=PLAN)]


async def draft(fact: Retrieved) -> list[Message]:
    """The stand-in drafter, which cites a table, a page that was scanned, or what a replica brought, where the question
    is about one, and escalates where it says so."""
    text, behaviour = fact.question.text, fact.question.intent
    if behaviour == "escalate":
        return [fact.followed_by(Escalated, question=fact.question, plan=PLAN, reason="low_confidence")]
    quotes = [text if behaviour in ("personal", "markup") else "The branch opens at nine."]
    if behaviour == "table":
        text, quotes = TABLE_TEXT, [TABLE_HEADER, *TABLE_ROWS]
    about: dict[str, Any] = {"page": 2, "is_recognised": True} if behaviour == "scan" else {}
    if behaviour == "stale":
        about = REPLICATED
    citations = tuple(
        Citation(
            document_id="hours", document_version="abc", start=100 * n, end=100 * n + len(quote), quote=quote, **about
        )
        for n, quote in enumerate(quotes)
    )
    form: Any = "json" if behaviour == "json" else "text"
    answer = Answer(text=text, format=form, citations=citations, confidence=0.87)
    degradations = (Degradation("drafter", "fewer_passages", 10.0, 20.0, "deadline"),) if behaviour == "table" else ()
    return [fact.followed_by(Drafted, question=fact.question, plan=PLAN, answer=answer, degradations=degradations)]


async def answer_from_cloud(fact: Escalated) -> list[Message]:
    """The stand-in fast lane, with a hub that has an answer at once."""
    answer = Answer(text=fact.question.text, confidence=0.9)
    return [fact.followed_by(Verified, question=fact.question, plan=PLAN, answer=answer)]


@asynccontextmanager
async def site(state: Path, http: bool = False, server: bool = False, **options: Any) -> AsyncIterator[Site]:
    """The gateway open and the workers at work, in memory or on a `server` of their own.

    Options: the fields of `HttpTimes`, `GatewaySettings` and `IngressLimits`.
    """
    times = take_fields(HttpTimes, options)
    gateway = take_fields(GatewaySettings, options)
    models = state / "models"
    (models / "lm" / "target").mkdir(parents=True, exist_ok=True)
    shutil.copy(TOKENIZER, models / "lm" / "target" / "tokenizer.json")
    settings = Settings(
        state_dir=str(state), tenants=("kiosk", "bank"), grace_s=1.0, gateway=gateway, models_dir=str(models)
    )
    key = load_site_key(StatePaths(settings).key)
    vault = Vault.open(StatePaths(settings).vault, key)
    async with AsyncExitStack() as stack:
        stack.callback(vault.close)
        bus: Bus = MemoryBus(settings.site)
        if server:
            bus = await stack.enter_async_context(on_server(state, settings.site))
        running = Site(settings, bus, vault, key, Ingress(settings, bus, vault, key, IngressLimits(**options)))
        await running.ingress.open()
        await serve_nats(running.ingress)
        if http:
            address = await stack.enter_async_context(serve_http(running.ingress, all_metrics, times))
            running.url = address.url
        working = [asyncio.create_task(work(bus, stage, running.handlers()[stage.name])) for stage in SITE_WORKERS]
        try:
            yield running
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)


def take_fields(kind: type[Options], options: dict[str, Any]) -> Options:
    """A `kind` of those options that are its fields, which are removed."""
    return kind(**{name: options.pop(name) for name in kind.__struct_fields__ if name in options})


@asynccontextmanager
async def on_server(state: Path, name: str) -> AsyncIterator[Bus]:
    """A nats-server of its own with the site's topology."""
    async with Server(name, state / "nats") as server:
        client = await nats.connect(server.url)
        await declare_site(client, name, SITE_WORKERS)
        await client.close()
        async with JetStreamBus.open(NatsSettings(url=server.url), name) as bus:
            yield bus


async def work(bus: Bus, stage: Stage, handle: Callable[[Any], Any]) -> None:
    async with bus.subscribe(stage) as inbox, asyncio.TaskGroup() as group:
        while True:
            delivery = await inbox.next()
            if delivery is not None:
                group.create_task(settle(stage, handle, delivery, bus))


SHORT_WAITS: dict[str, Any] = {"grace_s": 0.2, "heartbeat_s": 0.05, "body_timeout_s": 0.3}


async def http_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """The body of a fixture: a site with short waits, over HTTP."""
    async with site(tmp_path_factory.mktemp("site"), http=True, **SHORT_WAITS) as running:
        yield running


async def served_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """The body of a fixture: a site with short waits, over HTTP and a server of its own."""
    async with site(tmp_path_factory.mktemp("site"), http=True, server=True, **SHORT_WAITS) as running:
        yield running


def at_rest(open_site: Site) -> Site:
    """The body of a fixture: the module's site, with nobody asking and nothing asked yet."""
    open_site.may_answer.clear()
    open_site.arrivals = asyncio.Queue()
    return open_site


async def nats_site(tmp_path: Path) -> AsyncIterator[Site]:
    """The body of a fixture: a site with short waits, over NATS alone."""
    async with site(tmp_path, grace_s=0.2) as running:
        yield running


def asked(text: str = "When do you open?", **fields: Any) -> Asked:
    return Asked(tenant="kiosk", **{"text": text, "asker": "ada", **fields})


async def ask(running: Site, request: Asked | bytes, form: Any = encode) -> Published | Refused:
    """What the NATS endpoint replies."""
    data = request if isinstance(request, bytes) else form(request)
    reply = await running.bus.request(ASK, data, timeout_s=5.0)
    decoded: Published | Refused = decode(reply, Published, Refused)
    return decoded
