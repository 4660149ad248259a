"""A hub and sites at work on this machine, ready to be asked by many, and what they have stored.

Next: soak.py and scale.py, which ask them; services/fleet/deployment.py, which starts them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from loadtests.prepared import prepare_all
from loadtests.size.questions import UniqueQuestions
from tidegate.brokers.jetstream import api, history
from tidegate.schemas.subjects import ANSWERS
from tidegate.services.evaluation.load_clients import open_http_load
from tidegate.services.evaluation.open_loop import Ask, LoadSample, timed
from tidegate.services.fleet.access import temporary_key
from tidegate.services.fleet.deployment import Deployment, deploy
from tidegate.services.fleet.filling import fill_sites
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.provision import provision_fleet
from tidegate.services.packs.load import load_pack
from tidegate.services.settings import Settings

AFTER_BUDGET_S = 30.0
"""How much longer than its budget an answer is waited for: what comes after that is lost."""


class AskedFleet(msgspec.Struct, frozen=True):
    """What runs, and the key by which its sites are asked."""

    deployment: Deployment
    access_key: str

    @asynccontextmanager
    async def open_client(self, questions: UniqueQuestions) -> AsyncIterator[Ask]:
        """Asks over HTTP, the sites in turn."""
        endpoints = self.deployment.endpoints.http
        async with AsyncExitStack() as stack:
            asks = [
                await stack.enter_async_context(
                    open_http_load(
                        url, self.access_key, questions, questions.budget_ms / 1000 + AFTER_BUDGET_S, streaming=False
                    )
                )
                for url in endpoints.values()
            ]
            yield lambda number: asks[number % len(asks)](number)

    async def count_stored(self) -> Counter[str]:
        """How many answers are stored, by request id, at all sites."""
        found: Counter[str] = Counter()
        for site in self.deployment.endpoints.sites:
            found += await count_answers(self.deployment, site)
        return found

    async def stored_bytes(self) -> int:
        """What the streams of all domains hold."""
        total = 0
        for name, server in self.deployment.servers.items():
            async with api.connect(server.nats, name) as client:
                for stream in await api.stream_names(client):
                    total += (await api.call(client, f"STREAM.INFO.{stream}"))["state"]["bytes"]
        return total

    async def linked_bytes(self) -> int:
        """What has crossed the leaf connections of all sites, both ways, since they were made."""
        leaves = (await asyncio.to_thread(self.deployment.servers["hub"].monitor, "/leafz"))["leafs"] or ()
        return sum(leaf["in_bytes"] + leaf["out_bytes"] for leaf in leaves)


async def count_answers(deployment: Deployment, site: str) -> Counter[str]:
    """How many answers a site has stored, by request id."""
    found: Counter[str] = Counter()
    async with api.connect(deployment.servers[site].nats, site) as client:
        after = 0
        while page := await history.first_messages(client, ANSWERS, "answers.>", after, history.PAGE):
            found.update(each.subject.rpartition(".")[2] for each in page)
            after = page[-1].sequence
    return found


async def run_closed_loop(ask: Ask, numbers: Iterator[int], at_once: int) -> tuple[list[LoadSample], float]:
    """Ask these, so many at a time; what became of them, and how many seconds it took."""
    samples: list[LoadSample] = []
    began_s = time.perf_counter()

    async def ask_on() -> None:
        samples.extend([await timed(ask, number, time.perf_counter()) for number in numbers])

    await asyncio.gather(*(ask_on() for _ in range(at_once)))
    return samples, time.perf_counter() - began_s


@asynccontextmanager
async def filled_fleet(
    settings: Settings, sites: Sequence[str], progress: ProgressReporter
) -> AsyncIterator[AskedFleet]:
    """A fleet as `tidegate up` starts one, with all of its workers, filled by sync where it is not yet."""

    async def fill() -> None:
        await fill_sites(settings, sites, progress)

    await asyncio.to_thread(provision_fleet, settings, sites)
    async with deploy(settings, sites, fill=fill) as deployment:
        with temporary_key(settings, "soak") as access_key:
            yield AskedFleet(deployment, access_key)


@asynccontextmanager
async def prepared_fleet(
    settings: Settings, sites: Sequence[str], replicas: Mapping[str, int], progress: ProgressReporter
) -> AsyncIterator[AskedFleet]:
    """A fleet without sync: one process a site, or with `replicas` one of each stage and as many of some."""
    await prepare_all(settings, sites, load_pack(Path(settings.pack_dir)), progress)
    async with deploy(settings, sites, per_stage=bool(replicas), replicas=replicas) as deployment:
        with temporary_key(settings, "scale") as access_key:
            yield AskedFleet(deployment, access_key)


def numbers_from(first: int, count: int) -> Iterator[int]:
    """So many numbers of requests, to be taken by several askers."""
    return itertools.islice(itertools.count(first), count)
