"""What the worker of any domain, hub or site, can be asked to do with its replicas, whichever of the two it is.

Next: local_endpoints.py, who asks; hub_shell.py and site_shell.py, which do it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from tidegate.schemas.audit import AuditEvent
from tidegate.schemas.message import Message
from tidegate.schemas.replica import ReplicaStatus
from tidegate.schemas.sync import Collection, DocumentContent
from tidegate.sync.rules.drift import RepairReport
from tidegate.sync.rules.merge import Version
from tidegate.sync.shells.faults import Faults
from tidegate.sync.signing import SignatureVerifier, Signer
from tidegate.sync.store import ReplicaStore

OnChanged = Callable[[str, str], None]
"""Called with a tenant and a collection whose documents may have changed; it must not wait."""
StatusExtension = Callable[[ReplicaStatus], Awaitable[ReplicaStatus]]
"""Adds to a status what this folder does not know: artefacts, the rung, the lease."""


class IndexLegs(Protocol):
    """What the index is made of, compared with the documents; see `services/knowledge`."""

    def generation(self, tenant: str, collection: str) -> int:
        """The generation of the store that the index is at."""

    async def compare(self, tenant: str, collection: str, is_repair: bool) -> Mapping[str, tuple[str, ...]]:
        """The documents of which a leg holds something else than the store, by leg; repaired where it is asked."""


class DomainTenant(Protocol):
    """One tenant, as both kinds of domains have it."""

    name: str
    store: ReplicaStore

    def collections(self) -> dict[str, Collection]:
        """All collections with their rules."""

    async def write(
        self, collection: str, documents: Mapping[str, DocumentContent | None], now_ms: int
    ) -> tuple[Version, ...]:
        """Write as the domain: all or none; None deletes."""


class ReplicaDomain(Protocol):
    """The replicas of one domain."""

    domain: str
    faults: Faults

    @property
    def tenants(self) -> Mapping[str, DomainTenant]:
        """Its tenants, by name."""

    def now_ms(self) -> int:
        """The time by which is written: the hub's, as far as it is known here."""

    async def written(self, tenant: str) -> None:
        """Something was written: it is sent on its way, and told."""

    async def put_collection(self, collection: Collection) -> None:
        """Have a collection. Raises `NotOwnedError`, and for a changed owner `OwnerChangedError`."""

    async def check(self, tenant: str, collection: str, *, is_repair: bool, is_read_back: bool) -> RepairReport:
        """Compare, and repair where it is asked; first read every document back from the disk where that is asked."""

    async def snapshot(self, tenant: str, collection: str) -> None:
        """Write a snapshot."""


class DomainParts(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is given beside its stores, by those who make it. All of it may be missing.

    `on_changed` follows the documents, `legs` compares the index with them, `extend_status` adds to the status,
    `refresh_trust` gets the keys anew where a signature is of one that is not known, `answers` are those to more verbs
    of `replica.<verb>`, by verb, and `report` keeps for the audit log what was repaired, decided or fenced. `on_taken`
    hears how many messages were taken from a stream at once, and whether they are stored yet; it must not wait.
    """

    on_changed: OnChanged = lambda _tenant, _collection: None
    on_taken: Callable[[int, bool], None] = lambda _messages, _is_settled: None
    legs: IndexLegs | None = None
    extend_status: StatusExtension | None = None
    refresh_trust: Callable[[], Awaitable[None]] | None = None
    answers: Mapping[str, Callable[[bytes], Awaitable[Message]]] = {}
    report: Callable[[AuditEvent], None] = lambda _: None


class SyncOpening(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker of either kind is opened with: the stores of its tenants, which it alone writes, its keys, its
    clock (milliseconds since 1970) and its parts. `code_version` is what made what is held, for the cause of a drift.
    """

    stores: Mapping[str, ReplicaStore]
    signer: Signer
    verifier: SignatureVerifier
    clock: Callable[[], int]
    parts: DomainParts = DomainParts()
    code_version: str = ""


class ChangeWatch:
    """Calls `on_changed` for each collection whose documents have changed since the last look, or may be read now and
    might not then: a replica that has become whole has documents of a generation that was seen already."""

    def __init__(self, on_changed: OnChanged) -> None:
        self._on_changed = on_changed
        self._seen: dict[tuple[str, str], tuple[int, bool]] = {}

    def look(self, tenant: str, store: ReplicaStore) -> None:
        """Look at all collections of a tenant; the first time each of them has changed."""
        with store.reading() as reader:
            now = {name: (reader.record(name).generation, reader.is_served(name)) for name in reader.collections()}
        for name, seen in now.items():
            if self._seen.get((tenant, name)) != seen:
                self._seen[tenant, name] = seen
                self._on_changed(tenant, name)
