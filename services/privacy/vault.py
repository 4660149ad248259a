"""The vault: personal data stays on the premises, encrypted under the site's key; tokens travel in its place.

Next: schemas/vault_token.py, the grammar; services/privacy/sealing.py, requests as they are stored."""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.vault_token import VAULT_TOKEN, vault_token

KEY_BYTES = 32
NONCE_BYTES = 12
SEALED_V1 = b"\x01"
BUSY_S = 10.0


class TamperedError(TidegateError, ValueError):
    """Encrypted data cannot be decrypted: it was altered, moved to another owner, or is under another key."""

    hint = "restore it from its source; if nothing can be decrypted, the site's key was replaced"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} cannot be decrypted under this site's key for this owner")


class VaultDamagedError(TidegateError, ValueError):
    """The vault's file is no vault, or cannot be opened."""

    hint = "restore it from its backup; without one move it away: what earlier answers hold as tokens stays tokens"


class SiteKeyError(TidegateError, ValueError):
    """The site's key is not 32 bytes long."""

    hint = "restore the key file from its backup; a new key cannot read what the old one encrypted"


def load_site_key(path: Path) -> bytes:
    """The site's 32 secret bytes; created on first use, readable by this user only, the same for all processes.

    Raises `SiteKeyError` when the file holds anything else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            os.link(fresh, path)  # fails where a peer was first, and never shows half a key
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise SiteKeyError(f"{path} holds {len(key)} bytes, a site key has {KEY_BYTES}")
    return key


def derive_key(key: bytes, purpose: str, length: int = KEY_BYTES) -> bytes:
    """A separate key for each purpose (HKDF, RFC 5869). Raises `SiteKeyError`."""
    if len(key) != KEY_BYTES:
        raise SiteKeyError(f"a site key has {KEY_BYTES} bytes, not {len(key)}")
    return HKDF(hashes.SHA256(), length, salt=None, info=b"tidegate/1/" + purpose.encode()).derive(key)


def frame(*parts: str) -> bytes:
    """The parts as one byte string that no other list of parts gives: each is preceded by its length."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def seal(key: bytes, text: str, tenant: str, rid: str) -> bytes:
    """`text` encrypted for this tenant and request (AES-256-GCM-SIV, RFC 8452; random nonce)."""
    nonce = os.urandom(NONCE_BYTES)
    cipher = AESGCMSIV(derive_key(key, "seal"))
    return SEALED_V1 + nonce + cipher.encrypt(nonce, text.encode("utf-8", "surrogatepass"), frame(tenant, rid))


def unseal(key: bytes, data: bytes, tenant: str, rid: str) -> str:
    """The text that `seal` was given. Raises `TamperedError` for anything else, another tenant's or request's too."""
    start = len(SEALED_V1) + NONCE_BYTES
    if data[: len(SEALED_V1)] != SEALED_V1 or len(data) < start + 16:
        raise TamperedError("the sealed text")
    try:
        text = AESGCMSIV(derive_key(key, "seal")).decrypt(data[1:start], data[start:], frame(tenant, rid))
    except InvalidTag as error:
        raise TamperedError("the sealed text") from error
    return text.decode("utf-8", "surrogatepass")


def asker_digest(key: bytes, tenant: str, asker: str, rid: str) -> str:
    """The owner of tokens as 32 hex digits that reveal no name; without an asker, the owner is this one request."""
    owner = ("asker", asker) if asker else ("rid", rid)
    return hmac.new(derive_key(key, "asker"), frame(tenant, *owner), sha256).hexdigest()[:32]


class Vault:
    """Values under tokens, in one SQLite file that the site's processes share. Safe to use from several threads.

    A value is encrypted with AES-SIV (RFC 5297), bound to its tenant, its asker and its token; `asker` is the digest
    that `asker_digest` gives. A value is on disk before `put_all` returns.
    """

    def __init__(self, connection: sqlite3.Connection, key: bytes) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._token_key = derive_key(key, "vault-token")
        self._cipher = AESSIV(derive_key(key, "vault-value", 64))

    @classmethod
    def open(cls, path: Path, key: bytes) -> Vault:
        """The vault in `path`, made when there is none. Raises `VaultDamagedError` when it is not a vault."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise VaultDamagedError(f"{path} cannot be used: {error}") from error
        except BaseException:
            connection.close()
            raise
        return cls(connection, key)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def put_all(self, tenant: str, asker: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """Store all (kind, value) pairs, or none, and return their tokens in order.

        A token is always the same for the same tenant, asker, kind and value.
        """
        rows = [self._row(tenant, asker, kind, value) for kind, value in pairs]
        if not rows:
            return []
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany("INSERT OR IGNORE INTO held VALUES (?, ?, ?, ?)", rows)
                for row in rows:
                    self._check(row)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite has ended it itself where the disk is full
                    self._connection.execute("ROLLBACK")
                raise
        return [row[2] for row in rows]

    def detokenise(self, text: str, tenant: str, asker: str) -> str:
        """`text` with the values of this tenant's and asker's tokens; any other token stays as it is.

        Raises `TamperedError` when a stored value cannot be decrypted.
        """
        return VAULT_TOKEN.sub(lambda match: self._value(match.group(), tenant, asker), text)

    def forget(self, tenant: str, asker: str) -> int:
        """Erase everything stored for this asker, on disk too; returns the number of values."""
        with self._lock:
            erased = self._connection.execute("DELETE FROM held WHERE tenant = ? AND asker = ?", (tenant, asker))
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return erased.rowcount

    def _row(self, tenant: str, asker: str, kind: str, value: str) -> tuple[str, str, str, bytes]:
        digest = hmac.new(self._token_key, frame(tenant, asker, kind, value), sha256).hexdigest()
        token = vault_token(kind, digest)
        owner = [frame(tenant), frame(asker), frame(token)]
        return tenant, asker, token, self._cipher.encrypt(value.encode("utf-8", "surrogatepass"), owner)

    def _check(self, row: tuple[str, str, str, bytes]) -> None:
        """Encryption is deterministic: two values that share a token (odds 2^-48 a pair) show as two cipher texts."""
        if self._sealed(*row[:3]) != row[3]:
            raise TamperedError(f"the value under {row[2]}")

    def _sealed(self, tenant: str, asker: str, token: str) -> bytes | None:
        found: tuple[bytes] | None = self._connection.execute(
            "SELECT sealed FROM held WHERE tenant = ? AND asker = ? AND token = ?", (tenant, asker, token)
        ).fetchone()
        return found[0] if found else None

    def _value(self, token: str, tenant: str, asker: str) -> str:
        with self._lock:
            sealed = self._sealed(tenant, asker, token)
        if sealed is None:
            return token
        try:
            text = self._cipher.decrypt(sealed, [frame(tenant), frame(asker), frame(token)])
        except InvalidTag as error:
            raise TamperedError(f"the value under {token}") from error
        return text.decode("utf-8", "surrogatepass")


def _prepare(connection: sqlite3.Connection) -> None:
    """Switch to WAL and create the table. SQLite does not wait for a peer that switches at the same time: we do."""
    give_up_at_s = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS held (tenant TEXT, asker TEXT, token TEXT, sealed BLOB NOT NULL,"
                " PRIMARY KEY (tenant, asker, token)) WITHOUT ROWID"
            )
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at_s:
                raise
            time.sleep(0.01)
