"""The sync workers of a hub and its sites as the other party of a command: real stores, authors, relay and repairer of
sync/, which answer on real nats-servers. Only the way between hub and site is short: they are called, not sent to."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from tests.support.sync_parts import NOW, DirectClient, Hub, MemoryBlobs, MemoryLog, Site
from tests.support.sync_party_messages import TENANT, conflicts_of, published_as
from tests.support.trust_hub import TrustHub, publish_bytes
from tidegate.brokers.base import Bus
from tidegate.schemas import (
    REPLICA_REQUESTS,
    ArtefactDescriptor,
    ArtefactStatus,
    Collection,
    CollectionRequest,
    CollectionStatus,
    ConflictList,
    DocumentsWritten,
    Done,
    ImportCollection,
    Message,
    PublishArtefact,
    PutCollection,
    RepairOutcome,
    RepairOutcomes,
    ReplicaFault,
    ReplicaStatus,
    ReplicaVerb,
    ResolveConflict,
    StalenessBudget,
    TidegateError,
    WriteDocuments,
    decode,
    encode,
    subjects,
)
from tidegate.schemas.switch import Switch, SwitchStatus
from tidegate.sync.rules.ownership import may_hold
from tidegate.sync.shells.file_import import FileImport
from tidegate.sync.trust.standing import read_machine_clock
from tidegate.sync.trust.targets import artefacts_in

FILE = f"{TENANT}.sqlite"
LEASE_MS = 300_000
EVERYTHING = CollectionRequest()


class SyncParty:
    """Answers for one domain. `requests` are those that came, by verb; `writing` is what the domain writes with."""

    def __init__(self, member: Hub | Site, trust: TrustHub | None = None) -> None:
        self.member = member
        self.trust = trust
        self.domain = member.store.domain
        self.requests: list[tuple[ReplicaVerb, Message]] = []
        self.is_indexed = True
        self.epochs: dict[tuple[str, str], tuple[int, int]] = {}
        """Of a site: which epoch of an artefact is in force, and which one is offered."""
        self.rung: Any = "full"
        self.followed: SyncParty | None = None
        """Of a site: the hub that it comes up to, collections and artefacts, whenever it is asked for its status."""
        self.may_publish = asyncio.Event()
        self.may_publish.set()
        self._lock = (member.path / "lock").open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._answers: dict[ReplicaVerb, Callable[[Any], Any]] = {
            "write": self.write,
            "collection": self.collection,
            "status": self.status,
            "conflicts": self.conflicts,
            "resolve": self.resolve,
            "verify": self.verify,
            "repair": self.repair,
            "snapshot": self.snapshot,
            "publish": self.publish,
            "import": self.import_file,
        }

    async def serve(self, bus: Bus) -> None:
        """Answer every verb until the bus closes."""
        for verb in self._answers:
            await bus.respond(subjects.replica_request(verb), partial(self._answer, verb))

    def close(self) -> None:
        """Give the stores back, as a worker that ends."""
        self.member.store.close()
        self._lock.close()

    async def _answer(self, verb: ReplicaVerb, data: bytes) -> bytes:
        request = decode(data, REPLICA_REQUESTS[verb][0])
        self.requests.append((verb, request))
        try:
            return encode(await self._answers[verb](request))
        except TidegateError as error:
            return encode(ReplicaFault(code=error.code, reason=error.reason, hint=error.hint))

    async def write(self, request: WriteDocuments) -> Message:
        written = self.member.author.write_all(request.collection, request.documents, NOW)
        deleted = [self.member.author.delete(request.collection, each, NOW) for each in request.deleted]
        await self._relay()
        dots = {each.operation.document_id: each.operation.dot for each in (*written, *filter(None, deleted))}
        return DocumentsWritten(tenant=request.tenant, collection=request.collection, dots=dots)

    async def collection(self, request: PutCollection) -> Message:
        self.member.store.put_collection(request.collection)
        return Done()

    async def status(self, request: CollectionRequest) -> Message:
        if self.followed is not None:
            await self._come_up_to(self.followed)
        names = self.names(request)
        artefacts = self._published() if isinstance(self.member, Hub) else self._activated()
        return ReplicaStatus(
            domain=self.domain,
            boot_id="00ff" * 4,
            collections=tuple(map(self._collection_status, names)),
            artefacts=tuple(artefacts),
            rung=self.rung,
            rung_reason="" if self.rung == "full" else "the policy default is 2 days old",
            lease_until_ms=0 if isinstance(self.member, Hub) else NOW + LEASE_MS,
            assurance="software",
            trusted_ms=NOW,
            switches=tuple(
                SwitchStatus(switch=each.switch, epoch=each.epoch)
                for each in (
                    self._descriptors() if self.trust else self.followed._descriptors() if self.followed else ()
                )
                if each.switch
            ),
        )

    async def conflicts(self, request: CollectionRequest) -> Message:
        return ConflictList(
            conflicts=tuple(each for name in self.names(request) for each in conflicts_of(self.member.store, name))
        )

    async def resolve(self, request: ResolveConflict) -> Message:
        kept = None
        if request.keep is not None:
            with self.member.store.reading() as reader:
                versions = reader.held(request.collection, request.document_id).siblings.versions
            [kept] = [each.operation.content for each in versions if each.operation.dot == request.keep]
        documents = {} if kept is None else {request.document_id: kept}
        deleted = (request.document_id,) if kept is None else ()
        return await self.write(
            WriteDocuments(tenant=request.tenant, collection=request.collection, documents=documents, deleted=deleted)
        )

    async def verify(self, request: CollectionRequest) -> Message:
        outcomes = []
        for name in self.names(request):
            damaged = self.member.store.scrub(name)
            outcomes.append(
                RepairOutcome(tenant=TENANT, collection=name, documents={"disk": damaged} if damaged else {})
            )
        return RepairOutcomes(outcomes=tuple(outcomes))

    async def repair(self, request: CollectionRequest) -> Message:
        assert isinstance(self.member, Site)
        outcomes = []
        for name in self.names(request):
            self.member.store.scrub(name)
            found = await self.member.repairer.repair(name)
            documents: dict[str, tuple[str, ...]] = dict(found.documents.items())
            outcomes.append(
                RepairOutcome(
                    tenant=TENANT, collection=name, documents=documents, bytes_on_wire=found.bytes_on_wire, at_ms=NOW
                )
            )
        return RepairOutcomes(outcomes=tuple(outcomes))

    async def snapshot(self, request: CollectionRequest) -> Message:
        assert isinstance(self.member, Hub)
        await self.member.snapshot(request.collection)
        return Done()

    async def publish(self, request: PublishArtefact) -> Message:
        assert self.trust is not None
        await self.may_publish.wait()
        data = await asyncio.to_thread(Path(request.path).read_bytes)
        digest = sha256(data).hexdigest()
        known = {f"{each.kind}/{each.name}": each for each in self._descriptors()}
        before = known.get(f"{request.kind}/{request.name}")
        if before is not None and before.digest == digest:
            return published_as(before, is_new=False)
        artefact = ArtefactDescriptor(
            tenant=request.tenant,
            kind=request.kind,  # type: ignore[arg-type]
            name=request.name,
            digest=digest,
            size=len(data),
            epoch=before.epoch + 1 if before else 1,
            budget=StalenessBudget(soft_s=request.soft_s, hard_s=request.hard_s, at_hard=request.at_hard),
            is_critical=request.is_critical,
            base_digests=request.base_digests,
            switch=msgspec.json.decode(data, type=Switch) if request.kind == "switch" else None,
        )
        publish_bytes(self.trust.repository, artefact, data, self.trust.signers(), NOW)
        return published_as(artefact)

    async def import_file(self, request: ImportCollection) -> Message:
        importing = FileImport({TENANT: self.member.store}, self.member.path.parent / "trust", read_machine_clock)
        return await importing.answer(encode(request))

    async def _come_up_to(self, hub: SyncParty) -> None:
        assert isinstance(self.member, Site)
        for name in hub.names():
            rules = hub.member.store.record(name).collection
            if rules.owner == "shared" and may_hold(rules, self.domain):
                if name not in self.names():
                    self.member.join(rules)
                await self.member.follower.follow(name)
        self.epochs = {(each.kind, each.name): (each.epoch, each.epoch) for each in hub._published()}

    async def _relay(self) -> None:
        if isinstance(self.member, Hub):
            await self.member.relay.take_own(NOW)

    def names(self, request: CollectionRequest = EVERYTHING) -> tuple[str, ...]:
        with self.member.store.reading() as reader:
            return tuple(each for each in reader.collections() if request.collection in ("", each))

    def _collection_status(self, name: str) -> CollectionStatus:
        with self.member.store.reading() as reader:
            record = reader.record(name)
            pending = len(reader.pending_documents(name))
        position = record.replica.position
        generation = record.generation
        return CollectionStatus(
            tenant=TENANT,
            collection=name,
            owner=record.collection.owner,
            state=record.replica.state,
            position=str(position or ""),
            head=str(position or ""),
            known_at_ms=NOW - 2_000,
            fresh_within_s=record.collection.fresh_within_s,
            documents=record.documents,
            generation=generation,
            indexed_generation=generation if self.is_indexed else 0,
            checksum=record.checksum.digest,
            conflicts=len(conflicts_of(self.member.store, name)),
            pending=pending,
        )

    def _descriptors(self) -> tuple[ArtefactDescriptor, ...]:
        assert self.trust is not None
        return tuple(artefacts_in(self.trust.repository.state().targets.targets).values())

    def _published(self) -> Iterable[ArtefactStatus]:
        if self.trust is None:
            return ()
        return (
            ArtefactStatus(
                tenant=each.tenant, kind=each.kind, name=each.name, epoch=each.epoch, offered=each.epoch,
                digest=each.digest, size=each.size, is_critical=each.is_critical,
            )
            for each in self._descriptors()
        )  # fmt: skip

    def _activated(self) -> Iterable[ArtefactStatus]:
        return (
            ArtefactStatus(tenant=TENANT, kind=kind, name=name, epoch=epoch, offered=offered, current_at_ms=NOW - 2_000)
            for (kind, name), (epoch, offered) in self.epochs.items()
        )


def hub_party(directory: Path, trust: TrustHub | None = None) -> SyncParty:
    """The hub's sync worker, whose stores lie in `directory`; with `trust` it publishes artefacts."""
    return SyncParty(Hub(directory, MemoryLog(), MemoryBlobs(), file=FILE), trust)


def site_party(directory: Path, name: str, hub: SyncParty, *collections: Collection) -> SyncParty:
    """A site's, with a lease, which knows of these collections."""
    assert isinstance(hub.member, Hub)
    site = Site(directory, name, DirectClient(hub.member, name), file=FILE)
    for collection in collections:
        site.join(collection)
    return SyncParty(site)
