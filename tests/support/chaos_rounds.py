"""A seeded driver of one hub and three sites on real servers, with workers that are processes: edits, cuts, kills.

It also hands old deltas in again, in another order, and stores edits again under other ids. Every so many rounds it
heals all of it and compares. Next: chaos_edits.py; chaos_check.py."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import nats.errors

from loadtests.bench.race_sites import linked_servers
from loadtests.link.link import Link
from loadtests.sync.domains import Domains, open_domains
from loadtests.sync.worker import ARRIVE, TENANT
from tests.support.chaos_check import ChaosCheck
from tests.support.chaos_edits import ANSWERED_WITHIN_S, INTERNAL, LOCAL, SHARED, SITES, ChaosEdits, Requests, may_hold
from tests.support.chaos_model import first_of
from tidegate.brokers.jetstream import api, history
from tidegate.brokers.jetstream.repair import delete_stream
from tidegate.schemas import CollectionDelta, TidegateError, decode, encode
from tidegate.schemas.following import DeltasReply
from tidegate.schemas.subjects import CORPUS, EDITS, HUB, corpus
from tidegate.sync.settings import SyncSettings

SETTINGS = SyncSettings(head_every_s=1.0, compare_every_s=5.0, scrub_every_s=20.0, snapshot_after_deltas=200)
GONE = (TidegateError, TimeoutError, nats.errors.Error)
"""What may be raised by whoever asks somebody that is killed meanwhile."""
Thing = Callable[[], Awaitable[str]]


class ChaosError(AssertionError):
    """What is held is not what was written; the message has all of it, and the seed."""


class ChaosRounds:
    """The driver: `run` plays rounds, and heals and compares after every `heal_every` of them."""

    def __init__(self, domains: Domains, links: dict[str, Link], seed: int, say: Callable[[str], None] = print) -> None:
        self.domains, self.links, self.seed, self.say = domains, links, seed, say
        self.dice = random.Random(seed)
        self.edits = ChaosEdits(domains, self.dice)
        self.check = ChaosCheck(domains, self.edits.written, random.Random(seed))
        self.did: dict[str, int] = {}
        self.healed_s: list[float] = []
        self._cut: set[str] = set()

    async def prepare(self) -> None:
        """Start everybody, and have all collections."""
        await self.domains.start(*self.domains.names)
        for collection in (*SHARED, INTERNAL):
            await self.domains.put(collection)
        for site in SITES:
            await self.domains.put(LOCAL, site)

    async def run(self, rounds: int, heal_every: int) -> None:
        """Play so many rounds. Raises `ChaosError` where anything was lost, doubled, resurrected or leaked."""
        for number in range(1, rounds + 1):
            self.say(f"round {number}: {await self._play()}")
            if number % heal_every == 0 or number == rounds:
                await self.heal()
                edits = len(self.edits.written.attempts)
                self.say(f"round {number}: healed in {self.healed_s[-1]:.1f} s, all of {edits} edits compared")

    async def heal(self) -> None:
        """Have everything run and linked, wait until nothing is on its way any more, and compare. Raises
        `ChaosError`."""
        for site in SITES:
            self._heal_link(site)
        for domain in self.domains.names:
            await self._start_server(domain)
        await asyncio.gather(*(self._start_worker(each) for each in self.domains.names))
        took_s, left = await self.check.settle()
        self.healed_s.append(took_s)
        faults = await self.check.faults()
        if left or faults:
            waited = f"{len(left)} things left to do after {took_s:.0f} s: {first_of(left)}\n" if left else ""
            raise ChaosError(f"seed {self.seed}: {waited}{first_of(faults)}\n{await self.check.statuses()}")

    async def _play(self) -> str:
        """One round: some of what is down comes back, and everybody writes, while one or two things happen."""
        if self.dice.random() < 0.6:
            await self._restore()
        who = [each for each in self.domains.names if self._is_asking(each) and self.dice.random() < 0.8]
        drawn = [(domain, self.edits.draw(domain, self.dice.choice((1, 3, 8, 20, 120)))) for domain in who]
        happening = [self._happen(thing, self.dice.uniform(0.0, 0.2)) for thing in self._draw()]
        count = len(self.edits.written.attempts)
        happened = await asyncio.gather(*happening, *(self._write(domain, requests) for domain, requests in drawn))
        made = self.edits.written.attempts[count:]
        answered = sum(each.dot is not None for each in made)
        what = "; ".join(filter(None, happened)) or "nothing"
        return f"{what}; {len(made)} edits at {', '.join(who) or 'nobody'}, {answered} answered"

    def _draw(self) -> list[Thing]:
        things: list[tuple[int, Thing]] = [
            (12, self._cut_link), (10, self._kill_server), (10, self._kill_worker), (3, self._stop_worker),
            (8, self._send_again), (6, self._store_at_hub), (10, self._hand_in), (3, self._forget_delivered),
            (3, self._lose_mirror), (3, self._snapshot), (3, self._repair), (6, _nothing_happens),
        ]  # fmt: skip
        weights = [weight for weight, _ in things]
        return self.dice.choices([each for _, each in things], weights, k=self.dice.choice((1, 1, 2)))

    async def _happen(self, thing: Thing, after_s: float) -> str:
        await asyncio.sleep(after_s)  # in the middle of what is written
        return await thing()

    async def _write(self, domain: str, requests: Requests) -> str:
        await self.edits.ask(domain, requests)
        return ""

    def _count(self, what: str) -> str:
        self.did[what] = self.did.get(what, 0) + 1
        return what

    # What happens

    async def _cut_link(self) -> str:
        site, how = self.dice.choice(SITES), self.dice.choice(("cut", "stalled"))
        link = self.links[site]
        if how == "cut":
            link.cut()
        else:
            link.stall()
        self._cut.add(site)
        return f"{self._count(how)} {site}"

    async def _kill_server(self) -> str:
        domain, is_short = self.dice.choice(self.domains.names), self.dice.random() < 0.6
        if not self._is_up(domain):
            return ""
        self.edits.gone[domain].set()
        await asyncio.to_thread(self.domains.server(domain).kill)
        if is_short:
            await self._start_server(domain)
        return f"{self._count('killed the server')} of {domain}{', started again' if is_short else ''}"

    async def _kill_worker(self) -> str:
        domain, is_short = self.dice.choice(self.domains.names), self.dice.random() < 0.6
        if not self.domains.is_working(domain):
            return ""
        self.edits.gone[domain].set()
        await asyncio.to_thread(self.domains.kill, domain)
        if is_short:
            await self._start_worker(domain)
        return f"{self._count('killed the worker')} of {domain}{', started again' if is_short else ''}"

    async def _stop_worker(self) -> str:
        domain = self.dice.choice(self.domains.names)
        self.edits.gone[domain].set()
        await self.domains.stop(domain)
        await self._start_worker(domain)
        return f"{self._count('stopped and started the worker')} of {domain}"

    async def _send_again(self) -> str:
        """A site's edits, stored in its own stream once more under other ids, so that the link carries them again."""
        site = self.dice.choice(SITES)
        return await self._store_again(site, site)

    async def _store_at_hub(self) -> str:
        """A site's edits, stored at the hub past the link, in any order: some are there already, some never were."""
        return await self._store_again(self.dice.choice(SITES), HUB)

    async def _store_again(self, site: str, at: str) -> str:
        share, shuffle = self.dice.random(), random.Random(self.dice.random())
        if not (self._is_up(site) and self._is_up(at)):
            return ""
        sent = 0
        with contextlib.suppress(*GONE):
            stored = await history.messages((await self.domains.bus(site)).link.client, EDITS, ">")
            chosen = [each for each in stored[-60:] if shuffle.random() < share]
            shuffle.shuffle(chosen)
            for each in chosen:
                if not self._is_up(at):
                    break
                await (await self.domains.bus(at)).publisher.store(
                    each.subject, each.data, {"Nats-Msg-Id": secrets.token_hex(8)}
                )
                sent += 1
        return f"{self._count('stored edits again')}: {sent} of {site} at {at}"

    async def _hand_in(self) -> str:
        """Deltas that a site has, and some that it has not, in any order and some twice, as they came in its mirror."""
        site = self.dice.choice(SITES)
        collection = self.dice.choice([each.name for each in SHARED if may_hold(each, site)])
        shuffle = random.Random(self.dice.random())
        if not (self._is_asking(site) and self._is_up(HUB)):
            return ""
        deltas: list[CollectionDelta] = []
        with contextlib.suppress(*GONE):  # it may be held, or killed meanwhile
            client = (await self.domains.bus(HUB)).link.client
            stored = await history.messages(client, CORPUS, corpus(TENANT, collection, ">"))
            deltas = [decode(each.data, CollectionDelta) for each in stored if shuffle.random() < 0.6]
            deltas = [*deltas, *(each for each in deltas if shuffle.random() < 0.3)][-300:]
            shuffle.shuffle(deltas)
            request = DeltasReply(tenant=TENANT, collection=collection, deltas=tuple(deltas))
            await (await self.domains.bus(site)).request(ARRIVE, encode(request), timeout_s=5.0)
        return f"{self._count('handed in deltas')}: {len(deltas)} of {collection} to {site}"

    async def _forget_delivered(self) -> str:
        """A site's consumer of its mirror is gone, and delivers all from the beginning once it is made again."""
        site = self.dice.choice(SITES)
        if not self._is_up(site):
            return ""
        with contextlib.suppress(*GONE):  # the mirror may just be made anew
            await api.call((await self.domains.bus(site)).link.client, f"CONSUMER.DELETE.{CORPUS}.sync")
        return f"{self._count('forgot what was delivered')} at {site}"

    async def _lose_mirror(self) -> str:
        site = self.dice.choice(SITES)
        if not self._is_up(site):
            return ""
        with contextlib.suppress(*GONE):
            await delete_stream((await self.domains.bus(site)).link.client, CORPUS)
        return f"{self._count('lost the mirror')} of {site}"

    async def _snapshot(self) -> str:
        collection = self.dice.choice(SHARED).name
        if not self._is_asking(HUB):
            return ""
        with contextlib.suppress(*GONE):
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                await (await self.domains.client(HUB)).snapshot(TENANT, collection)
        return f"{self._count('wrote a snapshot')} of {collection}"

    async def _repair(self) -> str:
        site = self.dice.choice(SITES)
        if not self._is_asking(site):
            return ""
        with contextlib.suppress(*GONE):
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                await (await self.domains.client(site)).repair()
        return f"{self._count('compared')} {site}"

    async def _restore(self) -> None:
        """Some of what is down comes back."""
        for site in sorted(self._cut):
            if self.dice.random() < 0.6:
                self._heal_link(site)
        for domain in self.domains.names:
            if self.dice.random() < 0.6:
                await self._start_server(domain)
                await self._start_worker(domain)

    def _heal_link(self, site: str) -> None:
        if site in self._cut:
            self._cut.discard(site)
            self.links[site].heal()

    async def _start_server(self, domain: str) -> None:
        """Where it does not run."""
        if not self._is_up(domain):
            await self.domains.server(domain).start(timeout_s=30.0)
            if self.domains.is_working(domain):
                self.edits.gone[domain].clear()

    async def _start_worker(self, domain: str) -> None:
        """Where it does not run, and its server does."""
        if not self.domains.is_working(domain) and self._is_up(domain):
            await self.domains.start(domain)
        if self._is_asking(domain):
            self.edits.gone[domain].clear()

    def _is_up(self, domain: str) -> bool:
        return self.domains.server(domain).pid is not None

    def _is_asking(self, domain: str) -> bool:
        return self._is_up(domain) and self.domains.is_working(domain)


@contextlib.asynccontextmanager
async def chaos_rounds(directory: Path, seed: int, say: Callable[[str], None] = print) -> AsyncIterator[ChaosRounds]:
    """The driver of a fleet of its own."""
    async with (
        linked_servers(directory, SITES, seed=seed) as (servers, links),
        open_domains(servers, directory, SETTINGS) as domains,
    ):
        chaos = ChaosRounds(domains, links, seed, say)
        await chaos.prepare()
        yield chaos


async def _nothing_happens() -> str:
    return ""
