"""The keys of askers: one each, random, wrapped under the key of the tenant, and stored in the vault's file.

Promises that two processes which meet an asker at once agree on the key, and that keys are wrapped anew while others
use them. Next: key_file.py, the keys of tenants; vault.py, which seals by them."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from tidegate.services.privacy.faults import ErasedError, TamperedError
from tidegate.services.privacy.key_file import TenantKeys
from tidegate.services.privacy.site_key import KEY_BYTES, frame
from tidegate.services.privacy.vault_file import KEYS, RowChanges, VaultFile

OUTLIVES = 1.1
"""A key is kept for this many times as long as a value, so that it outlives what it sealed though its time is set anew
only now and then."""


class AskerKeys:
    """The keys in one vault. `now_s` is Unix time, `ttl_s` how long a value is kept, in seconds."""

    def __init__(self, file: VaultFile, tenants: TenantKeys, ttl_s: float) -> None:
        self._file = file
        self._tenants = tenants
        self._ttl_s = int(ttl_s)

    def open(self, tenant: str, asker: str, now_s: int) -> bytes:
        """An asker's key. Raises `ErasedError` where it is gone, `TamperedError`."""
        query = "SELECT epoch, wrapped FROM keys WHERE tenant = ? AND asker = ? AND expires_s > ?"
        for is_last in (False, True):
            found = self._file.rows(query, tenant, asker, now_s)
            if not found:
                break
            try:
                return self._unwrap(tenant, asker, *found[0])
            except TamperedError:  # a peer has wrapped it anew since the row was read
                if is_last:
                    raise
        raise ErasedError(f"what was kept for an asker of {tenant}")

    def for_sealing(self, tenant: str, asker: str, now_s: int) -> bytes:
        """An asker's key, made when there is none, that is kept for as long as a value at least."""
        if self.is_ready(tenant, asker, now_s):
            return self.open(tenant, asker, now_s)
        with self._file.changing() as changes:
            return self.ensure(changes, tenant, asker, now_s)

    def is_ready(self, tenant: str, asker: str, now_s: int) -> bool:
        """Whether the asker's key is there and will be for long enough, so that using it writes nothing."""
        query = "SELECT 1 FROM keys WHERE tenant = ? AND asker = ? AND expires_s >= ?"
        return bool(self._file.rows(query, tenant, asker, now_s + self._ttl_s))

    def ensure(self, changes: RowChanges, tenant: str, asker: str, now_s: int) -> bytes:
        """As `for_sealing`, among other changes."""
        found = changes.find("SELECT * FROM keys WHERE tenant = ? AND asker = ?", tenant, asker)
        expires_s = now_s + int(self._ttl_s * OUTLIVES) + 1
        if found and found[0][4] > now_s:
            if found[0][4] < now_s + self._ttl_s:
                changes.put(KEYS, (*found[0][:4], expires_s), found[0])
            return self._unwrap(tenant, asker, found[0][2], found[0][3])
        key = secrets.token_bytes(KEY_BYTES)
        self._tenants.read()
        epoch = max(self._tenants.epochs(tenant), default=0) or self._tenants.add(tenant)
        wrapped = self._wrap(tenant, asker, epoch, key)
        changes.put(KEYS, (tenant, asker, epoch, wrapped, expires_s), found[0] if found else None)
        return key

    def rewrap(self, changes: RowChanges, tenant: str) -> int:
        """Wrap every key of a tenant under a new one; its epoch. `destroy_older` follows when that is on the disk."""
        epoch = self._tenants.add(tenant)
        for row in changes.find("SELECT * FROM keys WHERE tenant = ?", tenant):
            _, asker, old_epoch, wrapped, expires_s = row
            key = self._unwrap(tenant, asker, old_epoch, wrapped)
            changes.put(KEYS, (tenant, asker, epoch, self._wrap(tenant, asker, epoch, key), expires_s), row)
        return epoch

    def destroy_older(self, tenant: str) -> None:
        """Destroy the keys of a tenant that wrap nothing any more. Raises `OSError`."""
        with self._file.changing() as changes:
            self._tenants.read()
            epochs = self._tenants.epochs(tenant)
            query = "SELECT 1 FROM keys WHERE tenant = ? AND epoch < ? LIMIT 1"
            if len(epochs) > 1 and not changes.find(query, tenant, epochs[-1]):
                self._tenants.keep_newest(tenant)

    def finish_rotations(self) -> None:
        """Destroy what a process left that was cut while it rotated. Raises `OSError`."""
        for tenant in self._tenants.tenants():
            if len(self._tenants.epochs(tenant)) > 1:
                self.destroy_older(tenant)

    def _wrap(self, tenant: str, asker: str, epoch: int, key: bytes) -> bytes:
        wrapping = AESSIV(self._tenants.wrapping_key(tenant, epoch))
        return wrapping.encrypt(key, [frame(tenant, asker, str(epoch))])

    def _unwrap(self, tenant: str, asker: str, epoch: int, wrapped: bytes) -> bytes:
        try:
            wrapping = AESSIV(self._tenants.wrapping_key(tenant, epoch))
            return wrapping.decrypt(wrapped, [frame(tenant, asker, str(epoch))])
        except InvalidTag as error:
            raise TamperedError(f"the key of an asker of {tenant}") from error
