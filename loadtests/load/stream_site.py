"""A site for streams alone: a real server, the real gateway, and a publisher that plays an answer line by line."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from loadtests.load.dropping import Nats, Sse, Transport, Ws
from tidegate.brokers.jetstream import api as jetstream_api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import Asked, Delta, Format, Published, Receipt, decode
from tidegate.schemas.subjects import ASKS, TOKENS, tokens
from tidegate.services.fleet.access import temporary_key
from tidegate.services.fleet.endpoints import GatewayFile, decode_state
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.vault import open_vault
from tidegate.services.gateway import composition as gateway
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.privacy.vault import Vault
from tidegate.services.settings import Settings
from tidegate.services.streaming.log import NO_EVIDENCE, AnswerLog, with_evidence

ASKER, TENANT = "ada", "kiosk"
EMAIL = 'ada."the first"@example.org'


@dataclass(frozen=True)
class Script:
    """An answer and how it came about: `shows n` characters of the draft, or `stands n` of the answer, in turn.

    `{email}` stands for a vault token of the asker's. `steps` None: nothing was shown before the answer was there.
    """

    answer: str
    draft: str = ""
    steps: Sequence[tuple[str, int]] | None = ()
    is_json: bool = False
    can_retract: bool = True

    def asked(self, rid: str = "") -> Asked:
        workload = "extract" if self.is_json else "assist"
        return Asked(
            tenant=TENANT,
            text="What is it?",
            rid=rid or uuid.uuid4().hex,
            asker=ASKER,
            workload=workload,  # type: ignore[arg-type]
            schema="{}" if self.is_json else "",
            budget_ms=60_000,
            can_retract=self.can_retract,
        )

    @property
    def format(self) -> Format:
        """What the answer is."""
        return "json" if self.is_json else "text"

    def seen(self) -> str:
        """What the asker reads in the end."""
        value = msgspec.json.encode(EMAIL).decode()[1:-1] if self.is_json else EMAIL
        return self.answer.replace("{email}", value)


NKEY = f"U{'A' * 55}"
"""Of nobody: this server asks nobody for one, and the gateway asks only whether a key has one."""


@dataclass
class StreamSite:
    """What runs. The gateway is open at first; close and open it again with `close_gateway` and `open_gateway`."""

    settings: Settings
    server: Server
    bus: JetStreamBus
    vault: Vault
    access_key: str
    transports: list[Transport] = field(default_factory=list)
    ingress: Ingress | None = None
    _gateway: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def open_gateway(self) -> None:
        bus = await self._gateway.enter_async_context(JetStreamBus.open(self.server.nats, self.settings.site))
        self.ingress = await self._gateway.enter_async_context(gateway.open(self.settings, bus, lambda: b""))
        await bus.link.client.flush()
        address = decode_state(StatePaths(self.settings).gateway, GatewayFile)
        url = urlsplit(address.url)
        host, port = url.hostname or "", url.port or 0
        key = self.access_key
        self.transports = [Sse(host, port, key), Ws(host, port, key), Nats(self.bus.link, TENANT, key)]

    @property
    def streams(self) -> int:
        """How many clients follow an answer."""
        return 0 if self.ingress is None else len(self.ingress.streams)

    async def close_gateway(self) -> None:
        await self._gateway.aclose()

    def written(self, script: Script, asked: Asked) -> tuple[str, str]:
        """Answer and draft as they are stored: with the asker's own vault token."""
        digest = self.vault.digest_of_asker(asked.tenant, asked.asker, asked.rid)
        session = self.vault.digest_of_session(asked.tenant, asked.asker, asked.session, asked.rid)
        token = (
            self.vault.put_all(asked.tenant, digest, [("EMAIL", EMAIL)], session)[0]
            if "{email}" in script.answer + script.draft
            else ""
        )
        return script.answer.replace("{email}", token), script.draft.replace("{email}", token)

    async def run_script(self, script: Script, asked: Asked, *, pause_s: float = 0.0, until: int | None = None) -> None:
        """Be the publisher: write the log as far as `until` steps, or to its end and with the answer."""
        await self._write(script, asked, AnswerLog(asked.rid, asked.tenant), 0, (script.steps or ())[:until], pause_s)
        if until is None:
            await self._end(script, asked)

    async def run_script_when_asked(self, script: Script, asked: Asked, pause_s: float) -> None:
        """Wait until the request has been accepted, however long its client takes to send it; then perform."""
        while await self.bus.last(ASKS, f"asks.{asked.tenant}.{asked.rid}") is None:  # noqa: ASYNC110 no event
            await asyncio.sleep(0.001)
        await self.run_script(script, asked, pause_s=pause_s)

    async def resume_script(self, script: Script, asked: Asked, steps: int, until: int | None = None) -> None:
        """As `run_script`, after that many steps, as a publisher that finds what is stored, or finds it lost."""
        log, last = await self._stored(asked)
        if log.is_empty:
            for line in log.restart():
                last = await self.bus.append(line, after=last)
                log = log.with_line(line)
        await self._write(script, asked, log, last, (script.steps or ())[steps:until], 0.0)
        if until is None:
            await self._end(script, asked)

    async def resume_script_when_back(self, script: Script, asked: Asked, steps: int) -> None:
        """As `resume_script`, as soon as the server that was restarted can be asked."""
        while True:
            try:
                await self.bus.last(ASKS, "asks.none.none")
                return await self.resume_script(script, asked, steps)
            except OSError:
                await asyncio.sleep(0.02)

    async def _write(
        self, script: Script, asked: Asked, log: AnswerLog, last: int, steps: Sequence[tuple[str, int]], pause_s: float
    ) -> None:
        answer, draft = self.written(script, asked)
        for step, n in steps:
            lines = log.show_provisional(draft[:n]) if step == "shows" else log.commit(answer[:n])
            for line in with_evidence(lines, NO_EVIDENCE, script.format, is_whole=n >= len(answer)):
                last = await self.bus.append(line, after=last)
                log = log.with_line(line)
            await asyncio.sleep(pause_s)

    async def _end(self, script: Script, asked: Asked) -> None:
        if script.steps is not None:
            log, last = await self._stored(asked)
            for line in with_evidence(log.close(self.written(script, asked)[0]), NO_EVIDENCE, script.format):
                last = await self.bus.append(line, after=last)
        await self.publish(script, asked)

    async def _stored(self, asked: Asked) -> tuple[AnswerLog, int]:
        stored = await self.bus.read(TOKENS, tokens(asked.tenant, asked.rid))
        lines = (decode(data, Delta) for _, data in stored)
        return AnswerLog.from_lines(lines, asked.rid, asked.tenant), stored[-1][0] if stored else 0

    async def publish(self, script: Script, asked: Asked) -> None:
        """Store the answer."""
        answer, _ = self.written(script, asked)
        published = Published(
            rid=asked.rid,
            tenant=asked.tenant,
            site=self.settings.site,
            asked_at_ms=1,
            deadline_at_ms=2,
            outcome="answered",
            text=answer,
            format=script.format,
            receipt=Receipt(site=self.settings.site, route="edge", plan=None, lineage=(), citations=(), decisions=()),
        )
        await self.bus.publish(published, id=f"{asked.rid}.answer", headers={})

    async def lose_tokens(self) -> None:
        """As a restart of the server does."""
        async with jetstream_api.connect(self.server.nats, self.settings.site) as nc:
            if TOKENS in await jetstream_api.streams(nc):
                await jetstream_api.call(nc, "STREAM.DELETE.TOKENS")


@asynccontextmanager
async def stream_site(state: Path) -> AsyncIterator[StreamSite]:
    """A site with its topology and an open gateway, and nothing else."""
    settings = Settings(state_dir=str(state), tenants=(TENANT,), grace_s=0.2)
    async with AsyncExitStack() as stack:
        vault = open_vault(settings)
        stack.callback(vault.close)
        server = await stack.enter_async_context(Server(settings.site, state / "nats"))
        async with jetstream_api.connect(server.nats, settings.site) as nc:
            await declare_site(nc, settings.site, SITE_WORKERS)
        bus = await stack.enter_async_context(JetStreamBus.open(server.nats, settings.site))
        access_key = stack.enter_context(temporary_key(settings, "streams", asker=ASKER, nkey=NKEY))
        site = StreamSite(settings, server, bus, vault, access_key)
        stack.push_async_callback(site.close_gateway)
        await site.open_gateway()
        yield site
