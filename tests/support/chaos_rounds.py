"""A seeded driver of one hub and three sites on real servers, with workers that are processes: edits, cuts, kills.

It also hands old deltas in again, in another order, and stores edits again under other ids. Every so many rounds it
heals all of it and compares. Next: chaos_model.py, with what it is compared."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import nats.errors

from loadtests.bench.race_sites import linked_servers
from loadtests.link.link import Link
from loadtests.sync.domains import Domains, NotInTimeError, open_domains
from loadtests.sync.worker import ARRIVE, TENANT
from tests.support.chaos_model import (
    Attempt,
    LogCheck,
    Reference,
    Written,
    content_of,
    dots_of,
    faults_of_own,
    files_with,
    first_of,
)
from tidegate.brokers.jetstream import api, history
from tidegate.brokers.jetstream.repair import delete_stream
from tidegate.schemas import Collection, CollectionDelta, TidegateError, decode, encode
from tidegate.schemas.following import DeltasReply
from tidegate.schemas.replica import DocumentsWritten, ReplicaFault, WriteDocuments
from tidegate.schemas.subjects import CORPUS, EDITS, HUB, corpus, replica_request
from tidegate.sync.database import StoreMissingError
from tidegate.sync.settings import SyncSettings

SITES = ("site1", "site2", "site3")
SHARED = (
    Collection(tenant=TENANT, name="notices", sites_write=True, merge="ask"),
    Collection(tenant=TENANT, name="prices", sites_write=True, merge="field-merge"),
    Collection(tenant=TENANT, name="news", sites_write=True, merge="last-writer"),
    Collection(tenant=TENANT, name="terms", merge="last-writer"),
    Collection(tenant=TENANT, name="pair", sites=("site1", "site2"), sites_write=True, merge="field-merge"),
)
INTERNAL = Collection(tenant=TENANT, name="internal", owner="hub", merge="last-writer")
LOCAL = Collection(tenant=TENANT, name="local", owner="site", merge="last-writer")
DOCUMENTS = 8
"""Of each collection: few, so that they are edited by several at once, deleted and made again."""
SETTINGS = SyncSettings(head_every_s=1.0, compare_every_s=5.0, scrub_every_s=20.0, snapshot_after_deltas=60)
HEAL_WITHIN_S = 90.0
ANSWERED_WITHIN_S = 10.0


class ChaosError(AssertionError):
    """What is held is not what was written; the message has all of it, and the seed."""


class ChaosRounds:
    """The driver: `run` plays rounds, and heals and compares after every `heal_every` of them."""

    def __init__(self, domains: Domains, links: dict[str, Link], seed: int, say: Callable[[str], None] = print) -> None:
        self.domains, self.links, self.seed, self.say = domains, links, seed, say
        self.dice = random.Random(seed)
        self.written = Written()
        self.did: dict[str, int] = {}
        self.healed_s: list[float] = []
        self._gone = {name: asyncio.Event() for name in domains.names}
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
            happened = [await each() for each in self._draw()]
            edits = await self._edit()
            self.say(f"round {number}: {'; '.join(filter(None, happened)) or 'nothing'}; {edits}")
            if number % heal_every == 0 or number == rounds:
                took_s = await self.heal()
                await self.compare()
                self.say(
                    f"round {number}: healed in {took_s:.1f} s, all of {len(self.written.attempts)} edits compared"
                )

    # What happens

    def _draw(self) -> list[Callable[[], Awaitable[str]]]:
        things: list[tuple[int, Callable[[], Awaitable[str]]]] = [
            (16, self._cut_link), (10, self._kill_server), (8, self._kill_worker), (4, self._stop_worker),
            (8, self._send_again), (6, self._store_at_hub), (10, self._hand_in), (2, self._forget_delivered),
            (2, self._lose_mirror), (3, self._snapshot), (3, self._repair), (8, _nothing_happens),
        ]  # fmt: skip
        recovering: list[Callable[[], Awaitable[str]]] = [self._restore] if self.dice.random() < 0.6 else []
        chosen = self.dice.choices([each for _, each in things], [weight for weight, _ in things], k=2)
        return [*recovering, *chosen[: self.dice.choice((1, 1, 2))]]

    def _count(self, what: str) -> str:
        self.did[what] = self.did.get(what, 0) + 1
        return what

    async def _cut_link(self) -> str:
        site, how = self.dice.choice(SITES), self.dice.choice(("cut", "stalled"))
        link = self.links[site]
        link.cut() if how == "cut" else link.stall()
        self._cut.add(site)
        return f"{self._count(how)} {site}"

    async def _kill_server(self) -> str:
        domain, is_short = self.dice.choice(self.domains.names), self.dice.random() < 0.6
        if self.domains.server(domain).pid is None:
            return ""
        self._gone[domain].set()
        await asyncio.to_thread(self.domains.server(domain).kill)
        if is_short:
            await self._start_server(domain)
        return f"{self._count('killed the server')} of {domain}{', started again' if is_short else ''}"

    async def _kill_worker(self) -> str:
        domain, is_short = self.dice.choice(self.domains.names), self.dice.random() < 0.6
        if not self.domains.is_working(domain):
            return ""
        writing = asyncio.create_task(self._edit_at(domain, self._draw_edits(domain, 30)))
        await asyncio.sleep(self.dice.uniform(0.0, 0.15))  # in the middle of it
        self._gone[domain].set()
        await asyncio.to_thread(self.domains.kill, domain)
        await writing
        if is_short:
            await self._start_worker(domain)
        return f"{self._count('killed the worker')} of {domain}{', started again' if is_short else ''}"

    async def _stop_worker(self) -> str:
        domain = self.dice.choice(self.domains.names)
        self._gone[domain].set()
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
        stored = await history.messages((await self.domains.bus(site)).link.client, EDITS, ">")
        chosen = [each for each in stored[-60:] if shuffle.random() < share]
        shuffle.shuffle(chosen)
        publisher = (await self.domains.bus(at)).publisher
        for each in chosen:
            await publisher.store(each.subject, each.data, {"Nats-Msg-Id": secrets.token_hex(8)})
        return f"{self._count('stored edits again')}: {len(chosen)} of {site} at {at}"

    async def _hand_in(self) -> str:
        """Deltas that a site has, and some that it has not, in any order and some twice, as they came in its mirror."""
        site, collection = self.dice.choice(SITES), self.dice.choice(SHARED).name
        shuffle = random.Random(self.dice.random())
        if not (self._is_up(site) and self.domains.is_working(site) and self._is_up(HUB)):
            return ""
        stored = await history.messages(
            (await self.domains.bus(HUB)).link.client, CORPUS, corpus(TENANT, collection, ">")
        )
        deltas = [decode(each.data, CollectionDelta) for each in stored if shuffle.random() < 0.6]
        deltas += [each for each in deltas if shuffle.random() < 0.3]
        shuffle.shuffle(deltas)
        request = DeltasReply(tenant=TENANT, collection=collection, deltas=tuple(deltas[:300]))
        with contextlib.suppress(TidegateError):  # it may be held, or not know of the collection
            await (await self.domains.bus(site)).request(
                f"replica.{ARRIVE}", encode(request), timeout_s=ANSWERED_WITHIN_S
            )
        return f"{self._count('handed in deltas')}: {len(request.deltas)} of {collection} to {site}"

    async def _forget_delivered(self) -> str:
        """A site's consumer of its mirror is gone, and delivers all from the beginning once it is made again."""
        site = self.dice.choice(SITES)
        if not self._is_up(site):
            return ""
        with contextlib.suppress(api.JetStreamApiError):  # the mirror may just be made anew
            await api.call((await self.domains.bus(site)).link.client, f"CONSUMER.DELETE.{CORPUS}.sync")
        return f"{self._count('forgot what was delivered')} at {site}"

    async def _lose_mirror(self) -> str:
        site = self.dice.choice(SITES)
        if not self._is_up(site):
            return ""
        await delete_stream((await self.domains.bus(site)).link.client, CORPUS)
        return f"{self._count('lost the mirror')} of {site}"

    async def _snapshot(self) -> str:
        collection = self.dice.choice(SHARED).name
        if not self._is_asking(HUB):
            return ""
        with contextlib.suppress(TidegateError):
            await (await self.domains.client(HUB)).snapshot(TENANT, collection)
        return f"{self._count('wrote a snapshot')} of {collection}"

    async def _repair(self) -> str:
        site = self.dice.choice(SITES)
        if not self._is_asking(site):
            return ""
        with contextlib.suppress(TidegateError, TimeoutError):
            async with asyncio.timeout(ANSWERED_WITHIN_S):
                await (await self.domains.client(site)).repair()
        return f"{self._count('compared')} {site}"

    async def _restore(self) -> str:
        """Some of what is down comes back."""
        for site in sorted(self._cut):
            if self.dice.random() < 0.6:
                self._heal_link(site)
        for domain in self.domains.names:
            is_drawn = self.dice.random() < 0.6
            if is_drawn and self.domains.server(domain).pid is None:
                await self._start_server(domain)
            if is_drawn and not self.domains.is_working(domain):
                await self._start_worker(domain)
        return ""

    # Edits

    async def _edit(self) -> str:
        """Edits of everybody who can write, at the same time."""
        first = len(self.written.attempts)
        who = [each for each in self.domains.names if self._is_asking(each) and self.dice.random() < 0.8]
        drawn = [(domain, self._draw_edits(domain, self.dice.choice((1, 3, 8, 20)))) for domain in who]
        await asyncio.gather(*(self._edit_at(domain, edits) for domain, edits in drawn))
        made = self.written.attempts[first:]
        return (
            f"{len(made)} edits at {', '.join(who) or 'nobody'}, {sum(each.dot is not None for each in made)} answered"
        )

    def _draw_edits(self, domain: str, count: int) -> list[list[Attempt]]:
        """Requests of a domain, each of one collection with another set of documents."""
        writable = [each.name for each in SHARED if _may_write(each, domain)]
        own = INTERNAL.name if domain == HUB else LOCAL.name
        requests: list[list[Attempt]] = []
        for collection in self.dice.sample([*writable, own], self.dice.choice((1, 2, 3))):
            chosen = self.dice.sample(range(DOCUMENTS), min(DOCUMENTS, 1 + self.dice.randrange(count)))
            requests.append([self._draw_edit(domain, collection, number) for number in chosen])
        return requests

    def _draw_edit(self, domain: str, collection: str, document: int) -> Attempt:
        prefix = {"internal": "only-at-hub", "local": f"only-at-{domain}", "pair": "only-at-pair"}.get(collection, "at")
        number = self.written.next_number()
        token = f"{prefix}-{number}-{self.dice.randrange(1 << 40):x}"
        return Attempt(
            number=number,
            domain=domain,
            collection=collection,
            document_id=f"{prefix}-d{document}" if prefix != "at" else f"{collection}-d{document}",
            token=token,
            is_deletion=self.dice.random() < 0.25,
        )

    async def _edit_at(self, domain: str, requests: Sequence[Sequence[Attempt]]) -> None:
        self._gone[domain].clear()
        await asyncio.gather(*(self._ask(domain, attempts) for attempts in requests))

    async def _ask(self, domain: str, attempts: Sequence[Attempt]) -> None:
        collection = attempts[0].collection
        with contextlib.suppress(StoreMissingError), self.domains.reading(domain) as reader:
            known = collection in reader.collections()
            for each in attempts if known else ():
                each.seen = dots_of(reader, collection, each.document_id)
        self.written.attempts += attempts
        request = WriteDocuments(
            tenant=TENANT,
            collection=collection,
            documents={
                each.document_id: content_of(each.token, each.number % 3) for each in attempts if not each.is_deletion
            },
            deleted=tuple(each.document_id for each in attempts if each.is_deletion),
        )
        reply = await self._answer(domain, request)
        for each in attempts if reply is not None else ():
            dots = reply.dots if isinstance(reply, DocumentsWritten) else {}
            each.dot = dots.get(each.document_id)
            each.is_refused = each.dot is None
            each.answered = self.written.next_number()

    async def _answer(self, domain: str, request: WriteDocuments) -> DocumentsWritten | ReplicaFault | None:
        """The worker's reply; None where there is none, as it was killed, or its server."""
        bus = await self.domains.bus(domain)
        asking = asyncio.create_task(
            bus.request(replica_request("write"), encode(request), timeout_s=ANSWERED_WITHIN_S)
        )
        gone = asyncio.create_task(self._gone[domain].wait())
        await asyncio.wait((asking, gone), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not asking.done():
            asking.cancel()
        try:
            reply: DocumentsWritten | ReplicaFault = decode(await asking, DocumentsWritten, ReplicaFault)
            return reply
        except (TidegateError, asyncio.CancelledError, nats.errors.Error):
            return None

    # How it is healed, and compared

    async def heal(self) -> float:
        """Have everything run and linked, and return once nothing is on its way: how many seconds that took."""
        for site in SITES:
            self._heal_link(site)
        for domain in self.domains.names:
            if self.domains.server(domain).pid is None:
                await self._start_server(domain)
        await asyncio.gather(*(self._start_worker(each) for each in self.domains.names))
        begun_s = time.monotonic()
        while left := self._unsettled():
            if time.monotonic() - begun_s > HEAL_WITHIN_S:
                raise ChaosError(f"seed {self.seed}: not healed in {HEAL_WITHIN_S:g} s: {left}\n{await self._faults()}")
            await asyncio.sleep(0.05)
        self.healed_s.append(time.monotonic() - begun_s)
        return self.healed_s[-1]

    def _unsettled(self) -> list[str]:
        """What is still on its way."""
        left: list[str] = []
        ends = {each.name: self.domains.record(HUB, each.name) for each in SHARED}
        for domain in self.domains.names:
            with self.domains.reading(domain) as reader:
                if pending := reader.pending(-1):
                    left.append(f"{len(pending)} edits of {domain}")
                for collection in SHARED:
                    if not _holds(collection, domain):
                        continue
                    end, record = ends[collection.name], reader.record(collection.name)
                    assert end is not None
                    if (record.replica.position, record.checksum) != (end.replica.position, end.checksum):
                        left.append(f"{collection.name} at {domain}: {record.replica.position}, {record.replica.state}")
                    elif record.replica.state != "following" and end.replica.position is not None:
                        left.append(f"{collection.name} at {domain} is {record.replica.state}")
        return left

    async def compare(self) -> None:
        """Raises `ChaosError` with everything that is not as it was written."""
        faults: list[str] = []
        client = (await self.domains.bus(HUB)).link.client
        for collection in SHARED:
            stored = await history.messages(client, CORPUS, corpus(TENANT, collection.name, ">"))
            log = LogCheck(collection, [decode(each.data, CollectionDelta) for each in stored], self.written)
            reference = Reference(log, self.dice)
            faults += log.faults
            for domain in self.domains.names:
                with self.domains.reading(domain) as reader:
                    if _holds(collection, domain):
                        faults += reference.faults(domain, reader)
                    elif collection.name in reader.collections():
                        faults.append(f"{domain} knows of {collection.name}")
        for domain in self.domains.names:
            own = INTERNAL if domain == HUB else LOCAL
            with self.domains.reading(domain) as reader:
                faults += faults_of_own(self.written, own.name, domain, reader)
                if reader.own().is_fenced or reader.own().incarnation != 1:
                    faults.append(f"{domain} is fenced")
        faults += await asyncio.to_thread(self._leaks)
        if faults:
            raise ChaosError(f"seed {self.seed}:\n{first_of(faults)}\n{await self._faults()}")

    def _leaks(self) -> list[str]:
        """Documents in the bytes of a domain that may not hold them; and whether the scan finds those that may."""
        root = Path(self.domains.plans[HUB].state).parents[1]
        found: list[str] = []
        for collection, owners in ((f"only-at-{each}", (each,)) for each in self.domains.names):
            found += self._leaks_of(root, collection, owners)
        return found + self._leaks_of(root, "only-at-pair", (HUB, "site1", "site2"))

    def _leaks_of(self, root: Path, marker: str, owners: Sequence[str]) -> list[str]:
        is_written = any(marker in each.token and each.dot is not None for each in self.written.attempts)
        found = []
        for domain in self.domains.names:
            files = files_with(root / domain, marker.encode())
            if domain not in owners and files:
                found.append(f"{marker} is at {domain}: {files}")
            elif domain == owners[0] and is_written and not files:
                found.append(f"{marker} is not found at {domain} itself: the scan finds nothing")
        return found

    async def _faults(self) -> str:
        """What the workers say of themselves."""
        said = []
        for domain in self.domains.names:
            try:
                status = await (await self.domains.client(domain)).status()
            except TidegateError as error:
                said.append(f"{domain}: {error}")
            else:
                said.append(f"{domain}: {status.faults}")
        return "\n".join(said)

    def _heal_link(self, site: str) -> None:
        if site in self._cut:
            self._cut.discard(site)
            self.links[site].heal()

    async def _start_server(self, domain: str) -> None:
        await self.domains.server(domain).start(timeout_s=30.0)
        self._gone[domain].clear()

    async def _start_worker(self, domain: str) -> None:
        """Where its server runs, and it does not."""
        if not self.domains.is_working(domain) and self._is_up(domain):
            await self.domains.start(domain)

    def _is_up(self, domain: str) -> bool:
        return self.domains.server(domain).pid is not None

    def _is_asking(self, domain: str) -> bool:
        return self._is_up(domain) and self.domains.is_working(domain)


@contextlib.asynccontextmanager
async def chaos_rounds(directory: Path, seed: int, say: Callable[[str], None] = print) -> AsyncIterator[ChaosRounds]:
    """The driver of a fleet of its own."""
    async with (
        linked_servers(directory, SITES, seed=seed) as (servers, links),
        open_domains(servers, directory, SETTINGS, has_snapshots=True) as domains,
    ):
        chaos = ChaosRounds(domains, links, seed, say)
        await chaos.prepare()
        yield chaos


async def _nothing_happens() -> str:
    return ""


def _holds(collection: Collection, domain: str) -> bool:
    return domain == HUB or not collection.sites or domain in collection.sites


def _may_write(collection: Collection, domain: str) -> bool:
    return _holds(collection, domain) and (domain == HUB or collection.sites_write)


__all__ = ["ChaosError", "ChaosRounds", "NotInTimeError", "chaos_rounds"]
