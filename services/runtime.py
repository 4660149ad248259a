"""The edge runtime: a whole site in one object, with the workers' own handlers and no broker in between.

Promises that no piece of an answer is yielded before the policy has judged it. Next: services/pipeline.py."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tidegate.brokers.base import Bus
from tidegate.brokers.memory.edge_bus import EdgeBus
from tidegate.brokers.process.lifecycle import resolve
from tidegate.brokers.process.state_directory import open_state
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.stage import Handler, Stage
from tidegate.brokers.worker import with_timing, work
from tidegate.schemas import (
    Asked,
    Cursor,
    Delta,
    Message,
    Published,
    RetryLaterError,
    StageTiming,
    TidegateError,
    decode,
    encode,
    replace,
)
from tidegate.schemas.subjects import LIVE_TOKENS
from tidegate.services.answering.instructions import InstructionGate, InstructionsRefusedError
from tidegate.services.evidence.runtime_log import RuntimeLog, open_runtime_log
from tidegate.services.fleet.vault import open_vault
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.privacy.sealing import seal_request
from tidegate.services.settings import Settings
from tidegate.services.streaming.events import pending_steps
from tidegate.services.streaming.log import AnswerLog
from tidegate.services.streaming.reidentify import ValueOf, reidentify_text

KEPT_REQUESTS = 64
"""How many finished requests stay on the bus: listeners to an answer, and late partials, still find its facts."""
SCHEMES = frozenset({"nats", "tls", "ws", "wss"})
_WORD = re.compile(r"\s*\S+\s*|\s+")

Lines = asyncio.Queue[Delta | None]


class HubAddressError(TidegateError, ValueError):
    """The hub's address is not one of a NATS server."""

    hint = "give it as nats://HOST:PORT, or tls://HOST:PORT"


class NotPreparedError(TidegateError, FileNotFoundError):
    """A directory that the runtime is to read is not there."""

    hint = "`tidegate up` builds the models and prepares a site's state from a pack"


class RequestInProgressError(TidegateError, RuntimeError):
    """A request with this id is being answered."""

    hint = "leave `rid` out, so that each request gets its own"


class AnswerWithdrawnError(TidegateError):
    """The answer was stopped, and what was yielded of it is to be taken back; the hint is what may be shown instead."""

    hint = "show what the published answer says"


class EdgeRuntime:
    """A site in one object: `await EdgeRuntime.init(models, policies, indices)`, then `serve` requests, then `close`.

    Without a hub it abstains from what it cannot vouch for; with one it asks the hub, within the deadline, and abstains
    where that does not answer. Vault tokens are re-identified for the asker, as at the gateway. Answers of a site that
    has an author key are entries of its audit log.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._vault = open_vault(settings)
        self._stack = AsyncExitStack()
        self._handlers: dict[type[Message], tuple[Stage, Handler]] = {}
        self._running: dict[str, Lines] = {}
        self._finished: deque[str] = deque()
        self._bus: EdgeBus
        """Opened by `init`."""
        self._instructions: InstructionGate
        self._log: RuntimeLog | None = None

    @classmethod
    async def init(
        cls,
        models: Path | str,
        policies: Path | str,
        indices: Path | str,
        settings: Settings | None = None,
        hub_url: str | None = None,
    ) -> EdgeRuntime:
        """Open every stage of a site: `models` directory, `policies` pack directory, `indices` state directory.

        With `hub_url`, the address of the hub's NATS server, what the edge does not vouch for is asked there, logged in
        with `settings.nats.nkey_seed_file` where that is set. A hub that is away now is asked once it is there.

        Raises `NotPreparedError` for a directory that is not there, `HubAddressError`, and what the stages raise when
        something that `tidegate up` prepares is missing; each with a hint.
        """
        check_directories(models=models, policies=policies, indices=indices)
        open_state(Path(indices))
        settings = settings or Settings()
        hub = None if hub_url is None else hub_settings(hub_url, settings)
        runtime = cls(replace(settings, models_dir=str(models), pack_dir=str(policies), state_dir=str(indices)))
        try:
            await runtime._open(hub)
        except BaseException:
            await runtime.close()
            raise
        return runtime

    async def answer(self, request: Asked) -> Published:
        """The published answer to one request, with its receipt and timings; vault tokens stay tokens.

        Raises `RequestInProgressError`, `InstructionsRefusedError` for instructions that no model could follow, and
        what a stage raises that cannot process the request.
        """
        asked = await self._admit(request)
        with self._tracked(asked.rid):
            return await self._process(asked)

    async def serve(self, request: Asked) -> AsyncIterator[str]:
        """The answer's text in pieces, each as soon as it is committed, with the asker's own values put back; notices
        that the policies oblige to come last.

        Raises as `answer`, and `AnswerWithdrawnError`. A consumer that leaves early (`aclose`) ends all work on the
        request here.
        """
        asked = await self._admit(replace(request, can_retract=False))
        digest = self._vault.digest_of_asker(asked.tenant, asked.asker, asked.rid)
        session = self._vault.digest_of_session(asked.tenant, asked.asker, asked.session, asked.rid)
        value_of = partial(self._vault.detokenise, tenant=asked.tenant, asker=digest, purpose="answer", session=session)
        log, cursor = AnswerLog(asked.rid, asked.tenant), Cursor()
        with self._tracked(asked.rid) as lines:
            processing = asyncio.create_task(self._process(asked))
            processing.add_done_callback(lambda _: lines.put_nowait(None))
            try:
                while (line := await lines.get()) is not None:
                    log = log.with_line(line)
                    for step in pending_steps(log, cursor, can_retract=False):
                        cursor = step.cursor
                        for piece in pieces_of(step.text, value_of, is_json=log.format == "json"):
                            yield piece
                published = await processing
                if published.receipt.withdrawn_chars and cursor.committed:
                    raise AnswerWithdrawnError(
                        f"what was yielded of it may not stand: {published.reason}", published.text
                    )
                rest = published.text[cursor.committed :]
                for piece in pieces_of(rest, value_of, is_json=published.format == "json"):
                    yield piece
                if published.closing:
                    yield published.closing
            finally:
                processing.cancel()
                await asyncio.gather(processing, return_exceptions=True)

    async def close(self) -> None:
        """Close every stage, last opened first, then the link and the vault."""
        await self._stack.aclose()
        self._vault.close()

    async def _open(self, hub: NatsSettings | None) -> None:
        self._bus = await self._stack.enter_async_context(EdgeBus.open(self.settings.site, hub))
        await self._bus.listen(LIVE_TOKENS, self._on_line)
        self._instructions = InstructionGate(self.settings, self._bus if hub is not None else None)
        self._log = await self._stack.enter_async_context(open_runtime_log(self.settings, self._vault))
        bus: Bus = self._bus
        for stage in SITE_WORKERS:
            handler = await self._stack.enter_async_context(resolve(stage)(self.settings, bus))
            self._handlers.update(dict.fromkeys(stage.accepts, (stage, handler)))

    async def _admit(self, request: Asked) -> Asked:
        fault = await self._instructions.find_fault(request)
        if fault is not None:
            raise InstructionsRefusedError(fault.reason, fault.hint)
        now_ms = int(time.time() * 1000)
        return replace(
            request,
            rid=request.rid or uuid.uuid4().hex,
            site=self.settings.site,
            asked_at_ms=now_ms,
            deadline_at_ms=now_ms + request.budget_ms,
        )

    @contextlib.contextmanager
    def _tracked(self, rid: str) -> Generator[Lines, None, None]:
        if rid in self._running:
            raise RequestInProgressError(f"the request {rid} is being answered already")
        self._bus.forget(rid)  # an earlier request of the same id
        self._running[rid] = lines = Lines()
        try:
            yield lines
        finally:
            del self._running[rid]
            self._finished.append(rid)
            if len(self._finished) > KEPT_REQUESTS:
                self._bus.forget(self._finished.popleft())

    async def _on_line(self, _: str, data: bytes) -> None:
        line = decode(data, Delta)
        if line.rid in self._running:
            self._running[line.rid].put_nowait(line)

    async def _process(self, asked: Asked) -> Published:
        """One stage after the other, until the answer is published on the bus."""
        sealed = await asyncio.to_thread(seal_request, self._vault, asked)
        fact: Message = sealed
        facts: list[Message] = []
        while not isinstance(fact, Published):
            stage, handler = self._handlers[type(fact)]
            began_s = time.perf_counter()
            try:
                [output] = await work(stage, handler, fact)
            except RetryLaterError as later:
                await asyncio.sleep(later.after_s)
                continue
            timing = StageTiming(stage.name, 0.0, round((time.perf_counter() - began_s) * 1000, 3))
            fact = with_timing(output, fact, timing)
            facts.append(fact)
            await self._bus.publish(fact, id=f"{asked.rid}.{stage.name}", headers={})
        published = decode(encode(fact), Published)  # as whoever reads the record has it: a 0 where a float goes is 0.0
        if self._log is not None:
            await self._log.keep(published, sealed, facts)
        return published


def check_directories(**directories: Path | str) -> None:
    """Raises `NotPreparedError` for the first that is not there."""
    for name, directory in directories.items():
        if not Path(directory).is_dir():
            raise NotPreparedError(f"{name}: there is no directory {directory}")


def hub_settings(url: str, settings: Settings) -> NatsSettings:
    """How the hub is reached. Raises `HubAddressError`."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in SCHEMES and bool(parts.hostname) and (parts.port or 4222) > 0
    except ValueError:
        is_address = False
    if not is_address:
        raise HubAddressError(f"{url!r} is not the address of a NATS server")
    seed = settings.nats.nkey_seed_file
    if seed and not Path(seed).is_file():
        raise NotPreparedError(f"nats.nkey_seed_file: there is no file {seed}", "give the file of the site's nkey")
    return replace(settings.nats, url=url)


def pieces_of(text: str, value_of: ValueOf, *, is_json: bool) -> list[str]:
    """`text`, which cuts no vault token, word by word with the values put back."""
    return _WORD.findall(reidentify_text(text, value_of, is_json=is_json))
