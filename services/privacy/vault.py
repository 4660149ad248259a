"""The vault: personal data stays on the premises, encrypted under keys of its owner; tokens travel in its place.

The site's key wraps the keys of tenants, a tenant's key those of its askers, and an asker's key seals values, makes
their tokens and seals requests: without it none of them says anything, not even whether a guess is right. Next:
schemas/vault_token.py, the grammar; sealing.py, requests as they are stored; vault_file.py, the rows."""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, AESSIV
from prometheus_client import Counter

from tidegate.schemas.vault_token import VAULT_TOKEN, vault_token
from tidegate.services.privacy.asker_keys import AskerKeys
from tidegate.services.privacy.asker_names import AskerNames
from tidegate.services.privacy.faults import ErasedError, TamperedError, VaultDamagedError
from tidegate.services.privacy.key_file import TenantKeys
from tidegate.services.privacy.site_key import derive_key, frame
from tidegate.services.privacy.vault_file import HELD, KEYS, RowChanges, VaultFile
from tidegate.services.privacy.vault_records import Erased, HeldValue, VaultPaths
from tidegate.services.privacy.vault_upgrade import OldValue, read_old_values

NONCE_BYTES = 12
SEALED_V1, SEALED_FOR_ASKER, SEALED_FOR_NOBODY = b"\x01", b"\x02", b"\x03"
"""Under the site's own key, as older versions did; under the asker's; under that of a tenant's requests without one."""
NOBODY = ""
NAMES = "asker-names"
"""Under which the vault keeps how often the key of digests was exchanged."""
TTL_S = 30 * 24 * 3600
REFRESH_BELOW = 0.9
"""A value that is put again is kept for its whole time once less than this part of it is left."""
Purpose = Literal["answer", "export"]
"""What a value is restored for: the answer to the asker at the last hop, or what a person is given of their own."""
RESTORED = Counter("tidegate_vault_restored", "Values that were put back in place of their tokens.", ["purpose"])


class Vault:
    """Values under tokens, in one SQLite file that the site's processes share. Safe to use from several threads.

    A value is encrypted with AES-SIV (RFC 5297), bound to its tenant, its asker, its session and its token; `asker` and
    `session` are the digests that `digest_of_asker` and `digest_of_session` give. A value is on disk before `put_all`
    returns, and gone `ttl_s` seconds after it was put last.
    """

    def __init__(self, file: VaultFile, keys: AskerKeys, names: AskerNames, site_key: bytes, ttl_s: float) -> None:
        self._file = file
        self._keys = keys
        self._names = names
        self._site_key = site_key
        self._ttl_s = int(ttl_s)
        self.clock: Callable[[], float] = time.time

    @classmethod
    def open(cls, paths: Path | VaultPaths, key: bytes, ttl_s: float = TTL_S, *, accept: bool = False) -> Vault:
        """The vault in `paths`, made when there is none; `accept` takes one that is not as it was left.

        Raises `VaultDamagedError` when it is not a vault, `VaultRolledBackError` for an older file.
        """
        paths = VaultPaths.beside(paths) if isinstance(paths, Path) else paths
        old = read_old_values(paths.rows, key)
        file = VaultFile.open(paths.rows, paths.mark, derive_key(key, "vault-state"), accept=accept)
        keys = AskerKeys(file, TenantKeys(paths.keys, key), ttl_s)
        keys.finish_rotations()
        names = AskerNames(paths.keys.with_suffix(".askers"), key)
        opened = cls(file, keys, names, key, ttl_s)
        if names.epoch < opened.noted_up_to(NAMES):
            opened.close()
            raise VaultDamagedError(f"{names.path}, by which askers are found, is gone or an older one")
        if old:
            opened._take_over(old)
        return opened

    def close(self) -> None:
        """No more of it."""
        self._file.close()

    @property
    def sequence(self) -> int:
        """How often the vault was changed."""
        return self._file.sequence

    def has_key(self, tenant: str, asker: str) -> bool:
        """Whether a request of this asker, by name (empty: nobody), is sealed without writing anything."""
        owner = self.digest_of_asker(tenant, asker, "") if asker else NOBODY
        return self._keys.is_ready(tenant, owner, int(self.clock()))

    def digest_of_asker(self, tenant: str, asker: str, rid: str) -> str:
        """The owner of tokens that are made now; see `asker_digest`."""
        return self._names.digest(tenant, asker, rid)

    def digests_of_asker(self, tenant: str, asker: str, rid: str) -> tuple[str, ...]:
        """That one, and those before it, under which something may still be stored; newest first."""
        return self._names.digests(tenant, asker, rid)

    def owners_of(self, tenant: str, asker: str, session: str, rid: str) -> tuple[tuple[str, str], ...]:
        """Each of those with the scope of the tokens that were made by the same key; newest first."""
        return self._names.owners(tenant, asker, session, rid)

    def rotate_names(self) -> tuple[int, tuple[str, ...]]:
        """Exchange the key of these digests; how often it was, and the ids of all. Raises `OSError`."""
        epoch = self._names.rotate()
        with self._file.changing() as changes:
            changes.note("INSERT OR REPLACE INTO read_up_to VALUES (?, ?)", NAMES, epoch)
        return epoch, self._names.key_ids

    def digest_of_session(self, tenant: str, asker: str, session: str, rid: str) -> str:
        """The scope of tokens; see `session_digest`."""
        return self._names.session(tenant, asker, session, rid)

    def put_all(self, tenant: str, asker: str, pairs: Sequence[tuple[str, str]], session: str = "") -> list[str]:
        """Store all (kind, value) pairs, or none, and return their tokens in order.

        A token is always the same for the same tenant, asker, session, kind and value, until the asker is erased.
        """
        if not pairs:
            return []
        now_s = int(self.clock())
        with self._file.changing() as changes:
            changes.delete(HELD, "expires_s <= ?", now_s)
            key = self._keys.ensure(changes, tenant, asker, now_s)
            return [self._put(changes, key, (tenant, asker, session), pair, now_s + self._ttl_s) for pair in pairs]

    def tokens_of(self, tenant: str, asker: str, pairs: Sequence[tuple[str, str]], session: str = "") -> list[str]:
        """The tokens that `put_all` gives for the same, with nothing stored. Raises `ErasedError`, `TamperedError`."""
        key = self._keys.open(tenant, asker, int(self.clock())) if pairs else b""
        return [_token_of(key, session, pair) for pair in pairs]

    def detokenise(self, text: str, tenant: str, asker: str, purpose: Purpose, session: str = "") -> str:
        """`text` with the values of the tokens that were made for this tenant, asker and session; any other token stays
        as it is, whoever wrote it.

        Raises `TamperedError` when a stored value cannot be decrypted.
        """
        if "<" not in text:
            return text
        return VAULT_TOKEN.sub(lambda match: self._value(match.group(), (tenant, asker, session), purpose), text)

    def seal(self, tenant: str, asker: str, rid: str, text: str) -> bytes:
        """`text` encrypted for this asker (`NOBODY`: for requests of the tenant without one) and this request
        (AES-256-GCM-SIV, RFC 8452; random nonce)."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = AESGCMSIV(derive_key(self._keys.for_sealing(tenant, asker, int(self.clock())), "seal")).encrypt(
            nonce, text.encode("utf-8", "surrogatepass"), frame(tenant, asker, rid)
        )
        return (SEALED_FOR_ASKER if asker else SEALED_FOR_NOBODY) + nonce + sealed

    def unseal(self, tenant: str, asker: str, rid: str, data: bytes) -> str:
        """The text that `seal` was given. Raises `TamperedError` for anything else, `ErasedError` where the key is
        gone."""
        version, nonce, sealed = data[:1], data[1 : 1 + NONCE_BYTES], data[1 + NONCE_BYTES :]
        owner = {SEALED_FOR_ASKER: asker, SEALED_FOR_NOBODY: NOBODY}.get(version, "")
        if version not in (SEALED_V1, SEALED_FOR_ASKER, SEALED_FOR_NOBODY) or len(sealed) < 16:
            raise TamperedError("the sealed text")
        if version == SEALED_V1:
            key, about = self._site_key, frame(tenant, rid)
        else:
            key, about = self._keys.open(tenant, owner, int(self.clock())), frame(tenant, owner, rid)
        try:
            text = AESGCMSIV(derive_key(key, "seal")).decrypt(nonce, sealed, about)
        except InvalidTag as error:
            raise TamperedError("the sealed text") from error
        return text.decode("utf-8", "surrogatepass")

    def held(self, tenant: str, asker: str) -> list[HeldValue]:
        """Every value of an asker, for an export. Raises `TamperedError`."""
        query = "SELECT token, session, expires_s FROM held WHERE tenant = ? AND asker = ? AND expires_s > ?"
        rows = self._file.rows(query, tenant, asker, int(self.clock()))
        values = [self._value(token, (tenant, asker, session), "export") for token, session, _ in rows]
        return [HeldValue(row[0], value, row[2]) for row, value in zip(rows, values, strict=True)]

    def erase(self, tenant: str, *askers: str) -> Erased:
        """Destroy everything of this asker, by all its digests: the values, the keys, and the tenant's key that wrapped
        them, so that no copy of the vault that was made before opens any more. All others are wrapped anew. Which
        requests were the asker's is kept until `forget_requests`, for who has still to delete them. Raises `OSError`.
        """
        values, wrapped = 0, list[bytes]()
        with self._file.changing() as changes:
            for asker in askers:
                found = changes.find("SELECT wrapped FROM keys WHERE tenant = ? AND asker = ?", tenant, asker)
                wrapped += [key for (key,) in found]
                values += changes.delete(HELD, "tenant = ? AND asker = ?", tenant, asker)
                changes.delete(KEYS, "tenant = ? AND asker = ?", tenant, asker)
            epoch = self._keys.rewrap(changes, tenant)
        self._file.overwrite_deleted()
        self._keys.destroy_older(tenant)
        return Erased(values, tuple(sha256(key).hexdigest()[:16] for key in wrapped), epoch)

    def rotate(self, tenant: str) -> int:
        """Wrap all keys of a tenant under a new one and destroy the old one, while others use the vault; the new
        epoch. Raises `OSError`."""
        with self._file.changing() as changes:
            epoch = self._keys.rewrap(changes, tenant)
        self._file.overwrite_deleted()
        self._keys.destroy_older(tenant)
        return epoch

    def expire(self) -> int:
        """Delete what is past its time; how many values and keys."""
        now_s = int(self.clock())
        with self._file.changing() as changes:
            gone = changes.delete(HELD, "expires_s <= ?", now_s) + changes.delete(KEYS, "expires_s <= ?", now_s)
        if gone:
            self._file.overwrite_deleted()
        return gone

    def note_asked(self, asked: Sequence[tuple[str, str, str, int]], stream: str, sequence: int) -> None:
        """Keep which (tenant, asker, request id, Unix time) there are, up to a sequence of a stream."""
        with self._file.changing() as changes:
            for row in asked:
                changes.note("INSERT OR IGNORE INTO asked VALUES (?, ?, ?, ?)", *row)
            changes.note("INSERT OR REPLACE INTO read_up_to VALUES (?, ?)", stream, sequence)

    def noted_up_to(self, stream: str) -> int:
        """The sequence that `note_asked` was told last; 0 before."""
        rows = self._file.rows("SELECT sequence FROM read_up_to WHERE stream = ?", stream)
        return rows[0][0] if rows else 0

    def forget_asked(self, before_s: float) -> None:
        """Keep nothing of requests from before, Unix time."""
        with self._file.changing() as changes:
            changes.note("DELETE FROM asked WHERE at_s < ?", int(before_s))

    def forget_requests(self, tenant: str, asker: str) -> None:
        """Keep no more which requests were an asker's. Raises `sqlite3.OperationalError` where it stays on the disk."""
        with self._file.changing() as changes:
            changes.note("DELETE FROM asked WHERE tenant = ? AND asker = ?", tenant, asker)
        self._file.overwrite_deleted()

    def requests_of(self, tenant: str, asker: str, *rid: str) -> list[str]:
        """The ids of an asker's requests, as far as they were noted; with a `rid` that one, where it is theirs."""
        query = "SELECT rid FROM asked WHERE tenant = ? AND asker = ?" + " AND rid = ?" * len(rid)
        return [found for (found,) in self._file.rows(query, tenant, asker, *rid)]

    def _take_over(self, old: Sequence[OldValue]) -> None:
        """Values of the first version keep their tokens, which have no session."""
        now_s = int(self.clock())
        with self._file.changing() as changes:
            for tenant, asker, token, value in old:
                key = self._keys.ensure(changes, tenant, asker, now_s)
                sealed = _cipher(key).encrypt(
                    value.encode("utf-8", "surrogatepass"), _about((tenant, asker, ""), token)
                )
                if not changes.find(
                    "SELECT 1 FROM held WHERE tenant = ? AND asker = ? AND token = ?", tenant, asker, token
                ):
                    changes.put(HELD, (tenant, asker, token, "", sealed, now_s + self._ttl_s))

    def _put(
        self, changes: RowChanges, key: bytes, owner: tuple[str, str, str], pair: tuple[str, str], expires_s: int
    ) -> str:
        tenant, asker, session = owner
        token = _token_of(key, session, pair)
        sealed = _cipher(key).encrypt(pair[1].encode("utf-8", "surrogatepass"), _about(owner, token))
        query = "SELECT * FROM held WHERE tenant = ? AND asker = ? AND token = ?"
        found = changes.find(query, tenant, asker, token)
        if found and found[0][4] != sealed:  # encryption is deterministic: two values share a token (2^-48 a pair)
            raise TamperedError(f"the value under {token}")
        if not found or found[0][5] - expires_s + self._ttl_s < REFRESH_BELOW * self._ttl_s:
            row = (tenant, asker, token, session, sealed, expires_s)
            changes.put(HELD, row, found[0] if found else None)
        return token

    def _value(self, token: str, owner: tuple[str, str, str], purpose: Purpose) -> str:
        query = "SELECT sealed FROM held WHERE tenant = ? AND asker = ? AND session = ? AND token = ? AND expires_s > ?"
        now_s = int(self.clock())
        found = self._file.rows(query, *owner, token, now_s)
        if not found:
            return token
        try:
            text = _cipher(self._keys.open(owner[0], owner[1], now_s)).decrypt(found[0][0], _about(owner, token))
        except ErasedError:  # between the two reads
            return token
        except InvalidTag as error:
            raise TamperedError(f"the value under {token}") from error
        RESTORED.labels(purpose).inc()
        return text.decode("utf-8", "surrogatepass")


def _token_of(key: bytes, session: str, pair: tuple[str, str]) -> str:
    digest = hmac.new(derive_key(key, "token"), frame(session, *pair), sha256).hexdigest()
    return vault_token(pair[0], digest)


def _cipher(key: bytes) -> AESSIV:
    return AESSIV(derive_key(key, "value", 64))


def _about(owner: tuple[str, str, str], token: str) -> list[bytes]:
    return [frame(part) for part in (*owner, token)]
