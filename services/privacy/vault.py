"""Where personal data waits on the premises: tokens travel, values stay here, encrypted under the site's key."""

from __future__ import annotations

import hmac
import os
import re
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

TOKEN = re.compile(r"<([A-Z]{2,16})_([0-9a-f]{12})>")
"""A vault token: the kind of what it stands for, and 48 bits that only the site can make."""

KEY_BYTES = 32
NONCE_BYTES = 12
SEALED_V1 = b"\x01"
BUSY_S = 10.0


class Tampered(ValueError):
    """What was sealed does not open: it was altered, moved to another owner, or sealed under another key."""

    def __init__(self, what: str) -> None:
        self.hint = "restore it from its source; if everything fails to open, the site's key was replaced"
        super().__init__(f"{what} does not open under this site's key for this owner ({self.hint})")


def site_key(path: Path) -> bytes:
    """The site's 32 secret bytes; created on first use, readable by this user only, the same for all processes.

    Raises `ValueError` when the file holds anything else.
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
        raise ValueError(f"{path} holds {len(key)} bytes, a site key has {KEY_BYTES}; restore it from its backup")
    return key


def derived(key: bytes, purpose: str, length: int = KEY_BYTES) -> bytes:
    """A key of its own for each purpose (HKDF, RFC 5869)."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a site key has {KEY_BYTES} bytes, not {len(key)}")
    return HKDF(hashes.SHA256(), length, salt=None, info=b"tidegate/1/" + purpose.encode()).derive(key)


def framed(*parts: str) -> bytes:
    """The parts as one byte string that no other parts give."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def seal(key: bytes, text: str, tenant: str, rid: str) -> bytes:
    """`text` encrypted for this tenant and request (AES-256-GCM-SIV, RFC 8452; random nonce)."""
    nonce = os.urandom(NONCE_BYTES)
    cipher = AESGCMSIV(derived(key, "seal"))
    return SEALED_V1 + nonce + cipher.encrypt(nonce, text.encode("utf-8", "surrogatepass"), framed(tenant, rid))


def unseal(key: bytes, data: bytes, tenant: str, rid: str) -> str:
    """What `seal` was given. Raises `Tampered` for anything else, another tenant's or another request's included."""
    start = len(SEALED_V1) + NONCE_BYTES
    if data[: len(SEALED_V1)] != SEALED_V1 or len(data) < start + 16:
        raise Tampered("the sealed text")
    try:
        opened = AESGCMSIV(derived(key, "seal")).decrypt(data[1:start], data[start:], framed(tenant, rid))
    except InvalidTag as error:
        raise Tampered("the sealed text") from error
    return opened.decode("utf-8", "surrogatepass")


def asker_digest(key: bytes, tenant: str, asker: str, rid: str) -> str:
    """Whose tokens these are, as 32 hex digits that tell nobody else; without an asker, this one request's."""
    owner = ("asker", asker) if asker else ("rid", rid)
    return hmac.new(derived(key, "asker"), framed(tenant, *owner), sha256).hexdigest()[:32]


def tokens_in(text: str) -> tuple[str, ...]:
    """The vault tokens in `text`, each once, in order of appearance."""
    return tuple(dict.fromkeys(match.group() for match in TOKEN.finditer(text)))


class Vault:
    """Values under tokens, in one SQLite file that the site's processes share. Safe to use from several threads.

    A value is encrypted with AES-SIV (RFC 5297), bound to its tenant, its asker and its token; `asker` is the digest
    that `asker_digest` gives. What was put is on disk before `put` returns.
    """

    def __init__(self, connection: sqlite3.Connection, key: bytes) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._token_key = derived(key, "vault-token")
        self._cipher = AESSIV(derived(key, "vault-value", 64))

    @classmethod
    def open(cls, path: Path, key: bytes) -> Vault:
        """The vault in `path`, made when there is none. Raises `sqlite3.DatabaseError` when it is not a vault."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return cls(connection, key)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def put(self, tenant: str, asker: str, kind: str, value: str) -> str:
        """Keep the value and return its token: the same for the same tenant, asker, kind and value, for ever."""
        return self.put_all(tenant, asker, [(kind, value)])[0]

    def put_all(self, tenant: str, asker: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """The tokens of all (kind, value) pairs, in their order; all of them are kept, or none."""
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
                self._connection.execute("ROLLBACK")
                raise
        return [row[2] for row in rows]

    def restore(self, text: str, tenant: str, asker: str) -> str:
        """`text` with the values of this tenant's and asker's tokens; any other token stays as it is.

        Raises `Tampered` when a value that is held does not open.
        """
        return TOKEN.sub(lambda match: self._value(match.group(), tenant, asker), text)

    def forget(self, tenant: str, asker: str) -> int:
        """Erase everything held for this asker, on disk too; how many values that were."""
        with self._lock:
            erased = self._connection.execute("DELETE FROM held WHERE tenant = ? AND asker = ?", (tenant, asker))
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return erased.rowcount

    def _row(self, tenant: str, asker: str, kind: str, value: str) -> tuple[str, str, str, bytes]:
        digest = hmac.new(self._token_key, framed(tenant, asker, kind, value), sha256).hexdigest()
        token = f"<{kind}_{digest[:12]}>"
        if not TOKEN.fullmatch(token):
            raise ValueError(f"{kind!r} is not a kind: 2 to 16 capital letters")
        owner = [framed(tenant), framed(asker), framed(token)]
        return tenant, asker, token, self._cipher.encrypt(value.encode("utf-8", "surrogatepass"), owner)

    def _check(self, row: tuple[str, str, str, bytes]) -> None:
        """Encryption is deterministic: two values that share a token (odds 2^-48 a pair) show as two cipher texts."""
        held = self._connection.execute(
            "SELECT sealed FROM held WHERE tenant = ? AND asker = ? AND token = ?", row[:3]
        ).fetchone()
        if held is None or held[0] != row[3]:
            raise Tampered(f"the value under {row[2]}")

    def _value(self, token: str, tenant: str, asker: str) -> str:
        with self._lock:
            held = self._connection.execute(
                "SELECT sealed FROM held WHERE tenant = ? AND asker = ? AND token = ?", (tenant, asker, token)
            ).fetchone()
        if held is None:
            return token
        try:
            opened = self._cipher.decrypt(held[0], [framed(tenant), framed(asker), framed(token)])
        except InvalidTag as error:
            raise Tampered(f"the value under {token}") from error
        return opened.decode("utf-8", "surrogatepass")


def _prepare(connection: sqlite3.Connection) -> None:
    """Switch to WAL and lay the table. SQLite does not wait for a peer that switches at the same time, so we do."""
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
