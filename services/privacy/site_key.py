"""The site's secret key: what is derived from it, and the digests that stand for askers and sessions.

Next: key_file.py, the keys that wrap those of askers; vault.py, which uses both."""

from __future__ import annotations

import hmac
import os
import secrets
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tidegate.schemas.errors import TidegateError

KEY_BYTES = 32


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


_key_of_names = lru_cache(maxsize=16)(derive_key)
"""Remembered: a request needs them six times. For keys only that the process holds for as long as it runs; that of an
asker is lost by erasing it."""


def frame(*parts: str) -> bytes:
    """The parts as one byte string that no other list of parts gives: each is preceded by its length."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def asker_digest(key: bytes, tenant: str, asker: str, rid: str) -> str:
    """The owner of tokens as 32 hex digits that reveal no name; without an asker, the owner is this one request."""
    owner = ("asker", asker) if asker else ("rid", rid)
    return hmac.new(_key_of_names(key, "asker"), frame(tenant, *owner), sha256).hexdigest()[:32]


def session_digest(key: bytes, tenant: str, asker: str, session: str, rid: str) -> str:
    """The scope of vault tokens, as 32 hex digits that reveal no name: a session of one asker; without a session or an
    asker, this one request."""
    scope = ("session", asker, session) if session and asker else ("rid", rid)
    return hmac.new(_key_of_names(key, "session"), frame(tenant, *scope), sha256).hexdigest()[:32]
