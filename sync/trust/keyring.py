"""Judges signatures by the register of keys: which key, whether it may sign this, at this time, and whether it did.

Promises an error that names the key for one that is unknown, of another role or owner, revoked or expired.
Next: keys.py, where private keys are; authors.py, leases.py, which are signed so."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import CryptoSigner, SSlibKey

from tidegate.schemas.trust import KeyRegister, KeyRole, TrustedKey
from tidegate.sync.trust.faults import (
    BadSignatureError,
    ExpiredKeyError,
    RevokedKeyError,
    UnknownKeyError,
    WrongKeyError,
)


def public_key(key: TrustedKey) -> SSlibKey:
    """The key in the form of securesystemslib, which TUF and DSSE take.

    Raises `WrongKeyError` where its id is not that of its bytes: two registers could name two keys alike.
    """
    made = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(key.public))
    if made.keyid != key.key_id:
        raise WrongKeyError(f"the key called {key.key_id} has the id {made.keyid}")
    return made


def sign_bytes(signer: CryptoSigner, purpose: bytes, payload: bytes) -> bytes:
    """The Ed25519 signature (RFC 8032) of `purpose` and `payload`.

    `purpose` separates domains: what was signed as one kind of thing is never believed as another.
    """
    return bytes.fromhex(signer.sign(purpose + b"\0" + payload).signature)


class Keyring:
    """The keys of a register, for checking signatures; immutable, and made anew where the register changes."""

    def __init__(self, keys: Iterable[TrustedKey]) -> None:
        self._keys = {key.key_id: key for key in keys}
        self._loaded = functools.cache(lambda key_id: Ed25519PublicKey.from_public_bytes(self._keys[key_id].public))

    @classmethod
    def of(cls, register: KeyRegister) -> Keyring:
        """The keyring of a register. Raises `WrongKeyError` where a key's id is not that of its bytes."""
        for key in register.keys:
            public_key(key)
        return cls(register.keys)

    @property
    def keys(self) -> tuple[TrustedKey, ...]:
        """All of them, by their ids."""
        return tuple(self._keys[key_id] for key_id in sorted(self._keys))

    def find(self, key_id: str, role: KeyRole, owner: str, at_ms: int) -> TrustedKey:
        """The key of this id, which may sign as `role` for `owner` at `at_ms`, by the hub's time.

        Raises `UnknownKeyError`, `WrongKeyError`, `RevokedKeyError`, `ExpiredKeyError`.
        """
        key = self._keys.get(key_id)
        if key is None:
            raise UnknownKeyError(f"nobody admitted the key {key_id}")
        if (key.role, key.owner) != (role, owner):
            raise WrongKeyError(f"{key_id} is the {key.role} key of {key.owner}, not the {role} key of {owner}")
        if key.revoked_at_ms and at_ms >= key.revoked_at_ms:
            raise RevokedKeyError(f"{key_id} of {owner} was revoked: {key.reason or 'no reason is known'}")
        if key.expires_at_ms and at_ms >= key.expires_at_ms:
            raise ExpiredKeyError(f"{key_id} of {owner} expired {(at_ms - key.expires_at_ms) // 1000} s before")
        return key

    def check(self, key: TrustedKey, purpose: bytes, payload: bytes, signature: bytes) -> None:
        """Raises `BadSignatureError` unless the key signed `payload` for this purpose (see `sign_bytes`)."""
        self.check_bytes(key, purpose + b"\0" + payload, signature)

    def check_bytes(self, key: TrustedKey, data: bytes, signature: bytes) -> None:
        """Raises `BadSignatureError` unless the key signed just these bytes, whose form says what they are for."""
        try:
            self._loaded(key.key_id).verify(signature, data)
        except InvalidSignature as error:
            raise BadSignatureError(f"{key.key_id} of {key.owner} did not sign these bytes") from error
