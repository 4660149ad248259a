"""A site's end of attestation over the leaf: it states what runs there, gets a lease, and renews it at half its time.

Without one nothing sensitive is fetched; everything else goes on. Next: lease_link.py, the hub's end;
trust/attestation.py, what is stated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import structlog

from tidegate.brokers.base import CoreClient
from tidegate.schemas.artefact import SiteLease
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.lease import AttestationRequest, LeaseReport, NonceReply, NonceRequest
from tidegate.schemas.subjects import lease_of
from tidegate.schemas.trust import SignedLease
from tidegate.sync.rules.staleness import Now
from tidegate.sync.shells.lease_requests import ask_hub
from tidegate.sync.trust.attestation import SiteStatement, SoftwareRoot, attest
from tidegate.sync.trust.faults import UnknownKeyError
from tidegate.sync.trust.identity import IdentityFile
from tidegate.sync.trust.keyring import Keyring
from tidegate.sync.trust.leases import SiteLeaseRequest, accept_lease
from tidegate.sync.trust.live_keys import LiveKeys
from tidegate.sync.trust.trusted_clock import TrustedClock

RETRY_S = 1.0
MOST_RETRY_S = 30.0
LOOK_EVERY_S = 1.0
log = structlog.get_logger()


class AttestationPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What a site attests itself with. `measure` may take long, and is called in a thread; `epochs` are the critical
    artefacts in force; after `read_keyring` `keyring` is that of the generation that is here."""

    bus: CoreClient
    boot_id: str
    identity: IdentityFile
    keys: LiveKeys
    clock: TrustedClock
    keyring: Callable[[], Keyring]
    read_keyring: Callable[[], Awaitable[None]]
    measure: Callable[[], Mapping[str, str]]
    epochs: Callable[[], Mapping[str, int]]
    now: Callable[[], Now]


class SiteAttester:
    """One site, in one start. `report` is what came of the last attestation."""

    def __init__(self, ports: AttestationPorts) -> None:
        """Raises `NoIdentityError`, `UnreadableError`."""
        self._ports = ports
        self._identity = ports.identity.load()  # and whenever it attests: the disk may be provisioned anew meanwhile
        self._lease: SiteLease | None = None
        self._attesting = asyncio.Lock()
        self._soon = asyncio.Event()
        self.report = LeaseReport(site=self._identity.site, incarnation=self._identity.incarnation)

    @property
    def is_leased(self) -> bool:
        """Whether the lease that the hub granted last is live, by the trusted time."""
        return self._lease is not None and self._left_s(self._lease) > 0.0

    async def attest(self) -> LeaseReport:
        """Ask for a lease now; says why there is none. Whatever was granted before goes on to its end."""
        async with self._attesting:
            try:
                lease, measured = await self._ask()
            except (TidegateError, OSError) as error:
                await self._refused(error)
            else:
                self._lease = lease
                self.report = LeaseReport(
                    site=lease.site,
                    incarnation=lease.incarnation,
                    counter=lease.counter,
                    assurance="software",
                    until_ms=lease.hub_time_ms + lease.lasts_s * 1000,
                    lasts_s=lease.lasts_s,
                    epochs=lease.epochs,
                    measured=dict(measured),
                )
            return self.report

    def renew_soon(self) -> None:
        """Have the next attestation be now: something that is stated has changed."""
        self._soon.set()

    async def keep(self) -> None:
        """Keep a lease, for ever; after a refusal it is tried again, later and later."""
        wait_s = RETRY_S
        while True:
            await self.attest()
            is_refused = bool(self.report.code)
            wait_s = min(2 * wait_s, MOST_RETRY_S) if is_refused else RETRY_S
            lasts_s = self._lease.lasts_s if self._lease else 0
            await self._wait(wait_s if is_refused else max(RETRY_S, lasts_s / 2))

    async def _ask(self) -> tuple[SiteLease, Mapping[str, str]]:
        ports, subject = self._ports, lease_of(self._identity.site)
        self._identity = await asyncio.to_thread(ports.identity.load)
        measured = await asyncio.to_thread(ports.measure)
        nonce = (await ask_hub(ports.bus, subject, NonceRequest(), NonceReply)).nonce
        signer = ports.keys.newest("device", ports.clock.judge(ports.now).trusted_ms)
        counter = await asyncio.to_thread(ports.identity.count)
        statement = SiteStatement(
            site=self._identity.site,
            incarnation=self._identity.incarnation,
            boot_id=ports.boot_id,
            counter=counter,
            nonce=nonce,
            assurance="software",
            epochs=dict(ports.epochs()),
        )
        envelope = attest(SoftwareRoot(signer), statement, dict(measured))
        signed = await ask_hub(ports.bus, subject, AttestationRequest(envelope=envelope), SignedLease)
        asked = SiteLeaseRequest(self._identity.site, ports.boot_id, counter)
        lease = await self._accept(signed, asked)
        ports.clock.tell(lease.hub_time_ms, ports.now, is_live=True)
        return lease, measured

    async def _accept(self, signed: SignedLease, asked: SiteLeaseRequest) -> SiteLease:
        """The lease, if it is the hub's. Its key may be one that a generation brought whose keys are not read yet."""
        ports = self._ports
        trusted_ms = ports.clock.judge(ports.now).trusted_ms
        try:
            return accept_lease(signed, ports.keyring(), asked, trusted_ms)
        except UnknownKeyError:
            await ports.read_keyring()
            return accept_lease(signed, ports.keyring(), asked, trusted_ms)

    async def _refused(self, error: TidegateError | OSError) -> None:
        code = getattr(error, "code", "os_error")
        if code != self.report.code:
            log.warning("no_lease", site=self._identity.site, code=code, reason=str(error))
        self.report = msgspec.structs.replace(
            self.report, code=code, reason=str(error), hint=getattr(error, "hint", "see the reason")
        )

    async def _wait(self, seconds: float) -> None:
        """Return after so long, or when the lease has ended, or when something that is stated has changed."""
        deadline_s = asyncio.get_running_loop().time() + seconds
        was_leased = self.is_leased
        while (left_s := deadline_s - asyncio.get_running_loop().time()) > 0.0:
            try:
                async with asyncio.timeout(min(left_s, LOOK_EVERY_S)):
                    await self._soon.wait()
                    self._soon.clear()
                    return
            except TimeoutError:
                pass
            if was_leased and not self.is_leased:
                return

    def _left_s(self, lease: SiteLease) -> float:
        try:
            trusted_ms = self._ports.clock.judge(self._ports.now).trusted_ms
        except TidegateError:  # no time is known: none is left
            return 0.0
        return lease.lasts_s - (trusted_ms - lease.hub_time_ms) / 1000
