"""The hub's side of attestation: short leases for sites that have shown what they run, and none for any other.

1. A nonce is answered once, in time, and by the site that it was made for.
2. A site's counter only grows, in one history: a clone or a restored backup fences the site until it begins anew.
3. A revocation is final: no lease of that incarnation is granted again, and none that was is live.
4. The record of a site is stored before its lease is sent, so that a restart of the hub forgets nothing of it.

Next: attestation.py, the site's side; sync/rules/counters.py, which finds the clone; site_records.py."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import msgspec
from securesystemslib.signer import CryptoSigner

from tidegate.schemas.artefact import SiteLease
from tidegate.schemas.message import decode, encode
from tidegate.schemas.trust import SignedLease
from tidegate.sync.rules.counters import CountedEvent, CounterWentBackError, judge, observe
from tidegate.sync.trust.attestation import Assurance, VerifiedStatement, verify_statement
from tidegate.sync.trust.faults import TrustError
from tidegate.sync.trust.keyring import Keyring, sign_bytes
from tidegate.sync.trust.site_records import RevokedSiteError, SiteRecord, SiteRecords

PURPOSE = b"tidegate/site-lease/v1"
HUB = "hub"


class StaleNonceError(TrustError):
    """The nonce is not one that this hub gave to this site lately, or it was answered before: a replay."""

    hint = "ask the hub for a new nonce, and attest again"


class ClonedSiteError(TrustError):
    """The site has two histories: its disk was cloned, or a backup of it was restored."""

    hint = "`tidegate site add` provisions the site anew, as its next incarnation; find the other machine"


class UnexpectedDigestError(TrustError):
    """The site runs something else than what the hub allows, or does not say what it runs."""

    hint = (
        "models, settings: `tidegate site accept SITE` at the hub, if they are as they should be; code: upgrade the hub"
    )


class LowAssuranceError(TrustError):
    """The site's root of trust is weaker than the hub asks for."""

    hint = "provision the site with a hardware root, or allow `assurance: software` at the hub"


class BehindEpochError(TrustError):
    """The site has not activated a critical artefact that is in force."""

    hint = "let the site fetch and activate it; then attest again"


class WrongLeaseError(TrustError):
    """The lease is another site's, of another start, or not the newest one."""

    hint = "attest again: a lease is good for one site, in one start, until the next one"


class AttestationPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub asks of a site. `allowed`: for each measurement the digests that may be. One that is not here is
    refused, unless its first word is in `pinned`: then it has to stay what the site stated first. One that is here and
    that the site does not state is refused, unless it is in `optional`. `epochs`: the critical artefacts in force, as
    `<tenant>/<name>`."""

    allowed: Mapping[str, frozenset[str]]
    pinned: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    epochs: Mapping[str, int] = {}
    assurance: tuple[Assurance, ...] = ("software", "tpm")
    lasts_s: int = 300
    nonce_lasts_s: int = 30

    def of(self, record: SiteRecord) -> AttestationPolicy:
        """What is asked of one site: nothing of tenants that it does not serve."""
        if not record.tenants:
            return self
        epochs = {name: epoch for name, epoch in self.epochs.items() if name.partition("/")[0] in record.tenants}
        return msgspec.structs.replace(self, epochs=epochs)


class LeaseAuthority:
    """Grants the leases of one hub. Nonces are kept in memory: after a restart a site asks again.

    `signer` is the device key of the hub; it and the policy may be exchanged.
    """

    def __init__(self, signer: CryptoSigner, records: SiteRecords, policy: AttestationPolicy) -> None:
        self.signer = signer
        self.policy = policy
        self._records = records
        self._nonces: dict[str, tuple[str, int]] = {}

    def challenge(self, site: str, now_ms: int) -> str:
        """A nonce for a site to attest with, once and soon. Raises `UnknownSiteRecordError`, `RevokedSiteError`."""
        self.check_site(site)
        self._nonces = {nonce: held for nonce, held in self._nonces.items() if held[1] > now_ms and held[0] != site}
        nonce = secrets.token_hex(32)
        self._nonces[nonce] = (site, now_ms + self.policy.nonce_lasts_s * 1000)
        return nonce

    def grant(self, envelope: bytes, keyring: Keyring, now_ms: int) -> SignedLease:
        """A lease for the site whose statement this is.

        Raises what `verify_statement` does, and `StaleNonceError`, `UnknownSiteRecordError`, `RevokedSiteError`,
        `ClonedSiteError`, `UnexpectedDigestError`, `LowAssuranceError`, `BehindEpochError`, `OSError`.
        """
        verified = verify_statement(envelope, keyring, now_ms)
        with self._records.changing():
            lease = self._grant(verified, now_ms)
        return sign_lease(lease, self.signer)

    def _grant(self, verified: VerifiedStatement, now_ms: int) -> SiteLease:
        statement = verified.statement
        record = self.check_site(statement.site)
        if statement.incarnation != record.incarnation or verified.key_id in record.former_keys:
            raise ClonedSiteError(f"{statement.site} was provisioned anew since: this is what it was before")
        self._use_nonce(statement.nonce, statement.site, now_ms)
        record = self._observe(record, verified, now_ms)
        policy = self.policy.of(record)
        pinned = check_policy(verified, policy, record.pinned)
        lease = SiteLease(
            site=statement.site,
            boot_id=statement.boot_id,
            counter=statement.counter,
            incarnation=statement.incarnation,
            lasts_s=self.policy.lasts_s,
            hub_time_ms=now_ms,
            epochs=dict(policy.epochs),
        )
        self._records.store(
            msgspec.structs.replace(
                record,
                device_key=verified.key_id,
                pinned=pinned,
                lease_counter=statement.counter,
                leased_from_ms=now_ms,
                leased_until_ms=now_ms + self.policy.lasts_s * 1000,
            )
        )
        return lease

    def check_site(self, site: str) -> SiteRecord:
        """What is known of a site that is believed. Raises `UnknownSiteRecordError`, `RevokedSiteError`,
        `ClonedSiteError`."""
        record = self._records.load(site)
        if record.revoked_at_ms:
            raise RevokedSiteError(f"{site} was revoked: {record.reason or 'no reason is known'}")
        if record.fenced:
            raise ClonedSiteError(f"{site} is fenced: {record.fenced}")
        return record

    def _use_nonce(self, nonce: str, site: str, now_ms: int) -> None:
        """Raises `StaleNonceError`. It is used up by whoever can sign as a site, so that nobody else can burn it."""
        owner, ends_ms = self._nonces.get(nonce, ("", 0))
        if owner != site:
            raise StaleNonceError(f"{site} answers a nonce that it was not given, or has answered already")
        del self._nonces[nonce]
        if now_ms >= ends_ms:
            raise StaleNonceError(f"{site} answers a nonce {(now_ms - ends_ms) // 1000} s after its time")

    def _observe(self, record: SiteRecord, verified: VerifiedStatement, now_ms: int) -> SiteRecord:
        """The record with this statement; fenced, and stored so, where the site turns out to be two."""
        statement = verified.statement
        event = CountedEvent(
            actor=f"{statement.site}@{statement.incarnation}",
            counter=statement.counter,
            boot_id=statement.boot_id,
            digest=verified.digest,
        )
        try:
            if judge(record.mark, event, is_whole=False) == "duplicate":
                raise CounterWentBackError(f"{event.actor} counts {event.counter} again")
            record = msgspec.structs.replace(record, mark=observe(record.mark, event, is_whole=False))
        except CounterWentBackError as error:
            self._records.store(msgspec.structs.replace(record, fenced=error.reason))
            raise ClonedSiteError(error.reason) from error
        known = record.epochs
        since = {
            name: record.activated_at_ms.get(name, now_ms) if known.get(name) == epoch else now_ms
            for name, epoch in statement.epochs.items()
        }
        record = msgspec.structs.replace(record, epochs=dict(statement.epochs), activated_at_ms=since)
        self._records.store(record)
        return record


def revoke_site(records: SiteRecords, site: str, now_ms: int, reason: str = "") -> SiteRecord:
    """End what this incarnation of a site may read, for ever; the first time and reason stay. Raises
    `UnknownSiteRecordError`, `UnreadableError`, `OSError`."""
    records.load(site)  # before anything is made for the lock
    with records.changing():
        record = records.load(site)
        if not record.revoked_at_ms:
            record = msgspec.structs.replace(record, revoked_at_ms=max(1, now_ms), reason=reason)
            records.store(record)
        return record


def unpin_site(records: SiteRecords, site: str) -> SiteRecord:
    """Take what a site states next for what it has to state from then on. Raises as `revoke_site` does."""
    records.load(site)  # before anything is made for the lock
    with records.changing():
        record = msgspec.structs.replace(records.load(site), pinned={})
        records.store(record)
        return record


def check_policy(
    verified: VerifiedStatement, policy: AttestationPolicy, pinned: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The digests that the site has to state again. Raises `LowAssuranceError`, `UnexpectedDigestError`,
    `BehindEpochError` where it is not as the hub asks."""
    statement, measured = verified.statement, verified.measurements
    if statement.assurance not in policy.assurance:
        raise LowAssuranceError(f"{statement.site} has `assurance: {statement.assurance}`")
    kept = dict(pinned or {})
    for name in sorted({*measured, *kept, *(policy.allowed.keys() - policy.optional)}):
        if name not in measured:
            raise UnexpectedDigestError(f"{statement.site} does not say which {name} it runs")
        if name not in policy.allowed and name.partition("/")[0] in policy.pinned:
            kept.setdefault(name, measured[name])
        if measured[name] not in policy.allowed.get(name, ()) and measured[name] != kept.get(name):
            raise UnexpectedDigestError(f"{statement.site} runs {name} {measured[name]}, which is not allowed")
    for name, epoch in sorted(policy.epochs.items()):
        if statement.epochs.get(name, 0) < epoch:
            raise BehindEpochError(
                f"{statement.site} is at epoch {statement.epochs.get(name, 0)} of {name}, not {epoch}"
            )
    return kept


def sign_lease(lease: SiteLease, signer: CryptoSigner) -> SignedLease:
    """The lease as the hub signs it."""
    payload = encode(lease)
    return SignedLease(payload=payload, signer=signer.public_key.keyid, signature=sign_bytes(signer, PURPOSE, payload))


def verify_lease(signed: SignedLease, keyring: Keyring, at_ms: int) -> SiteLease:
    """The lease, which a device key of the hub has signed. Raises `UnreadableError`, `UnknownKeyError`,
    `WrongKeyError`, `RevokedKeyError`, `ExpiredKeyError`, `BadSignatureError`."""
    key = keyring.find(signed.signer, "device", HUB, at_ms)
    keyring.check(key, PURPOSE, signed.payload, signed.signature)
    return decode(signed.payload, SiteLease)


def accept_lease(signed: SignedLease, keyring: Keyring, asked: SiteLeaseRequest, trusted_ms: int) -> SiteLease:
    """A site's side: the lease that answers what it asked for. Its `hub_time_ms` is live (`TrustedClock.tell`).

    Raises `WrongLeaseError` for one of another site, start or statement, and what `verify_lease` does.
    """
    lease = verify_lease(signed, keyring, trusted_ms)
    if (lease.site, lease.boot_id, lease.counter) != (asked.site, asked.boot_id, asked.counter):
        raise WrongLeaseError(f"{asked.site} asked as {asked.counter}, the lease is for {lease.site}, {lease.counter}")
    return lease


class SiteLeaseRequest(msgspec.Struct, frozen=True):
    """What a site attested as, when it asked for a lease."""

    site: str
    boot_id: str
    counter: int
