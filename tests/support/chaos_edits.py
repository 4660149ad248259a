"""The edits of a chaos driver: drawn by its dice, asked of the workers of all domains at once, and remembered.

Next: chaos_model.py, what follows from them; chaos_rounds.py, what happens meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence

import nats.errors

from loadtests.sync.documents import document
from loadtests.sync.domains import Domains
from loadtests.sync.worker import TENANT
from tests.support.chaos_model import Attempt, Written, dots_of
from tidegate.schemas import Collection, TidegateError, decode, encode
from tidegate.schemas.replica import DocumentsWritten, ReplicaFault, WriteDocuments
from tidegate.schemas.subjects import HUB, replica_request
from tidegate.sync.database import StoreMissingError

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
FEW, MANY = 8, 150
"""Documents of a collection: few, so that several edit them at once, and make them again; many in `news`."""
MARKERS = {"internal": "only-at-hub", "pair": "only-at-pair"}
"""What every document of these has in its id and its text, by which it is found where it may not be."""
ANSWERED_WITHIN_S = 10.0
Requests = list[list[Attempt]]


class ChaosEdits:
    """Draws edits and asks for them. `gone` is set for a domain while what is asked there is not answered any more."""

    def __init__(self, domains: Domains, dice: random.Random) -> None:
        self.domains, self.dice = domains, dice
        self.written = Written()
        self.gone = {name: asyncio.Event() for name in domains.names}

    def draw(self, domain: str, most: int) -> Requests:
        """Requests of a domain, each of one collection, with other documents in each."""
        writable = [each.name for each in SHARED if may_write(each, domain)]
        own = INTERNAL.name if domain == HUB else LOCAL.name
        requests: Requests = []
        for collection in self.dice.sample([*writable, own], self.dice.choice((1, 2, 3))):
            documents = MANY if collection == "news" else FEW
            chosen = self.dice.sample(range(documents), min(documents, 1 + self.dice.randrange(most)))
            requests.append([self._draw_one(domain, collection, number) for number in chosen])
        return requests

    async def ask(self, domain: str, requests: Requests) -> None:
        """Ask for all of them at once, and return when each is answered, or will not be."""
        await asyncio.gather(*(self._ask(domain, attempts) for attempts in requests))

    def _draw_one(self, domain: str, collection: str, document: int) -> Attempt:
        marker = f"only-at-{domain}" if collection == LOCAL.name else MARKERS.get(collection, collection)
        number = self.written.next_number()
        return Attempt(
            number=number,
            domain=domain,
            collection=collection,
            document_id=f"{marker}-d{document}",
            token=f"{marker}-{number}-{self.dice.randrange(1 << 40):x}",
            is_deletion=self.dice.random() < 0.25,
        )

    async def _ask(self, domain: str, attempts: Sequence[Attempt]) -> None:
        collection = attempts[0].collection
        with contextlib.suppress(StoreMissingError), self.domains.reading(domain) as reader:
            for each in attempts if collection in reader.collections() else ():
                each.seen = dots_of(reader, collection, each.document_id)
        self.written.attempts += attempts
        written = {
            each.document_id: document(each.token, 3, **{f"m{each.number % 3}": each.token})
            for each in attempts
            if not each.is_deletion
        }
        request = WriteDocuments(
            tenant=TENANT,
            collection=collection,
            documents=written,
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
        gone = asyncio.create_task(self.gone[domain].wait())
        await asyncio.wait((asking, gone), return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not asking.done():
            asking.cancel()
        try:
            reply: DocumentsWritten | ReplicaFault = decode(await asking, DocumentsWritten, ReplicaFault)
        except (TidegateError, asyncio.CancelledError, nats.errors.Error):
            return None
        return reply


def may_hold(collection: Collection, domain: str) -> bool:
    """Whether a shared collection may be at a domain."""
    return domain == HUB or not collection.sites or domain in collection.sites


def may_write(collection: Collection, domain: str) -> bool:
    """Whether a domain may write into a shared collection."""
    return may_hold(collection, domain) and (domain == HUB or collection.sites_write)
