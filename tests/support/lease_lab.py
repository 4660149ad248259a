"""A hub that grants leases and a site that asks for them, for the tests of attestation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tests.support.trust_hub import NOW
from tidegate.schemas import SignedLease, SiteLease, TrustedKey
from tidegate.sync.shells.lease_link import RecordedLeases
from tidegate.sync.trust.attestation import (
    SiteStatement,
    SoftwareRoot,
    attest,
)
from tidegate.sync.trust.keyring import Keyring
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.leases import (
    AttestationPolicy,
    LeaseAuthority,
    verify_lease,
)
from tidegate.sync.trust.site_records import (
    SiteRecords,
)

CODE, OLD_CODE, MODEL = "0a" * 32, "0b" * 32, "0c" * 32
BOOT, OTHER_BOOT = "ab" * 8, "cd" * 8
MEASURED = {"code": CODE, "models/reader": MODEL}
ALLOWED = {"code": frozenset({CODE}), "models/reader": frozenset({MODEL})}
POLICY = AttestationPolicy(allowed=ALLOWED, epochs={"default": 3})


class Lab:
    """A hub, and two sites that it has provisioned."""

    def __init__(self, directory: Path) -> None:
        self.keys = KeyStore(directory / "keys")
        self.hub_key = self.keys.generate("device", "hub", NOW)
        self.site_keys = {site: self.keys.generate("device", site, NOW) for site in ("site1", "site2")}
        self.records = SiteRecords(directory / "sites")
        for site, key in self.site_keys.items():
            self.records.provision(site, 1, key.key_id)
        self.policy = POLICY
        self.restart()

    def restart(self) -> None:
        """The hub's process starts anew."""
        signer = self.keys.signer(self.hub_key.key_id, NOW)
        self.authority = LeaseAuthority(signer, self.records, self.policy)

    @property
    def keyring(self) -> Keyring:
        return Keyring.of(self.keys.register())

    def statement(self, site: str = "site1", counter: int = 1, **fields: Any) -> SiteStatement:
        """What a site states now, in answer to a new nonce."""
        nonce = fields.pop("nonce", None) or self.authority.challenge(site, NOW)
        stated = SiteStatement(
            site=site,
            incarnation=1,
            boot_id=BOOT,
            counter=counter,
            nonce=nonce,
            assurance="software",
            epochs={"default": 3},
        )
        return msgspec.structs.replace(stated, **fields)

    def envelope(
        self, statement: SiteStatement, measured: dict[str, str] | None = None, key: TrustedKey | None = None
    ) -> bytes:
        signing = key or self.site_keys[statement.site]
        root = SoftwareRoot(self.keys.signer(signing.key_id, NOW))
        return attest(root, statement, MEASURED if measured is None else measured)

    def grant(self, statement: SiteStatement, now_ms: int = NOW, measured: dict[str, str] | None = None) -> SignedLease:
        return self.authority.grant(self.envelope(statement, measured), self.keyring, now_ms)

    def read(self, lease: SignedLease) -> SiteLease:
        """What a site reads of a lease."""
        return verify_lease(lease, self.keyring, NOW)

    def is_leased(self, site: str = "site1", now_ms: int = NOW) -> bool:
        """Whether the hub gives the site what is sensitive."""
        return RecordedLeases(self.records).is_leased(site, now_ms)
