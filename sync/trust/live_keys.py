"""The keys that a running process signs with: an exchanged or revoked key counts from the next signature on.

Private keys are decrypted once each; the register is read again where its file changed. Next: keys.py, keyring.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from securesystemslib.signer import CryptoSigner

from tidegate.schemas.sync import SignedOperation
from tidegate.schemas.trust import KeyRegister, KeyRole, TrustedKey
from tidegate.sync.trust.authors import AuthorSigner, ProvenSignatures
from tidegate.sync.trust.faults import UnknownKeyError
from tidegate.sync.trust.keyring import Keyring
from tidegate.sync.trust.keys import REGISTER, KeyStore, Passphrases, no_passphrase
from tidegate.sync.trust.roles import Signers


class LiveKeys:
    """The keys of one owner, a site or the hub, below one directory, and the register beside them."""

    def __init__(self, directory: Path, owner: str, passphrases: Passphrases = no_passphrase) -> None:
        self.store = KeyStore(directory)
        self._register_file = directory / REGISTER
        self._owner = owner
        self._passphrases = passphrases
        self._loaded: dict[str, CryptoSigner] = {}
        self._seen: tuple[int, int, int] | None = None
        self._register = KeyRegister()
        self._keyring = Keyring(())

    def register(self) -> KeyRegister:
        """All keys, as they are now. Raises `KeysMissingError`, `UnreadableError`."""
        self._read()
        return self._register

    def keyring(self) -> Keyring:
        """What checks by them. Raises as `register` does, and `WrongKeyError`."""
        self._read()
        return self._keyring

    def signers(self, roles: Iterable[KeyRole], now_ms: int) -> Signers:
        """What signs as these roles: the good keys whose private halves are here. Raises as `register` does, and
        `PassphraseError`."""
        wanted = set(roles)
        return {key.key_id: self._signer(key, now_ms) for key in self._good(now_ms) if key.role in wanted}

    def newest(self, role: KeyRole, now_ms: int) -> CryptoSigner:
        """What signs as a role now: the youngest good key that is here. Raises `UnknownKeyError` where there was never
        one, `RevokedKeyError` or `ExpiredKeyError` where there is none any more, and as `signers` does."""
        good = [key for key in self._good(now_ms) if key.role == role]
        known = [key for key in self.register().keys if (key.role, key.owner) == (role, self._owner)]
        if not (good or known):
            raise UnknownKeyError(
                f"{self._owner} has no {role} key here", f"`tidegate keys rotate {role} --owner {self._owner}`"
            )
        youngest = max(good or known, key=lambda key: (key.created_at_ms, key.key_id))
        return self._signer(youngest, now_ms) if good else self.store.signer(youngest.key_id, now_ms, self._passphrases)

    def _good(self, now_ms: int) -> list[TrustedKey]:
        return [
            key
            for key in self.register().keys
            if key.owner == self._owner
            and not key.revoked_at_ms
            and not (key.expires_at_ms and now_ms >= key.expires_at_ms)
            and self.store.has_private(key.key_id)
        ]

    def _signer(self, key: TrustedKey, now_ms: int) -> CryptoSigner:
        if key.key_id not in self._loaded:
            self._loaded[key.key_id] = self.store.signer(key.key_id, now_ms, self._passphrases)
        return self._loaded[key.key_id]

    def _read(self) -> None:
        try:
            found = self._register_file.stat()
        except FileNotFoundError:
            self._seen, self._register = None, self.store.register()  # which raises
            return
        seen = (found.st_mtime_ns, found.st_ino, found.st_size)
        if seen != self._seen:
            self._register = self.store.register()
            self._keyring = Keyring.of(self._register)
            self._seen = seen


class _NamesSigner(msgspec.Struct, frozen=True):
    """The part of an operation that says which key signs it."""

    signer: str


class LiveAuthor:
    """Signs operations as an owner's author; see `signing.Signer`. `key_id` is the newest key at that moment; the key
    that an operation names signs it, so that an exchange in the middle of an edit spoils nothing. What it signs is
    `proven`, so that nobody of this process computes it again when it comes back from the hub."""

    def __init__(self, keys: LiveKeys, now_ms: Callable[[], int], proven: ProvenSignatures | None = None) -> None:
        """Raises what `LiveKeys.newest` raises."""
        self._keys = keys
        self._proven = proven or ProvenSignatures()
        self._publics: dict[str, bytes] = {}
        self._now_ms = now_ms
        self._signers: dict[str, AuthorSigner] = {}
        self.key_id  # noqa: B018 - a domain without a key is found out when it starts

    @property
    def key_id(self) -> str:
        """The id of the public key. Raises what `LiveKeys.newest` raises: nothing is written without a good key."""
        signer = self._keys.newest("author", self._now_ms())
        key_id: str = signer.public_key.keyid
        if key_id not in self._signers:
            self._publics |= {key.key_id: key.public for key in self._keys.register().keys}
            self._signers[key_id] = AuthorSigner(signer)
        return key_id

    def sign(self, payload: bytes) -> bytes:
        """The signature of an encoded operation. Raises `UnknownKeyError` where it names another's key."""
        named = msgspec.msgpack.decode(payload, type=_NamesSigner).signer
        if named not in self._signers:
            raise UnknownKeyError(f"the operation names {named}, which is no key of its author here")
        signature = self._signers[named].sign(payload)
        self._proven.note(self._publics[named], SignedOperation(payload=payload, signature=signature))
        return signature
