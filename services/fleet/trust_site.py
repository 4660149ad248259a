"""A site's trust while it runs: believes the hub's repository, attests itself, takes part in activations, and ages.

Promises that what is in force goes on, whatever of this fails. Next: trust_hub.py, the hub's; sync/shells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.process.background import running
from tidegate.schemas.artefact import ArtefactDescriptor
from tidegate.schemas.message import encode
from tidegate.schemas.replica import ArtefactStatus
from tidegate.schemas.subjects import replica_request
from tidegate.services.fleet.hub_keys import new_passphrase_in_environment, passphrase_in_environment
from tidegate.services.fleet.machine_clock import open_steady_clock
from tidegate.services.fleet.measured import measure_settings
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.trust_hub import open_stores
from tidegate.services.settings import Settings
from tidegate.sync.rules.staleness import HeldArtefact, Standing, TimeJudgement, standing
from tidegate.sync.shells.activation_feed import ActivationFeed
from tidegate.sync.shells.activation_site import ActivationParticipants, CheckArtefact, ParticipantPorts
from tidegate.sync.shells.artefact_sync import ArtefactPorts, ArtefactSync
from tidegate.sync.shells.attestation_link import AttestationPorts, SiteAttester
from tidegate.sync.shells.downlink_link import DownlinkFollower
from tidegate.sync.shells.key_rotation import RotationPorts, SiteKeyRotation
from tidegate.sync.shells.machine import Measures, running_code
from tidegate.sync.shells.refused_sites import OnRefused, tell_nobody
from tidegate.sync.shells.repository_link import ObjectSource, Stores
from tidegate.sync.shells.snapshot_link import TargetSnapshots
from tidegate.sync.shells.switch_sync import SwitchPorts, SwitchSync
from tidegate.sync.trust.allowed import CODE, CONFIGURATION, MODELS, measurement_of
from tidegate.sync.trust.authors import KeyringVerifier, ProvenSignatures
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.holdings import Holdings
from tidegate.sync.trust.identity import IdentityFile
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.live_keys import LiveAuthor, LiveKeys
from tidegate.sync.trust.standing import read_machine_clock
from tidegate.sync.trust.switches import write_switches


async def apply_nothing(tenant: str) -> None:
    """There are no readers here."""


class SiteTrustPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What a site's trust hands on. `activate` has readers get what is in force of a tenant, `write_standing` keeps for
    them how old it is; `check` refuses an artefact that this site could not use; `on_refused` hears what is
    refused."""

    boot_id: str
    activate: Callable[[str], Awaitable[None]] = apply_nothing
    write_standing: Callable[[tuple[HeldArtefact, ...], TimeJudgement], None] = lambda _held, _time: None
    check: CheckArtefact = lambda _artefact, _file: None
    on_refused: OnRefused = tell_nobody


class SiteTrust:
    """What others need of it: `signer` and `verifier` of documents, `identity`, `artefacts`, `attester`."""

    def __init__(self, settings: Settings, bus: JetStreamBus, ports: SiteTrustPorts) -> None:
        """Raises `NoIdentityError`, `KeysMissingError`, `PassphraseError` where the site was not provisioned,
        `UnreadableError`, `OSError`."""
        paths = StatePaths(settings)
        self._settings = settings
        self._models = Path(paths.models)
        self._measures = Measures()
        file = IdentityFile(paths.trust)
        self.identity = file.load()
        keys = LiveKeys(paths.keys, settings.site, passphrase_in_environment)
        proven = ProvenSignatures()
        self.clock = open_steady_clock(paths)
        self.clock.store()
        self.signer = LiveAuthor(keys, self.clock.now_ms, proven)
        stores = open_stores(bus)
        self._source = ObjectSource(stores, settings.tenants)
        self.client = RepositoryClient(paths.trust, self._source)
        self._holdings = Holdings(paths.trust, self.client.blobs, lambda: [self._measures.digest(self._models)])
        self.artefacts = ArtefactSync(self._artefact_ports(stores, ports), keys.keyring())
        self.switches = SwitchSync(self._switch_ports(stores, paths.trust))
        self.verifier = KeyringVerifier(lambda: self.artefacts.keyring, proven)
        self.attester = SiteAttester(self._attestation_ports(bus, file, keys, ports))
        self.rotation = SiteKeyRotation(self._rotation_ports(bus, file, keys), self.attester.renew_soon)
        self.downlink = DownlinkFollower(
            bus, settings.sync, paths.trust / "granted.msgpack", lambda: self.artefacts.waits_for_weights
        )
        activations = paths.trust / "activations"
        self.participants = ActivationParticipants(self._participant_ports(bus, activations, ports.check))
        self.feed = ActivationFeed(bus.link, settings.tenants, self.participants)

    @property
    def is_leased(self) -> bool:
        """Whether what is sensitive may be fetched now."""
        return self.attester.is_leased

    def snapshots(self, tenant: str) -> TargetSnapshots:
        """The snapshots of the tenant's collections, as they are here."""
        return TargetSnapshots(self.client, self._source, tenant)

    def status(self) -> tuple[ArtefactStatus, ...]:
        """What is in force, and what is offered. Raises `UnreadableError`."""
        return self.artefacts.status()

    def standing(self) -> Standing:
        """The rung that the site is on, by what is in force. Raises `TimeWentBackError`, `UnreadableError`."""
        time = self.client.clock.judge(read_machine_clock)
        return standing(self._holdings.held(), time, is_linked=not self.downlink.fault)

    def trusted_ms(self) -> int:
        """The time that counts here. Raises as `standing` does."""
        return self.client.clock.judge(read_machine_clock).trusted_ms

    def faults(self) -> tuple[str, ...]:
        """What does not work now, and is tried again."""
        named = [f"{path}: {why}" for path, why in sorted(self.artefacts.faults.items())]
        lease = self.attester.report.reason if self.attester.report.code else ""
        switches = self.switches.fault if self.switches.fault != self.artefacts.fault else ""
        found = (self.clock.fault, self.artefacts.fault, switches, self.downlink.fault, lease, *named)
        return tuple(fault for fault in found if fault)

    async def answer_attest(self, _: bytes) -> bytes:
        """What answers `replica.attest`: a `LeaseReport`."""
        return encode(await self.attester.attest())

    def _rotation_ports(self, bus: JetStreamBus, file: IdentityFile, keys: LiveKeys) -> RotationPorts:
        return RotationPorts(
            bus=bus,
            identity=file,
            keys=keys,
            waiting=KeyStore(StatePaths(self._settings).trust / "next-keys"),
            now_ms=self.trusted_ms,
            passphrases=passphrase_in_environment,
            new_passphrase=new_passphrase_in_environment,
        )

    def _artefact_ports(self, stores: Stores, ports: SiteTrustPorts) -> ArtefactPorts:
        return ArtefactPorts(
            client=self.client,
            holdings=self._holdings,
            stores=stores,
            tenants=self._settings.tenants,
            activate=ports.activate,
            write_standing=ports.write_standing,
            now=read_machine_clock,
            activated=self._on_activated,
            on_refused=ports.on_refused,
        )

    def _switch_ports(self, stores: Stores, directory: Path) -> SwitchPorts:
        return SwitchPorts(
            client=self.client,
            holdings=self._holdings,
            stores=stores,
            tenants=self._settings.tenants,
            write=partial(write_switches, directory),
            now=read_machine_clock,
            refreshed=self.artefacts.read_keyring,
        )

    def _participant_ports(self, bus: JetStreamBus, directory: Path, check: CheckArtefact) -> ParticipantPorts:
        return ParticipantPorts(
            bus=bus,
            site=self._settings.site,
            directory=directory,
            client=self.client,
            holdings=self._holdings,
            now=read_machine_clock,
            committed=self.artefacts.sync_soon,
            check=check,
        )

    def _attestation_ports(
        self, bus: JetStreamBus, file: IdentityFile, keys: LiveKeys, ports: SiteTrustPorts
    ) -> AttestationPorts:
        return AttestationPorts(
            bus=bus,
            boot_id=ports.boot_id,
            identity=file,
            keys=keys,
            clock=self.client.clock,
            keyring=lambda: self.artefacts.keyring,
            read_keyring=self.artefacts.read_keyring,
            measure=self._measure,
            epochs=self._epochs,
            now=read_machine_clock,
        )

    def _measure(self) -> dict[str, str]:
        """What is stated: the code of this process, the settings that decide answers, models, policies in force."""
        policies = {
            measurement_of(each.artefact): self._holdings.verified(each.artefact).name
            for each in self._holdings.activated().values()
            if each.artefact.kind == "policy"
        }
        return {
            CODE: running_code(),
            CONFIGURATION: measure_settings(self._settings),
            MODELS: self._measures.digest(self._models),
            **policies,
        }

    def _epochs(self) -> dict[str, int]:
        held = [each.artefact for each in self._holdings.activated().values() if each.artefact.kind == "policy"]
        return {f"{artefact.tenant}/{artefact.name}": artefact.epoch for artefact in held}

    def _on_activated(self, artefact: ArtefactDescriptor) -> None:
        if artefact.is_critical:
            self.attester.renew_soon()


@asynccontextmanager
async def open_site_trust(settings: Settings, bus: JetStreamBus, ports: SiteTrustPorts) -> AsyncIterator[SiteTrust]:
    """The site's trust, with everything that it does by itself, until left. Raises as `SiteTrust` does."""
    trust = SiteTrust(settings, bus, ports)
    await bus.respond(replica_request("attest"), trust.answer_attest)
    await bus.respond(replica_request("rotate"), trust.rotation.answer)
    loops = (
        trust.artefacts.keep(),
        trust.switches.keep(),
        trust.attester.keep(),
        trust.downlink.keep(),
        trust.feed.keep(),
        trust.clock.keep(),
    )
    try:
        async with running(*loops):
            yield trust
    finally:
        await trust.participants.close()
