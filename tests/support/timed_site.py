"""A site whose process times its event loop's callbacks, and what is asked of it: every kind of request.

Next: timed_worker.py, which is the process."""

from __future__ import annotations

import contextlib
import random
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from tests.support.timed_worker import SlowCallback
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.schemas import Asked, Published, Refused, Turn, decode, encode, replace
from tidegate.schemas.entries import OPERATOR, entry
from tidegate.schemas.pack import Pack
from tidegate.schemas.subjects import ASK, HUB
from tidegate.services.fleet.deployment import plan_programs
from tidegate.services.fleet.provision import provision_fleet
from tidegate.services.fleet.roles import ALL, roles_of
from tidegate.services.fleet.supervisor import Supervisor
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings

TENANT = "kiosk"
PATIENCE_S = 60.0
PERSONAL = "I am Ann Example, ann@example.org, +44 20 7946 0958, IBAN DE89 3704 0044 0532 0130 00. "
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "price": {"type": "number"}}}


class TimedSite:
    """The running site."""

    def __init__(self, bus: JetStreamBus, report: Path) -> None:
        self._bus = bus
        self._report = report

    async def ask(self, asked: Asked) -> Published | Refused:
        """What becomes of the request."""
        subject = entry(ASK, TENANT, OPERATOR)
        reply: Published | Refused = decode(
            await self._bus.request(subject, encode(asked), timeout_s=PATIENCE_S), Published, Refused
        )
        return reply

    def slow_since(self, began_s: float) -> list[SlowCallback]:
        """The callbacks that took longer than a millisecond and ended after a moment (seconds since 1970)."""
        lines = self._report.read_bytes().splitlines()
        found = [msgspec.json.decode(line, type=SlowCallback) for line in lines]
        return [each for each in found if each.at_s >= began_s]


@contextlib.asynccontextmanager
async def open_timed_site(settings: Settings, site: str = "site1") -> AsyncIterator[TimedSite]:
    """The prepared site at work, with no hub behind it but the server."""
    provision_fleet(settings, (site,))
    report = Path(settings.state_dir) / "callbacks.jsonl"
    argv = (sys.executable, "-m", "tests.support.timed_worker", str(report))
    async with contextlib.AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(open_fleet(Path(settings.state_dir), [site], roles_of))
        await declare_fleet(fleet, tuple(WORKERS.values()))
        urls = {HUB: fleet.hub.url, site: fleet.sites[site].url}
        [planned] = [each for each in plan_programs(settings, urls, per_stage=False) if each.name == f"{site}/{ALL}"]
        await stack.enter_async_context(Supervisor([replace(planned, argv=argv)], grace_s=settings.grace_s))
        yield TimedSite(await stack.enter_async_context(JetStreamBus.open(fleet.sites[site].nats, site)), report)


async def time_requests(site: TimedSite, requests: Sequence[Asked]) -> tuple[list[str], list[SlowCallback]]:
    """What became of each request, asked one after the other, and the slow callbacks meanwhile."""
    began_s = time.time()
    replies = [await site.ask(asked) for asked in requests]
    outcomes = [reply.outcome if isinstance(reply, Published) else reply.code for reply in replies]
    return outcomes, site.slow_since(began_s)


def varied_requests(pack: Pack, chars: int, seed: int = 1) -> list[Asked]:
    """Two of every kind of question in each language, and longer texts of all sorts, the longest of `chars`
    characters."""
    draw = random.Random(seed)
    by_kind: dict[tuple[str, str], list[str]] = {}
    for each in pack.questions:
        by_kind.setdefault((each.kind, each.language), []).append(each.text)
    short = [text for texts in by_kind.values() for text in draw.sample(texts, min(2, len(texts)))]
    prose = " ".join(" ".join(document.text for document in pack.documents).split())
    listed = "\n".join(f"- {number}: what does {word} cost?" for number, word in enumerate(prose.split()[:400]))
    long = [prose[:chars], (PERSONAL * chars)[:chars], listed[:chars], ("漢字仮名交じり文の質問です。" * chars)[:chars]]
    long += [("4929 1234 5678 9012 " * chars)[:chars], prose[:1000], "x" * chars, "x y " * 3000]
    answers = [prose[start : start + 800] for start in range(0, 24_000, 800)]
    turns = tuple(Turn("assistant" if number % 2 else "user", text) for number, text in enumerate(answers))
    schema = msgspec.json.encode(SCHEMA).decode()
    return [
        *(request(text) for text in (*short, *long)),
        request("And what does it cost?", history=turns),
        request(prose[:500], workload="extract", schema=schema),
    ]


def request(text: str, **more: object) -> Asked:
    """A request with an id of its own and more time than it takes on a busy machine."""
    fields = {"tenant": TENANT, "rid": uuid.uuid4().hex, "budget_ms": int(PATIENCE_S * 1000), **more}
    return msgspec.convert({"text": text, **fields}, Asked)
