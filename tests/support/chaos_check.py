"""Waits until nothing is on its way between domains any more, and says what any of them holds otherwise than written.

Next: chaos_model.py, with what is compared."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from loadtests.sync.domains import Domains, NotInTimeError
from loadtests.sync.worker import TENANT
from tests.support.chaos_edits import INTERNAL, LOCAL, SHARED, SITES, may_hold
from tests.support.chaos_model import LogCheck, Reference, Written, faults_of_own, files_with
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream import api, history
from tidegate.brokers.topology.streams import DOWN
from tidegate.schemas import CollectionDelta, TidegateError, decode
from tidegate.schemas.replica import RepairOutcome
from tidegate.schemas.subjects import CORPUS, HUB, corpus

HEAL_WITHIN_S = 180.0
MOST_COMPARISONS = 4
READ_ATTEMPTS = 4


class ChaosCheck:
    """The comparison of all domains, which must all run and be linked."""

    def __init__(self, domains: Domains, written: Written, dice: random.Random) -> None:
        self.domains, self.written, self.dice = domains, written, dice

    async def settle(self) -> tuple[float, list[str]]:
        """Wait until nothing is left to do; how many seconds it took, and what is left after too long a time."""
        begun_s = time.monotonic()
        while left := [*self._unsettled(), *await self._missing_mirrors()]:
            if time.monotonic() - begun_s > HEAL_WITHIN_S:
                break
            await asyncio.sleep(0.05)
        return time.monotonic() - begun_s, left

    async def faults(self) -> list[str]:
        """Everything that is not as it was written."""
        found: list[str] = []
        for collection in SHARED:
            log = LogCheck(collection, await self._read_log(collection.name), self.written)
            reference = Reference(log, self.dice)
            found += log.faults
            for domain in self.domains.names:
                with self.domains.reading(domain) as reader:
                    if may_hold(collection, domain):
                        found += reference.faults(domain, reader)
                    elif collection.name in reader.collections():
                        found.append(f"{domain} knows of {collection.name}")
        for domain in self.domains.names:
            with self.domains.reading(domain) as reader:
                own = INTERNAL.name if domain == HUB else LOCAL.name
                found += faults_of_own(self.written, own, domain, reader)
                if reader.own().is_fenced or reader.own().incarnation != 1:
                    found.append(f"{domain} is fenced")
        return [*found, *await self._faults_of_indexes(), *await asyncio.to_thread(self._leaks)]

    async def _read_log(self, collection: str) -> list[CollectionDelta]:
        """All of a log. A server that was just started may leave a request unanswered; then it is asked again."""
        client, last = (await self.domains.bus(HUB)).link.client, ""
        for _ in range(READ_ATTEMPTS):
            try:
                stored = await history.messages(client, CORPUS, corpus(TENANT, collection, ">"))
            except UnreachableError as error:
                last = error.reason
            else:
                return [decode(each.data, CollectionDelta) for each in stored]
        raise NotInTimeError(f"the log of {collection} cannot be read: {last}")

    async def statuses(self) -> str:
        """What the workers say of themselves."""
        lines = []
        for domain in self.domains.names:
            try:
                status = await (await self.domains.client(domain)).status()
            except TidegateError as error:
                lines.append(f"{domain}: {error}")
            else:
                lines.append(f"{domain}: {status.faults}")
        return "\n".join(lines)

    async def _faults_of_indexes(self) -> list[str]:
        """What the workers themselves find, which also read their indexes back."""
        found = []
        for domain in self.domains.names:
            outcomes = await self._verify(domain)
            found += [f"{domain} itself: {each}" for each in outcomes if each.documents or each.index or each.fault]
        return found

    async def _verify(self, domain: str) -> tuple[RepairOutcome, ...]:
        """What the worker finds; again where it could not ask the hub in time, as on a machine with much to do."""
        outcomes = await (await self.domains.client(domain)).verify()
        for _ in range(MOST_COMPARISONS):
            if not any(each.fault for each in outcomes):
                break
            outcomes = await (await self.domains.client(domain)).verify()
        return outcomes

    async def _missing_mirrors(self) -> list[str]:
        """The streams that a site is sent by the hub, and does not have."""
        left = []
        for site in SITES:
            there = await api.stream_names((await self.domains.bus(site)).link.client)
            left += [f"{stream} at {site}" for stream in DOWN if stream not in there]
        return left

    def _unsettled(self) -> list[str]:
        left: list[str] = []
        ends = {each.name: self.domains.record(HUB, each.name) for each in SHARED}
        for domain in self.domains.names:
            with self.domains.reading(domain) as reader:
                if pending := reader.pending(-1):
                    left.append(f"{len(pending)} edits of {domain}")
                for collection in SHARED:
                    end = ends[collection.name]
                    if not may_hold(collection, domain) or end is None:
                        continue
                    record = reader.record(collection.name)
                    is_there = (record.replica.position, record.checksum) == (end.replica.position, end.checksum)
                    if not is_there or (record.replica.state != "following" and end.replica.position is not None):
                        left.append(f"{collection.name} at {domain}: {record.replica.position}, {record.replica.state}")
        return left

    def _leaks(self) -> list[str]:
        """Documents in the bytes of a domain that may not hold them; and whether the scan finds those that may."""
        found = self._leaks_of("only-at-pair", (HUB, "site1", "site2"))
        for domain in self.domains.names:
            found += self._leaks_of(f"only-at-{domain}", (domain,))
        return found

    def _leaks_of(self, marker: str, owners: tuple[str, ...]) -> list[str]:
        root = Path(self.domains.plans[HUB].state)
        is_written = any(marker in each.token and each.dot is not None for each in self.written.attempts)
        found = []
        for domain in self.domains.names:
            files = files_with(root / domain, marker.encode())
            if domain not in owners and files:
                found.append(f"{marker} is at {domain}: {files}")
            elif domain == owners[0] and is_written and not files:
                found.append(f"{marker} is not found at {domain} itself: the scan finds nothing")
        return found
