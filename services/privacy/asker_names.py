"""The keys by which askers and sessions get the digests that stand for them, the newest and those before it.

Whoever has such a key can try out whose digest one is. Exchanging it ends that for what is stored from then on; what
was stored before is still found by the keys before. Promises that every process of the site uses
the newest with its next request. Next: site_key.py, the first of them; vault.py."""

from __future__ import annotations

import fcntl
import secrets
from hashlib import sha256
from pathlib import Path

import msgspec

from tidegate.services.privacy.faults import VaultDamagedError
from tidegate.services.privacy.site_key import KEY_BYTES, asker_digest, derive_key, session_digest
from tidegate.sync.trust.files import PRIVATE, replace_file


class AskerNames:
    """The keys in one file; the site's own key is the first of them, and the only one where there is no file.

    Raises `VaultDamagedError` where the file holds anything else, or is gone.
    """

    def __init__(self, path: Path, site_key: bytes) -> None:
        self.path = path
        self._keys: tuple[bytes, ...] = (site_key,)
        self._stamp: tuple[int, int] | None = None
        self.read()

    @property
    def epoch(self) -> int:
        """How often the key was exchanged."""
        self.read()
        return len(self._keys) - 1

    @property
    def key_ids(self) -> tuple[str, ...]:
        """What tells the keys apart, newest first, and says nothing of them."""
        self.read()
        return tuple(sha256(derive_key(key, "asker-id")).hexdigest()[:16] for key in reversed(self._keys))

    def digest(self, tenant: str, asker: str, rid: str) -> str:
        """The owner of what is stored now; see `asker_digest`."""
        self.read()
        return asker_digest(self._keys[-1], tenant, asker, rid)

    def digests(self, tenant: str, asker: str, rid: str) -> tuple[str, ...]:
        """Every digest by which the asker ever was known here, newest first."""
        self.read()
        return tuple(asker_digest(key, tenant, asker, rid) for key in reversed(self._keys))

    def session(self, tenant: str, asker: str, session: str, rid: str) -> str:
        """The scope of tokens that are made now; see `session_digest`."""
        self.read()
        return session_digest(self._keys[-1], tenant, asker, session, rid)

    def owners(self, tenant: str, asker: str, session: str, rid: str) -> tuple[tuple[str, str], ...]:
        """Each of those digests with that of the session by the same key, newest first."""
        self.read()
        return tuple(
            (asker_digest(key, tenant, asker, rid), session_digest(key, tenant, asker, session, rid))
            for key in reversed(self._keys)
        )

    def rotate(self) -> int:
        """A new key, durable before this returns; how many there were. Raises `OSError`."""
        with self.path.with_name(f".{self.path.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.read()
            made = (*self._keys[1:], secrets.token_bytes(KEY_BYTES))
            replace_file(self.path, msgspec.json.encode(made), PRIVATE)
        return self.epoch

    def read(self) -> None:
        """Take in what the file says now."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            if len(self._keys) > 1:
                raise VaultDamagedError(f"{self.path}, by which askers are found, is gone") from None
            return
        stamp = (found.st_ino, found.st_mtime_ns)
        if stamp == self._stamp:
            return
        try:
            keys = msgspec.json.decode(self.path.read_bytes(), type=tuple[bytes, ...])
        except msgspec.DecodeError as error:
            raise VaultDamagedError(f"{self.path} holds no keys: {error}") from error
        if not all(len(key) == KEY_BYTES for key in keys):
            raise VaultDamagedError(f"{self.path} holds keys of another length")
        self._keys, self._stamp = (self._keys[0], *keys), stamp
