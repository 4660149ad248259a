"""A seeded driver of one small site and its hub, asked without a pause while one thing after another fails.

Promises that each request is answered once or ends as a dead letter, that what is not answered has a reason, and
measures how long after a fault was over the next answer came. Next: fault_process.py, its processes; hub_rollback.py;
tests/chaos/faults.py, which plays it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx

from loadtests.link.link import HOST, Link, linked
from tests.support.fault_process import settings_of
from tests.support.gateway_site import NKEY, TOKENIZER, issue_key
from tests.support.hub_rollback import keep_copy, roll_back
from tests.support.kept_server import kept_up
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.servers.fleet import Fleet, open_fleet
from tidegate.schemas.subjects import ANSWERS, DEAD, HUB
from tidegate.services.evaluation.client import bearer
from tidegate.services.fleet.ports import keep_port
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings

ASKERS = 4
PAUSE_S = 0.05
PLAIN, POISONED = "When do you open?", "die of it"
ESCALATED = "escalate this to the hub"
ESCALATE_EVERY = 4
HUB_FAULT = "hub rolled back"
PATIENCE_S = 60.0
"""How long a request is asked again, and how long a site may take to recover."""
AGAIN_AFTER = ("unavailable", "busy", "late", "closing")
CHAT = "/v1/chat/completions"
ANSWERED = "answered"


class NotRecoveredError(AssertionError):
    """A request was lost or answered twice, or the site did not come back."""


class FaultySite:
    """What runs, what was asked, and what became of it."""

    def __init__(self, settings: Settings, fleet: Fleet, link: Link, dice: random.Random) -> None:
        self.settings = settings
        self.fleet, self.server, self.link, self.dice = fleet, fleet.sites[settings.site], link, dice
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.answered_at: list[tuple[float, float, str]] = []
        """When a request was asked first, when it was answered, and what it was."""
        self.asking: list[asyncio.Task[None]] = []
        self.ends: Counter[str] = Counter()
        self.asked: dict[str, str] = {}
        self.recovered_s: dict[str, list[float]] = {}
        self._key = issue_key(self.settings, "kiosk", asker="ada", nkey=NKEY)
        self.faults: dict[str, Callable[[], Awaitable[None]]] = {
            "gateway killed": lambda: self._kill("gateway"),
            "stages killed": lambda: self._kill("stages"),
            "stages frozen": lambda: self._freeze("stages"),
            "gateway frozen": lambda: self._freeze("gateway"),
            "server killed": self._kill_server,
            "server frozen": self._freeze_server,
            "black-holed link": self._black_hole,
            "200 ms ± 100, 64 kB/s": self._slow_link,
            "poisoned requests": self._poison,
            "full stream": self._fill_stream,
            HUB_FAULT: lambda: roll_back(self.fleet),
        }

    async def start(self, role: str) -> None:
        """Start a process, one of the site over the link."""
        url = self.fleet.hub.url if role == HUB else f"nats://{HOST}:{self.link.port}"
        with (Path(self.settings.state_dir) / f"{role}.log").open("ab") as log:
            self.processes[role] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.support.fault_process", role,
                self.settings.state_dir, url, str(self.settings.gateway.port), stdout=log, stderr=log,
            )  # fmt: skip

    async def play(self, fault: str) -> float:
        """Have it happen; how many seconds after it was over the next request was answered that was asked after.

        Raises `NotRecoveredError`.
        """
        await asyncio.sleep(self.dice.uniform(0.0, 0.2))  # in the middle of some request
        await self.faults[fault]()
        taken_s = await self.until_answered(fault)
        self.recovered_s.setdefault(fault, []).append(taken_s)
        return taken_s

    async def until_answered(self, fault: str) -> float:
        """Seconds until there is an answer to a request that was asked from now on; the hub's, where that had failed.

        Raises `NotRecoveredError`.
        """
        over_s, seen = time.monotonic(), len(self.answered_at)
        wanted = (ESCALATED,) if fault == HUB_FAULT else (PLAIN, ESCALATED)

        def found() -> list[float]:
            return [done for asked, done, text in self.answered_at[seen:] if asked >= over_s and text in wanted]

        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (later := found()):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            raise NotRecoveredError(f"{fault}: no answer {PATIENCE_S:g} s after it was over") from error
        return later[0] - over_s

    async def until_asked(self, count: int) -> None:
        """Return when so many requests were asked. Raises `NotRecoveredError` where one of them failed."""
        while len(self.asked) < count:
            for each in self.asking:
                if each.done():
                    each.result()
            await asyncio.sleep(0.05)

    async def check(self) -> None:
        """Compare what was asked with what is stored. Raises `NotRecoveredError`."""
        async with api.connect(self.server.nats, "site1") as client:
            answers = Counter(each.subject.split(".")[-1] for each in await messages(client, ANSWERS, "answers.>"))
            dead = {each.subject.split(".")[-1] for each in await messages(client, DEAD, "dead.>")}
        wrong = [
            f"{rid} ({text}): {answers[rid]} answers, {'' if rid in dead else 'not '}dead"
            for rid, text in self.asked.items()
            if (answers[rid], rid in dead) != ((0, True) if text == POISONED else (1, False))
        ]
        if wrong:
            raise NotRecoveredError("; ".join(wrong[:9]))

    async def ask_on(self, number: int, stop: asyncio.Event) -> None:
        """Ask one question behind the other, each until it is over."""
        async with httpx.AsyncClient(
            base_url=f"http://{HOST}:{self.settings.gateway.port}", headers=bearer(self._key), timeout=5.0
        ) as http:
            for count in range(sys.maxsize):
                if stop.is_set():
                    return
                text = ESCALATED if count % ESCALATE_EVERY == number % ESCALATE_EVERY else PLAIN
                await self.ask(http, f"a{number}-{count}", text)
                await asyncio.sleep(PAUSE_S)

    async def ask(self, http: httpx.AsyncClient, rid: str, text: str) -> None:
        """Ask under one id until it is answered or dead. Raises `NotRecoveredError`."""
        began_s = time.monotonic()
        self.asked[rid] = text
        body = {"model": "tidegate", "messages": [{"role": "user", "content": text}]}
        headers = {"X-Request-Id": rid, "X-Tidegate-Budget-Ms": "30000"}
        while time.monotonic() - began_s < PATIENCE_S:
            try:
                reply = await http.post(CHAT, json=body, headers=headers)
            except httpx.HTTPError as error:
                self.ends[f"no reply, {type(error).__name__}"] += 1
                await asyncio.sleep(PAUSE_S)
                continue
            end = end_of(reply)
            self.ends[end] += 1
            if reply.is_success:
                if end == ANSWERED:
                    self.answered_at.append((began_s, time.monotonic(), text))
                return
            if end == "dead":
                return
            if end not in AGAIN_AFTER:
                raise NotRecoveredError(f"{rid}: {reply.text}")
            await asyncio.sleep(PAUSE_S)
        raise NotRecoveredError(f"{rid} was neither answered nor dead after {PATIENCE_S:g} s")

    # What happens

    async def _kill(self, role: str) -> None:
        self.processes[role].kill()
        await self.processes[role].wait()
        await self.start(role)

    async def _freeze(self, role: str) -> None:
        self.processes[role].send_signal(signal.SIGSTOP)
        await asyncio.sleep(self.dice.uniform(0.5, 2.0))
        self.processes[role].send_signal(signal.SIGCONT)

    async def _kill_server(self) -> None:
        await asyncio.to_thread(self.server.kill)

    async def _freeze_server(self) -> None:
        assert self.server.pid is not None
        os.kill(self.server.pid, signal.SIGSTOP)  # for good: what keeps it up has to notice

    async def _black_hole(self) -> None:
        self.link.stall()
        await asyncio.sleep(self.dice.uniform(0.5, 3.0))
        self.link.heal()

    async def _slow_link(self) -> None:
        self.link.set(rtt_ms=200.0, jitter_ms=100.0, rate=64_000.0)
        await asyncio.sleep(self.dice.uniform(2.0, 4.0))
        self.link.set(rtt_ms=0.0, jitter_ms=0.0, rate=0.0)

    async def _poison(self) -> None:
        async with httpx.AsyncClient(
            base_url=f"http://{HOST}:{self.settings.gateway.port}", headers=bearer(self._key), timeout=40.0
        ) as http:
            rids = [f"poison{self.dice.getrandbits(32)}" for _ in range(5)]
            await asyncio.gather(*(self.ask(http, rid, POISONED) for rid in rids))

    async def _fill_stream(self) -> None:
        async with api.connect(self.server.nats, "site1") as client:
            info = await api.call(client, f"STREAM.INFO.{ANSWERS}")
            held = max(1, info["state"]["bytes"])
            await api.put_stream(client, {**info["config"], "max_bytes": held}, is_new=False)
            await asyncio.sleep(self.dice.uniform(1.0, 3.0))
            await api.put_stream(client, info["config"], is_new=False)


def end_of(reply: httpx.Response) -> str:
    """What became of a request: `answered`, or why not. Raises `NotRecoveredError` where nothing says why."""
    body = reply.json()
    if not reply.is_success:
        return str(body["error"]["code"])
    outcome, reason = body["tidegate"]["outcome"], body["tidegate"].get("reason", "")
    if outcome == ANSWERED:
        return ANSWERED
    if not reason:
        raise NotRecoveredError(f"{outcome} without a reason: {reply.text}")
    return f"{outcome}, {reason}"


@contextlib.asynccontextmanager
async def faulty_site(state: Path, seed: int) -> AsyncIterator[FaultySite]:
    """The site at work and asked without a pause; on leaving every request has come to its one end, or it
    raises `NotRecoveredError`."""
    (state / "models" / "lm" / "target").mkdir(parents=True)
    shutil.copy(TOKENIZER, state / "models" / "lm" / "target" / "tokenizer.json")
    settings = settings_of(state, keep_port(HOST, state / "port"))
    async with open_fleet(state, [settings.site]) as fleet, kept_up(fleet.sites[settings.site], state):
        await declare_fleet(fleet, tuple(WORKERS.values()))
        await keep_copy(fleet)
        host, port = fleet.sites[settings.site].url.removeprefix("nats://").split(":")
        async with linked(host, int(port), seed=seed) as link:
            site = FaultySite(settings, fleet, link, random.Random(seed))
            stop = asyncio.Event()
            try:
                for role in (HUB, "stages", "gateway"):
                    await site.start(role)
                asking = site.asking = [asyncio.create_task(site.ask_on(number, stop)) for number in range(ASKERS)]
                try:
                    await site.until_answered("the start")
                    yield site
                    stop.set()
                    await asyncio.gather(*asking)
                    await site.check()
                finally:
                    await end_tasks(*asking)
            finally:
                for process in site.processes.values():
                    process.kill()
                    await process.wait()
