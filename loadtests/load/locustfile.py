"""Load on a running site: `HttpSiteUser` streams as an OpenAI client does, `NatsSiteUser` sends requests."""

from __future__ import annotations

import itertools
import logging
import os
import random
import time
import uuid
from abc import ABCMeta, abstractmethod
from pathlib import Path
from typing import Any

import gevent
import httpx
import msgspec
import nats
import nats.errors
from locust import User, constant, events, task
from locust.argument_parser import LocustArgumentParser
from locust.user.users import UserMeta

from loadtests.load.bridge import Bridge
from tidegate.schemas import Asked, Published, Refused, UnreadableError, decode, encode
from tidegate.schemas.pack import LabelledQuestion
from tidegate.schemas.subjects import ASK
from tidegate.services.cli.options import find_default_pack
from tidegate.services.evaluation.client import ask_over_http, bearer
from tidegate.services.evaluation.open_loop import exponential_gap_s
from tidegate.services.evaluation.report import ClientRun
from tidegate.services.packs.load import load_pack

NATS_URL = "nats://127.0.0.1:4222"
PATIENCE_S = 30.0
ACCESS_KEY = "TIDEGATE_ACCESS_KEY"
"""The environment variable with the access key of `HttpSiteUser`: an option would be shown by the page of Locust."""
FAULTS = (httpx.TransportError, nats.errors.Error, OSError, TimeoutError, UnreadableError)
"""What a client of a loaded site must expect; anything else is a fault of this file and ends the user."""

for name in ("httpx", "httpcore", "asyncio"):  # a log handler's lock is gevent's: the bridge's thread may not wait
    logging.getLogger(name).setLevel(logging.CRITICAL)
bridge = Bridge()
numbers = itertools.count()
chance = random.Random()


@events.init_command_line_parser.add_listener
def _options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--tenant", default="kiosk", help="The tenant to ask as.")
    parser.add_argument("--budget-ms", type=int, default=4000, help="What an asker is willing to wait.")
    parser.add_argument("--nats-url", default=NATS_URL, help="The site's server, for NatsSiteUser.")
    parser.add_argument("--nats-nkey", default="", help="The file with the nkey by which NatsSiteUser asks there.")
    parser.add_argument("--questions", default="", help="A file with one question a line [default: the kiosk pack's].")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="Open loop: requests per second in all, whatever the answers do."
    )


@events.init.add_listener
def _look_at_the_clock(**_: Any) -> None:
    """Timers count from the loop's last look, which was before all imports: `-t 2s` would be over when it begins."""
    gevent.get_hub().loop.update_now()


@events.quitting.add_listener
def _close(**_: Any) -> None:
    bridge.close()


class Timing(msgspec.Struct, frozen=True):
    """One request as its client saw it, in milliseconds since it was due; `ttft_ms` is 0 where nothing streamed."""

    reply: Published | Refused
    ttft_ms: float
    e2e_ms: float


class AbstractUserMeta(UserMeta, ABCMeta):
    """Locust's own metaclass, and the one of abstract classes."""


class SiteUser(User, metaclass=AbstractUserMeta):
    """Asks one question after the other; with `--rate`, when it is due, be the last one answered or not."""

    abstract = True
    wait_time = constant(0)
    protocol = ""
    questions: tuple[str, ...] = ()

    def on_start(self) -> None:
        self.options = self.environment.parsed_options
        if not SiteUser.questions:
            SiteUser.questions = questions_of(self.options.questions)
        self.due_s = time.perf_counter()
        bridge.call(self.open())

    def on_stop(self) -> None:
        bridge.call(self.close())

    @task
    def ask(self) -> None:
        if not self.options.rate:
            self.one(time.perf_counter())
            return
        # From the due time, not from when we came to it: a late client must not hide a late site. With exponential gaps
        # all users together are one Poisson process; with equal ones those that began together ask together.
        self.due_s += exponential_gap_s(self.options.rate / (self.options.num_users or 1), chance)
        gevent.sleep(max(0.0, self.due_s - time.perf_counter()))
        gevent.spawn(self.one, self.due_s)

    def one(self, due_s: float) -> None:
        text = self.questions[next(numbers) % len(self.questions)]
        asked = Asked(tenant=self.options.tenant, text=text, rid=uuid.uuid4().hex, budget_ms=self.options.budget_ms)
        try:
            timing = bridge.call(self.timed(asked, due_s))
        except FAULTS as error:
            self.tell("e2e", (time.perf_counter() - due_s) * 1e3, error)
            return
        refusal = RuntimeError(timing.reply.code) if isinstance(timing.reply, Refused) else None
        if timing.ttft_ms:
            self.tell("ttft", timing.ttft_ms, refusal)
        self.tell("e2e", timing.e2e_ms, refusal)

    def tell(self, name: str, took_ms: float, error: BaseException | None) -> None:
        self.environment.events.request.fire(
            request_type=self.protocol, name=name, response_time=took_ms, response_length=0, exception=error, context={}
        )

    @abstractmethod
    async def open(self) -> None:
        """Connect to the site."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connection."""

    @abstractmethod
    async def timed(self, asked: Asked, due_s: float) -> Timing:
        """Ask once. Raises what `FAULTS` names."""


class HttpSiteUser(SiteUser):
    """`POST /v1/chat/completions` with `stream`, at `--host`: the first piece of content, and the whole answer."""

    protocol = "HTTP"
    host = "http://127.0.0.1:8080"

    async def open(self) -> None:
        self.http = httpx.AsyncClient(
            base_url=self.host or "", timeout=PATIENCE_S, headers=bearer(os.environ.get(ACCESS_KEY, ""))
        )

    async def close(self) -> None:
        await self.http.aclose()

    async def timed(self, asked: Asked, due_s: float) -> Timing:
        question = LabelledQuestion(id="load", text=asked.text, kind="answerable")
        run = ClientRun(question=question, rid=asked.rid, site="", transport="http-stream")
        waited_ms = (time.perf_counter() - due_s) * 1e3
        reply = await ask_over_http(asked, self.http, run, streaming=True)
        ttft_ms = waited_ms + run.ttft_ms if run.ttft_ms else 0.0
        return Timing(reply, ttft_ms, (time.perf_counter() - due_s) * 1e3)


class NatsSiteUser(SiteUser):
    """A NATS request to `ask` at `--nats-url`; each user has a connection of its own."""

    protocol = "NATS"

    async def open(self) -> None:
        self.client = await nats.connect(
            self.options.nats_url, nkeys_seed=self.options.nats_nkey or None, max_reconnect_attempts=-1
        )

    async def close(self) -> None:
        await self.client.close()

    async def timed(self, asked: Asked, due_s: float) -> Timing:
        answer = await self.client.request(ASK, encode(asked), timeout=PATIENCE_S)
        reply: Published | Refused = decode(answer.data, Published, Refused)
        return Timing(reply, 0.0, (time.perf_counter() - due_s) * 1e3)


def questions_of(path: str) -> tuple[str, ...]:
    """The lines of the file `path`, or the questions of the kiosk pack. Raises `OSError`, `PackError`."""
    if path:
        return tuple(line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip())
    return tuple(question.text for question in load_pack(find_default_pack()).questions)
