"""The hub's end of attestation over the leaf: nonces, leases, and who has one; the asker is named by the subject.

A lease is stored before it is sent, so that a restart of the hub takes none away. Next: trust/leases.py, which judges;
attestation_link.py, a site's end; site_grants.py, what a lease opens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.lease import AttestationRequest, DownlinkReply, DownlinkRequest, NonceReply, NonceRequest
from tidegate.schemas.message import Message, decode
from tidegate.schemas.subjects import site_of
from tidegate.schemas.trust import SucceedKey
from tidegate.sync.shells.refused_sites import OnRefused, tell_nobody
from tidegate.sync.trust.allowed import CONFIGURATION, MODELS, AllowedDigests
from tidegate.sync.trust.attestation import Assurance, verify_statement
from tidegate.sync.trust.leases import AttestationPolicy, LeaseAuthority, WrongLeaseError
from tidegate.sync.trust.live_keys import LiveKeys
from tidegate.sync.trust.site_records import SiteRecord, SiteRecords, UnknownSiteRecordError
from tidegate.sync.trust.succession import accept_succession

AnswerDownlink = Callable[[str, DownlinkRequest], Awaitable[DownlinkReply]]


class LeasePorts(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub's end stands on. `epochs` are the critical artefacts in force, as `<tenant>/<name>`;
    `publish_register` has all sites know which keys are trusted; `on_refused` hears what a site is refused."""

    keys: LiveKeys
    records: SiteRecords
    allowed: AllowedDigests
    epochs: Callable[[], Mapping[str, int]]
    now_ms: Callable[[], int]
    publish_register: Callable[[], Awaitable[None]]
    lasts_s: int = 300
    assurance: tuple[Assurance, ...] = ("software", "tpm")
    on_refused: OnRefused = tell_nobody


class RecordedLeases:
    """Who has a live lease, by the records of the sites; a `LeaseGate`."""

    def __init__(self, records: SiteRecords) -> None:
        self._records = records

    def is_leased(self, site: str, now_ms: int) -> bool:
        """See `LeaseGate`. A site that was never provisioned has none."""
        record = self._record(site)
        return record is not None and record.is_good and record.leased_from_ms <= now_ms < record.leased_until_ms

    def is_revoked(self, site: str) -> bool:
        """See `LeaseGate`."""
        record = self._record(site)
        return record is not None and bool(record.revoked_at_ms)

    def leased(self, tenant: str, now_ms: int) -> frozenset[str]:
        """The sites that serve the tenant and have a live lease."""
        found = [(site, self._record(site)) for site in self._records.sites()]
        return frozenset(
            site
            for site, record in found
            if record is not None and (not record.tenants or tenant in record.tenants) and self.is_leased(site, now_ms)
        )

    def _record(self, site: str) -> SiteRecord | None:
        try:
            return self._records.load(site)
        except UnknownSiteRecordError:
            return None


class LeaseServer:
    """Answers what sites send under `cloud.<site>.lease`."""

    def __init__(self, ports: LeasePorts, downlink: AnswerDownlink) -> None:
        self._ports = ports
        self._downlink = downlink
        self._authority = LeaseAuthority(ports.keys.newest("device", ports.now_ms()), ports.records, self._policy())

    async def answer(self, subject: str, data: bytes) -> Message:
        """The reply to a site. Raises what `LeaseAuthority.challenge` and `grant`, `accept_succession` and
        publishing raise, `UnreadableError`, and what reading and changing the hub's consumers raises."""
        try:
            return await self._answer(site_of(subject), data)
        except TidegateError as error:
            self._ports.on_refused(site_of(subject), error)
            raise

    async def _answer(self, site: str, data: bytes) -> Message:
        now_ms = self._ports.now_ms()
        asked = decode(data, NonceRequest, AttestationRequest, DownlinkRequest, SucceedKey)
        match asked:
            case NonceRequest():
                return NonceReply(nonce=self._authority.challenge(site, now_ms))
            case AttestationRequest():
                return await asyncio.to_thread(self._grant, site, asked.envelope, now_ms)
        record = self._authority.check_site(site)
        if isinstance(asked, SucceedKey):
            return await self._succeed(record, asked, now_ms)
        return await self._downlink(site, asked)

    async def _succeed(self, record: SiteRecord, asked: SucceedKey, now_ms: int) -> Message:
        admitted = await asyncio.to_thread(accept_succession, self._ports.keys.store, asked, record, now_ms)
        await self._ports.publish_register()
        return admitted

    def _grant(self, site: str, envelope: bytes, now_ms: int) -> Message:
        keyring = self._ports.keys.keyring()
        if (stated := verify_statement(envelope, keyring, now_ms).statement.site) != site:
            raise WrongLeaseError(f"{site} brings a statement of {stated}")
        self._authority.signer = self._ports.keys.newest("device", now_ms)
        self._authority.policy = self._policy()
        return self._authority.grant(envelope, keyring, now_ms)

    def _policy(self) -> AttestationPolicy:
        allowed = self._ports.allowed.all()
        return AttestationPolicy(
            allowed=allowed,
            pinned=frozenset({CONFIGURATION, MODELS}),
            optional=frozenset(name for name in allowed if "/" in name),
            epochs=self._ports.epochs(),
            assurance=self._ports.assurance,
            lasts_s=self._ports.lasts_s,
        )
