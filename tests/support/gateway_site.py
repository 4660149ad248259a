"""A site for the tests of the gateway: real endpoints, a real broker in memory, real workers with scripted handlers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import openai
import pytest

from tests.support.gateway_stages import PLAN, answer_from_cloud, draft, retrieve, route
from tests.support.kept_server import on_server
from tests.support.table_passages import RELATED
from tidegate.brokers.base import Bus
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.stage import Stage
from tidegate.brokers.worker import settle
from tidegate.schemas import (
    Answer,
    Approved,
    Asked,
    Drafted,
    Message,
    Published,
    Question,
    Receipt,
    Refused,
    RejectError,
    Resume,
    Screened,
    Verified,
    Withheld,
    decode,
    encode,
)
from tidegate.schemas.entries import OPERATOR, entry
from tidegate.schemas.subjects import ASK
from tidegate.services.evaluation.client import bearer
from tidegate.services.fleet.access import open_access_keys
from tidegate.services.fleet.vault import open_vault
from tidegate.services.gateway.composition import open_callers
from tidegate.services.gateway.http.body import HttpTimes
from tidegate.services.gateway.http.server import all_metrics, serve_http
from tidegate.services.gateway.ingress import Ingress, IngressLimits
from tidegate.services.gateway.nats import serve_nats
from tidegate.services.gateway.settings import GatewaySettings
from tidegate.services.llm.text.token_counter import load_token_counter
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.privacy.sealing import unseal_request
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings

Options = TypeVar("Options", bound=msgspec.Struct)
TOKENIZER = Path(__file__).parents[2] / "infra" / "models" / "weights" / "tokenizer.json"
TOKENS = load_token_counter(TOKENIZER)
DAY_MS = 86_400_000
EMAIL = 'ada."the first"@example.org'
STOPPED = "I had better stop here."
"""What an answer of which 18 characters were shown gives way to."""
NOTICE = "This is no advice."
MARKUP = '<img src=x onerror="document.title=`owned`"><script>document.title="owned"</script> is text.'


@dataclass
class Site:
    """What runs, and the pipeline behind the gateway: the first word of a question says what becomes of it."""

    settings: Settings
    bus: Bus
    vault: Vault
    ingress: Ingress
    url: str = ""
    access_keys: dict[str, str] = field(default_factory=dict)
    """By tenant, the key of the asker ada."""
    asked: list[Asked] = field(default_factory=list)
    arrivals: asyncio.Queue[Asked] = field(default_factory=asyncio.Queue)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    quoted: str = ""
    """What the answer to "quote ..." is: the words of a document."""

    def headers(self, tenant: str = "kiosk") -> dict[str, str]:
        """What a client of this tenant shows."""
        return bearer(self.access_keys[tenant])

    def client(self, tenant: str = "kiosk", timeout: float = 10.0) -> httpx.AsyncClient:
        """An HTTP client of ada, of this tenant."""
        return httpx.AsyncClient(base_url=self.url, timeout=timeout, headers=self.headers(tenant))

    async def screen(self, asked: Asked) -> list[Message]:
        """The stand-in prefilter, which already writes the answer where the question would be."""
        self.asked.append(asked)
        self.arrivals.put_nowait(asked)
        text = unseal_request(self.vault, asked).text
        behaviour = text.split()[0]
        if behaviour == "die":
            raise RejectError("this question kills")
        if behaviour == "vanish":
            return []
        if behaviour in ("wait", "stop"):
            await self.may_answer.wait()
        answer = f"Your question has {len(text.split())} words, and this is the answer to it."
        if behaviour in ("personal", "json"):
            token = self.vault.put_all(asked.tenant, asked.asker, [("EMAIL", EMAIL)], asked.session)[0]
            answer = f"We write to {token} today, and to {token} tomorrow."
            if behaviour == "json":
                answer = msgspec.json.encode({"email": token, "n": 1}).decode()
        answer = {"markup": MARKUP, "long": "x" * 400, "quote": self.quoted}.get(behaviour, answer)
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
        reasons = {"withhold": "policy_block", "stop": "policy_block", "abstain": "abstained"}
        if reason := reasons.get(behaviour):
            related = RELATED if behaviour == "abstain" else ()
            text = STOPPED if behaviour == "stop" else "I would rather not say."
            return [fact.followed_by(Withheld, reason=reason, stage="policy", text=text, suggestions=related)]
        route: Any = "cloud" if isinstance(fact, Verified) else "edge"
        notices = (NOTICE,) if behaviour == "notice" else ()
        judged: dict[str, Any] = {"plan": PLAN, "route": route, "answer": fact.answer, "notices": notices}
        return [fact.followed_by(Approved, question=fact.question, **judged)]

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
                notices=fact.notices if isinstance(fact, Approved) else (),
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
                    withdrawn_chars=18 if answer.text == STOPPED else 0,
                ),
            )
        ]


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
    vault = open_vault(settings)
    async with AsyncExitStack() as stack:
        stack.callback(vault.close)
        bus: Bus = MemoryBus(settings.site)
        if server:
            bus = await stack.enter_async_context(on_server(state, settings.site))
        running = Site(settings, bus, vault, Ingress(settings, bus, vault, IngressLimits(**options)))
        running.access_keys = {
            tenant: issue_key(settings, tenant, asker="ada", nkey=NKEY) for tenant in settings.tenants
        }
        await running.ingress.open()
        await serve_nats(running.ingress, open_callers(settings))
        if http:
            serving = serve_http(running.ingress, open_callers(settings), all_metrics, times)
            running.url = (await stack.enter_async_context(serving)).url
        working = [asyncio.create_task(work(bus, stage, running.handlers()[stage.name])) for stage in SITE_WORKERS]
        try:
            yield running
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)


def open_openai(running: Site) -> openai.AsyncOpenAI:
    """OpenAI's own client of the site, with ada's key."""
    key = running.access_keys["kiosk"]
    return openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key=key, max_retries=0)


def issue_key(settings: Settings, tenant: str, **options: Any) -> str:
    """A new access key of the machine that the settings are of."""
    return open_access_keys(settings).issue(tenant, options.pop("role", "app"), DAY_MS, **options)[1]


def take_fields(kind: type[Options], options: dict[str, Any]) -> Options:
    """A `kind` of those options that are its fields, which are removed."""
    return kind(**{name: options.pop(name) for name in kind.__struct_fields__ if name in options})


async def work(bus: Bus, stage: Stage, handle: Callable[[Any], Any]) -> None:
    async with bus.subscribe(stage) as inbox, asyncio.TaskGroup() as group:
        while True:
            delivery = await inbox.next()
            if delivery is not None:
                group.create_task(settle(stage, handle, delivery, bus))


NKEY = f"U{'A' * 55}"
"""Of nobody: in these tests no server checks one."""
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


def entrance(running: Site, name: str, request: Asked | Resume | bytes = b"") -> str:
    """Where this request comes in over NATS: from ada by her own key, from anybody else by the operator."""
    tenant, asker = ("kiosk", "") if isinstance(request, bytes) else (request.tenant, request.asker)
    is_hers = asker == "ada" and tenant in running.access_keys
    return entry(name, tenant, running.access_keys[tenant].split("_")[1] if is_hers else OPERATOR)


async def ask(running: Site, request: Asked | bytes, form: Any = encode) -> Published | Refused:
    """What the NATS endpoint replies."""
    data = request if isinstance(request, bytes) else form(request)
    reply = await running.bus.request(entrance(running, ASK, request), data, timeout_s=5.0)
    decoded: Published | Refused = decode(reply, Published, Refused)
    return decoded
