"""The keys of a site's tenants, under which those of askers are wrapped: one file, of which only secret salts are kept.

A tenant's key of an epoch is derived from the site's key and a random salt. Destroying the salt destroys the key, also
for whoever has the site's key, and with it whatever copy of the vault was made before. Promises that a crash leaves the
old file or the new one. Next: vault.py, under whose write lock the file is changed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tidegate.services.privacy.faults import TamperedError, VaultDamagedError
from tidegate.services.privacy.site_key import KEY_BYTES, frame
from tidegate.sync.trust.files import PRIVATE, replace_file

WRAPPING_BYTES = 64
"""What AES-SIV takes: two keys of 32 bytes."""


class TenantKeys:
    """The keys of all tenants, by epoch. A process reads the file again when it meets an epoch that it does not know.

    Raises `VaultDamagedError` where the file holds anything else.
    """

    def __init__(self, path: Path, site_key: bytes) -> None:
        self._path = path
        self._site_key = site_key
        self._salts: dict[str, dict[int, bytes]] = {}
        self._derived: dict[tuple[str, int], bytes] = {}
        self.read()

    def read(self) -> None:
        """Take in what the file says now."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            self._salts = {}
            return
        try:
            self._salts = msgspec.json.decode(data, type=dict[str, dict[int, bytes]])
        except msgspec.DecodeError as error:
            raise VaultDamagedError(f"{self._path} holds no keys: {error}") from error

    def epochs(self, tenant: str) -> tuple[int, ...]:
        """The epochs of a tenant's keys, oldest first; none before its first value."""
        return tuple(sorted(self._salts.get(tenant, {})))

    def tenants(self) -> tuple[str, ...]:
        """Who has keys."""
        return tuple(sorted(self._salts))

    def wrapping_key(self, tenant: str, epoch: int) -> bytes:
        """The key of one epoch. Raises `TamperedError` where there is none any more."""
        if epoch not in self._salts.get(tenant, {}):
            self.read()
        salt = self._salts.get(tenant, {}).get(epoch)
        if salt is None:
            self._derived.pop((tenant, epoch), None)
            raise TamperedError(f"the key {epoch} of {tenant} is gone, and what it wraps")
        if (tenant, epoch) not in self._derived:
            info = b"tidegate/2/tenant" + frame(tenant, str(epoch))
            derived = HKDF(hashes.SHA256(), WRAPPING_BYTES, salt=salt, info=info).derive(self._site_key)
            self._derived[tenant, epoch] = derived
        return self._derived[tenant, epoch]

    def add(self, tenant: str) -> int:
        """A new key, durable before this returns, beside those that there are; its epoch. Raises `OSError`."""
        self.read()
        epoch = max(self.epochs(tenant), default=0) + 1
        own = {**self._salts.get(tenant, {}), epoch: secrets.token_bytes(KEY_BYTES)}
        self._write({**self._salts, tenant: own})
        return epoch

    def keep_newest(self, tenant: str) -> None:
        """Destroy every key of a tenant but the newest: nothing may be wrapped by them any more. Raises `OSError`."""
        self.read()
        epochs = self.epochs(tenant)
        if len(epochs) > 1:
            self._write({**self._salts, tenant: {epochs[-1]: self._salts[tenant][epochs[-1]]}})
            self._derived.clear()

    def _write(self, salts: dict[str, dict[int, bytes]]) -> None:
        """Replace the file, and write over what the old one held: its name is gone, its blocks need not be."""
        old = os.open(self._path, os.O_WRONLY) if self._path.exists() else None
        try:
            replace_file(self._path, msgspec.json.encode(salts), PRIVATE)
            if old is not None:
                os.pwrite(old, bytes(os.fstat(old).st_size), 0)
                os.fsync(old)
        finally:
            if old is not None:
                os.close(old)
        self._salts = salts
