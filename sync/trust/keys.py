"""Keeps Ed25519 keys as files: private ones by their id (PKCS#8 PEM, mode 0600), public ones in one register.

A key is in the register before its private half is used, and stays there, revoked or expired, for ever.
Next: keyring.py, which judges signatures by the register; repository.py, whose roles these keys sign."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import decode, encode_json
from tidegate.schemas.trust import KeyRegister, KeyRole, TrustedKey
from tidegate.sync.trust.faults import ExpiredKeyError, RevokedKeyError, UnknownKeyError, WrongKeyError
from tidegate.sync.trust.files import PRIVATE, replace_file

REGISTER = "register.json"
Passphrases = Callable[[TrustedKey], bytes | None]
"""Asks for the passphrase of a key; None: there is none."""


class KeysMissingError(TidegateError, LookupError):
    """There is no register of keys here."""

    hint = "make keys with `tidegate keys init`, or name the directory where they are with --keys"


class PrivateKeyMissingError(TidegateError, LookupError):
    """The key is known, but its private half is not here."""

    hint = "attach the medium that holds it, and name its directory; keys of the root are kept offline"


class PassphraseError(TidegateError):
    """The private key is encrypted, and the passphrase is missing or wrong."""

    hint = "set TIDEGATE_KEYS_PASSPHRASE (TIDEGATE_ROOT_PASSPHRASE for keys of the root), or run it on a terminal"


class AmbiguousKeyError(TidegateError, LookupError):
    """More than one key begins like this."""

    hint = "give more of the key's id; `tidegate keys list` shows them whole"


def no_passphrase(key: TrustedKey) -> None:
    """Keys here are not encrypted."""


class KeyStore:
    """The keys below one directory. `register` is what all may know; private halves never leave their files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever kept here."""
        return not (self._directory / REGISTER).exists()

    def register(self) -> KeyRegister:
        """All keys. Raises `KeysMissingError`, and `UnreadableError` for a file that is none."""
        try:
            data = (self._directory / REGISTER).read_bytes()
        except FileNotFoundError as error:
            raise KeysMissingError(f"{self._directory} has no register of keys") from error
        return decode(data, KeyRegister)

    def published(self) -> KeyRegister:
        """The keys that sites judge documents and leases by; those of the repository are in its root. Raises as
        `register` does."""
        return KeyRegister(keys=tuple(key for key in self.register().keys if key.role in ("device", "author")))

    def find(self, key_id: str) -> TrustedKey:
        """The key whose id begins so. Raises `UnknownKeyError`, `AmbiguousKeyError`, `KeysMissingError`."""
        found = [key for key in self.register().keys if key.key_id.startswith(key_id)]
        if not found or len(key_id) < 4:
            raise UnknownKeyError(
                f"no key begins with {key_id!r}", "`tidegate keys list` shows the keys that there are"
            )
        if len(found) > 1:
            raise AmbiguousKeyError(f"{len(found)} keys begin with {key_id}")
        return found[0]

    def good(self, role: KeyRole, owner: str, now_ms: int) -> tuple[TrustedKey, ...]:
        """The keys of a role and an owner that are neither revoked nor expired, the newest first."""
        keys = [key for key in self.register().keys if (key.role, key.owner) == (role, owner)]
        good = [key for key in keys if _why_not(key, now_ms) is None]
        return tuple(sorted(good, key=lambda key: key.created_at_ms, reverse=True))

    def generate(
        self, role: KeyRole, owner: str, now_ms: int, expires_at_ms: int = 0, passphrase: bytes | None = None
    ) -> TrustedKey:
        """Make a key, write its private half, and then admit it; `expires_at_ms` 0: it does not. Raises `OSError`."""
        private = Ed25519PrivateKey.generate()
        key = TrustedKey(
            key_id=CryptoSigner(private).public_key.keyid,
            role=role,
            owner=owner,
            public=private.public_key().public_bytes_raw(),
            created_at_ms=now_ms,
            expires_at_ms=expires_at_ms,
        )
        encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        _make_private(self._directory)
        replace_file(self._private_file(key.key_id), pem, PRIVATE)
        self.admit(key)
        return key

    def admit(self, key: TrustedKey) -> None:
        """Put a public key into the register; one that is known is not changed. Raises `WrongKeyError` for one that is
        known as another's, `UnreadableError`, `OSError`."""
        with self._changing() as keys:
            known = keys.setdefault(key.key_id, key)
            if (known.role, known.owner) != (key.role, key.owner):
                raise WrongKeyError(f"{key.key_id} is the {known.role} key of {known.owner} already")

    def expire(self, key_id: str, expires_at_ms: int) -> TrustedKey:
        """Let a key end at this time; never later than it would anyway. Raises `UnknownKeyError`."""
        with self._changing() as keys:
            key = _known(keys, key_id)
            ends_ms = min(expires_at_ms, key.expires_at_ms or expires_at_ms)
            keys[key_id] = msgspec.structs.replace(key, expires_at_ms=ends_ms)
            return keys[key_id]

    def revoke(self, key_id: str, now_ms: int, reason: str = "") -> TrustedKey:
        """Believe nothing of this key that arrives from now on. Final: the first time and reason stay.

        Raises `UnknownKeyError`.
        """
        with self._changing() as keys:
            key = _known(keys, key_id)
            if not key.revoked_at_ms:
                keys[key_id] = msgspec.structs.replace(key, revoked_at_ms=max(1, now_ms), reason=reason)
            return keys[key_id]

    def signer(self, key_id: str, now_ms: int, passphrases: Passphrases = no_passphrase) -> CryptoSigner:
        """What signs with this key. Raises `UnknownKeyError`, `RevokedKeyError`, `ExpiredKeyError`,
        `PrivateKeyMissingError`, `PassphraseError`."""
        key = _known({each.key_id: each for each in self.register().keys}, key_id)
        if (fault := _why_not(key, now_ms)) is not None:
            raise fault
        try:
            pem = self._private_file(key_id).read_bytes()
        except FileNotFoundError as error:
            raise PrivateKeyMissingError(f"the private half of {key_id} is not in {self._directory}") from error
        return _load(key, pem, passphrases)

    def has_private(self, key_id: str) -> bool:
        """Whether the private half of the key is here."""
        return self._private_file(key_id).exists()

    def hand_over(self, key_id: str) -> bytes:
        """The private half of a key, as its file has it, for the machine that is to have it. Raises
        `PrivateKeyMissingError`."""
        try:
            return self._private_file(key_id).read_bytes()
        except FileNotFoundError as error:
            raise PrivateKeyMissingError(f"the private half of {key_id} is not in {self._directory}") from error

    def forget_private(self, key_id: str) -> None:
        """Have the private half here no longer; the key stays in the register. Raises `OSError`."""
        self._private_file(key_id).unlink(missing_ok=True)

    def take_over(self, key: TrustedKey, pem: bytes) -> None:
        """Keep the private half of a key that was made elsewhere, and admit it. Raises `WrongKeyError`, `OSError`."""
        _make_private(self._directory)
        replace_file(self._private_file(key.key_id), pem, PRIVATE)
        self.admit(key)

    def _private_file(self, key_id: str) -> Path:
        return self._directory / f"{key_id}.pem"

    @contextmanager
    def _changing(self) -> Iterator[dict[str, TrustedKey]]:
        """The register as a table to change; written whole at the end, by one process at a time."""
        _make_private(self._directory)
        with open(os.open(self._directory / ".lock", os.O_WRONLY | os.O_CREAT, PRIVATE), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = {} if self.is_empty else {key.key_id: key for key in self.register().keys}
            before = dict(keys)
            yield keys
            if keys != before:
                replace_file(self._directory / REGISTER, encode_json(KeyRegister(keys=tuple(keys.values()))), PRIVATE)


def _make_private(directory: Path) -> None:
    """Make a directory that only this user may enter, where there is none."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(exist_ok=True, mode=PRIVATE | 0o100)


def _known(keys: dict[str, TrustedKey], key_id: str) -> TrustedKey:
    if key_id not in keys:
        raise UnknownKeyError(f"nobody admitted the key {key_id}")
    return keys[key_id]


def _why_not(key: TrustedKey, now_ms: int) -> TidegateError | None:
    """Why the key may sign nothing now; None where it may."""
    if key.revoked_at_ms:
        return RevokedKeyError(f"{key.key_id} of {key.owner} was revoked: {key.reason or 'no reason is known'}")
    if key.expires_at_ms and now_ms >= key.expires_at_ms:
        return ExpiredKeyError(f"{key.key_id} of {key.owner} expired {(now_ms - key.expires_at_ms) // 1000} s before")
    return None


def _load(key: TrustedKey, pem: bytes, passphrases: Passphrases) -> CryptoSigner:
    passphrase = passphrases(key) if b"ENCRYPTED" in pem.partition(b"\n")[0] else None
    try:
        private = load_pem_private_key(pem, passphrase or None)
    except (TypeError, ValueError) as error:
        raise PassphraseError(f"the {key.role} key {key.key_id} cannot be decrypted") from error
    if not isinstance(private, Ed25519PrivateKey) or private.public_key().public_bytes_raw() != key.public:
        raise WrongKeyError(f"the file of {key.key_id} holds another key")
    return CryptoSigner(private)
