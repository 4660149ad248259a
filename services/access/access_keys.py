"""Access keys: issued once, shown once, kept as digests; read anew as soon as the file changes.

A secret has 256 random bits, so that its plain sha256 can neither be guessed nor turned around: no slow hash is needed,
and a check costs microseconds. Next: callers.py, which asks for a request."""

from __future__ import annotations

import fcntl
import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tidegate.schemas.access import AccessKey, AccessRegister, Caller, Role
from tidegate.services.access.faults import AccessRegisterError, CredentialRefusedError, NoSuchAccessKeyError
from tidegate.sync.trust.files import PRIVATE, replace_file

PREFIX = "tgk"
_FORM = re.compile(rf"{PREFIX}_([0-9a-z]{{12}})_([A-Za-z0-9_-]{{43}})")
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_NOBODY = hashlib.sha256(b"").hexdigest()
NOT_VALID = "the access key is not valid here, or not any more"


class AccessKeys:
    """The keys in one file. Several threads and processes may use it; `now_ms` is Unix time."""

    def __init__(self, path: Path, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._now_ms = now_ms
        self._seen: tuple[int, int, int] | None = None
        self._by_id: dict[str, AccessKey] = {}

    def issue(
        self, tenant: str, role: Role, lasts_ms: int, *, asker: str = "", note: str = "", nkey: str = ""
    ) -> tuple[AccessKey, str]:
        """A new key, and its text, which is nowhere else and cannot be had again. Raises `AccessRegisterError`,
        `OSError`."""
        secret, now_ms = secrets.token_urlsafe(32), self._now_ms()
        key = AccessKey(
            id="".join(secrets.choice(_ALPHABET) for _ in range(12)),
            digest=hashlib.sha256(secret.encode()).hexdigest(),
            tenant=tenant,
            role=role,
            asker=asker,
            note=note,
            nkey=nkey,
            issued_at_ms=now_ms,
            expires_at_ms=now_ms + lasts_ms,
        )
        msgspec.convert(msgspec.to_builtins(key), AccessKey)  # or the file could not be read any more
        with self._changing() as register:
            self._write((*register.keys, key))
        return key, f"{PREFIX}_{key.id}_{secret}"

    def revoke(self, key_id: str) -> AccessKey:
        """End a key now; one that has ended stays as it is. Raises `NoSuchAccessKeyError`, and as `issue` does."""
        with self._changing() as register:
            found = [key for key in register.keys if key.id == key_id.removeprefix(f"{PREFIX}_")[:12]]
            if len(found) != 1:
                raise NoSuchAccessKeyError(f"there is no access key {key_id[:24]!r}")
            [key] = found
            if key.revoked_at_ms:
                return key
            revoked = msgspec.structs.replace(key, revoked_at_ms=self._now_ms())
            self._write(tuple(revoked if each is key else each for each in register.keys))
        return revoked

    def all(self) -> tuple[AccessKey, ...]:
        """All keys, the newest last. Raises `AccessRegisterError`."""
        return self._read().keys

    def is_good(self, key: AccessKey) -> bool:
        """Whether a request is taken with it now."""
        return not key.revoked_at_ms and self._now_ms() < key.expires_at_ms

    def check(self, text: str) -> Caller:
        """The caller that a key stands for. Raises `CredentialRefusedError`, `AccessRegisterError`.

        What is compared is a digest, in constant time, and as much is done for an id that does not exist.
        """
        form = _FORM.fullmatch(text)
        key = self._find(form[1]) if form else None
        digest = hashlib.sha256((form[2] if form else "").encode()).hexdigest()
        is_same = secrets.compare_digest(digest, key.digest if key else _NOBODY)
        if key is None or not is_same or not self.is_good(key):
            raise CredentialRefusedError(NOT_VALID)
        return _caller(key)

    def holder(self, key_id: str) -> Caller:
        """The caller that the key with this id stands for, where a server has seen the proof already: its nkey.

        Raises `CredentialRefusedError`, `AccessRegisterError`.
        """
        key = self._find(key_id)
        if key is None or not key.nkey or not self.is_good(key):
            raise CredentialRefusedError(NOT_VALID)
        return _caller(key)

    def _find(self, key_id: str) -> AccessKey | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen, self._by_id = None, {}
            return None
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            self._by_id = {key.id: key for key in self._read().keys}
            self._seen = seen
        return self._by_id.get(key_id)

    def _read(self) -> AccessRegister:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=AccessRegister)
        except FileNotFoundError:
            return AccessRegister()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise AccessRegisterError(f"{self._path}: {error}") from error

    def _write(self, keys: tuple[AccessKey, ...]) -> None:
        replace_file(self._path, msgspec.json.encode(AccessRegister(keys=keys)), PRIVATE)

    @contextmanager
    def _changing(self) -> Iterator[AccessRegister]:
        """The register, which nobody else changes meanwhile."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(self._path.with_name(f".{self._path.name}.lock"), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._read()


def _caller(key: AccessKey) -> Caller:
    return Caller(
        tenant=key.tenant,
        role=key.role,
        asker=key.asker or f"key:{key.id}",
        speaks_for_others=not key.asker,
        credential=f"key {key.id}",
    )
