"""The hub's trust while it runs: its repository goes to the sites, leases are granted, critical policies activated.

Promises that what was begun before a crash is ended. Next: trust_site.py, a site's; sync/shells, which it is made of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.objects import JetStreamObjectStore
from tidegate.brokers.process.background import running
from tidegate.schemas.artefact import ActivationVote
from tidegate.schemas.message import Message, decode
from tidegate.schemas.replica import ArtefactPublished, ArtefactStatus, PublishArtefact
from tidegate.schemas.subjects import BUCKETS, HUB, activation_vote, lease_of
from tidegate.schemas.switch import SwitchStatus
from tidegate.schemas.sync import Collection
from tidegate.services.fleet.hub_keys import passphrase_in_environment
from tidegate.services.fleet.machine_clock import open_steady_clock
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.rules.transfers import TransferClass
from tidegate.sync.shells.activation_hub import ActivationCoordinators, ActivationPorts
from tidegate.sync.shells.artefact_publishing import ArtefactPublisher
from tidegate.sync.shells.hub_repository import HubRepository
from tidegate.sync.shells.lease_link import LeasePorts, LeaseServer, RecordedLeases
from tidegate.sync.shells.lease_requests import refusing
from tidegate.sync.shells.machine import running_code
from tidegate.sync.shells.refused_sites import OnRefused, tell_nobody
from tidegate.sync.shells.repository_link import RepositoryUploader, Stores
from tidegate.sync.shells.site_grants import GrantPorts, SiteGrants
from tidegate.sync.shells.snapshot_link import RepositorySnapshots
from tidegate.sync.trust.allowed import CODE, AllowedDigests
from tidegate.sync.trust.authors import KeyringVerifier, ProvenSignatures
from tidegate.sync.trust.live_keys import LiveAuthor, LiveKeys
from tidegate.sync.trust.repository import Repository
from tidegate.sync.trust.site_records import SiteRecord, SiteRecords


class HubTrustPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What the document plane gives to the hub's trust: the collections of all tenants, complete from the first call
    on (what is missing is taken away from the sites)."""

    collections: Callable[[], Sequence[Collection]] = tuple
    activation_timeout_ms: int = 30_000
    """How long a critical policy waits for the sites with a live lease."""
    on_refused: OnRefused = tell_nobody
    """Hears what a site is refused."""


class HubTrust:
    """What others need of it: `signer` and `verifier` of documents, `gate`, which knows who has a lease, and `clock`,
    the time by which all of the hub goes that its sites believe."""

    def __init__(self, settings: Settings, bus: JetStreamBus, ports: HubTrustPorts) -> None:
        """Raises `KeysMissingError`, `PassphraseError`, `UnknownKeyError` where the hub was not provisioned,
        `UnreadableError`, `OSError`."""
        paths = StatePaths(settings)
        self._settings = settings
        self._ports = ports
        self._records = SiteRecords(paths.site_records)
        allowed = AllowedDigests(paths.allowed)
        allowed.allow({CODE: running_code()})
        self.clock = open_steady_clock(paths)
        self.clock.store()
        now_ms = self.clock.now_ms
        keys = LiveKeys(paths.keys, HUB, passphrase_in_environment)
        self.gate = RecordedLeases(self._records)
        proven = ProvenSignatures()
        self.signer = LiveAuthor(keys, now_ms, proven)
        self.verifier = KeyringVerifier(keys.keyring, proven)
        repository = Repository(paths.repository)
        uploader = RepositoryUploader(repository, open_stores(bus), settings.tenants)
        self.repository = HubRepository(repository, keys, uploader, now_ms)
        self.coordinators = ActivationCoordinators(self._activation_ports(paths.trust / "activations", bus))
        self.grants = SiteGrants(self._grant_ports(bus))
        self.leases = LeaseServer(
            LeasePorts(
                keys=keys,
                records=self._records,
                allowed=allowed,
                epochs=self.coordinators.in_force,
                now_ms=now_ms,
                publish_register=self.repository.publish_register,
                lasts_s=settings.sync.lease_lasts_s,
                on_refused=ports.on_refused,
            ),
            self.grants.answer,
        )
        self._publisher = ArtefactPublisher(self.repository, self.coordinators, allowed)

    def snapshots(self, tenant: str) -> RepositorySnapshots:
        """Where snapshots of the tenant's collections are written; a `BlobWriter`."""
        return RepositorySnapshots(self.repository, tenant)

    async def answer_publish(self, asked: PublishArtefact) -> ArtefactPublished:
        """What answers `replica.publish`. Raises as `ArtefactPublisher.publish` does."""
        return await self._publisher.answer(asked)

    def artefacts(self) -> tuple[ArtefactStatus, ...]:
        """What is published. Raises as `Repository.state` does."""
        return self._publisher.status()

    def switches(self) -> tuple[SwitchStatus, ...]:
        """The newest switch of each scope, on or off. Raises as `Repository.state` does."""
        return self._publisher.switches()

    def faults(self) -> tuple[str, ...]:
        """What does not work now, and is tried again."""
        found = (self.clock.fault, self.repository.fault, self.coordinators.fault, self.grants.fault)
        return tuple(fault for fault in found if fault)

    def records(self, tenant: str = "") -> tuple[SiteRecord, ...]:
        """What is known of the sites that serve a tenant, or of all. Raises `UnreadableError`."""
        found = [self._records.load(site) for site in self._records.sites()]
        return tuple(each for each in found if not tenant or tenant in self._tenants_of(each))

    async def answer_vote(self, subject: str, data: bytes) -> Message:
        """What answers `cloud.<site>.vote`. Raises `UnreadableError`, `OtherVoterError`."""
        return await self.coordinators.answer(subject, decode(data, ActivationVote))

    def _tenants_of(self, record: SiteRecord) -> tuple[str, ...]:
        return record.tenants or self._settings.tenants

    def _activation_ports(self, directory: Path, bus: JetStreamBus) -> ActivationPorts:
        return ActivationPorts(
            directory=directory,
            repository=self.repository,
            publisher=bus.publisher,
            leased=lambda tenant: self.gate.leased(tenant, self.clock.now_ms()),
            records=lambda tenant: tuple(each for each in self.records(tenant) if each.is_good),
            timeout_ms=self._ports.activation_timeout_ms,
        )

    def _grant_ports(self, bus: JetStreamBus) -> GrantPorts:
        return GrantPorts(
            bus=bus,
            collections=self._ports.collections,
            sites=lambda: {record.site: self._tenants_of(record) for record in self.records()},
            gate=self.gate,
            now_ms=self.clock.now_ms,
        )


@asynccontextmanager
async def open_hub_trust(settings: Settings, bus: JetStreamBus, ports: HubTrustPorts) -> AsyncIterator[HubTrust]:
    """The hub's trust, with everything that it does by itself, until left. Raises as `HubTrust` does, and what ending
    an activation that was begun before raises."""
    trust = HubTrust(settings, bus, ports)
    await trust.coordinators.recover()
    await bus.respond_by_subject(lease_of("*"), refusing(trust.leases.answer))
    await bus.respond_by_subject(activation_vote("*"), refusing(trust.answer_vote))
    loops = (
        trust.repository.keep(settings.sync.timestamp_every_s),
        trust.repository.keep_tidy(),
        trust.coordinators.keep(),
        trust.grants.keep(),
        trust.clock.keep(),
    )
    async with running(*loops):
        yield trust


def open_stores(bus: JetStreamBus) -> Stores:
    """The object stores of a domain, by bucket."""
    names: tuple[TransferClass, ...] = BUCKETS  # type: ignore[assignment]
    return {name: JetStreamObjectStore(bus.link, bus.publisher, name) for name in names}
