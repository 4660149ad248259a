"""Signs operations with an author's key, and checks them by the register: what sync/signing.py asks of the keys.

The bytes are those of `DocumentOperation`, which relays keep as they are. `at_ms` is when the hub took an operation, by
its own time, never the time that the operation states: its author may choose that. Next: keyring.py."""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import sha256

from cachetools import LRUCache
from securesystemslib.signer import CryptoSigner

from tidegate.schemas.sync import SignedOperation
from tidegate.sync.trust.faults import TrustError
from tidegate.sync.trust.keyring import Keyring, sign_bytes

PURPOSE = b"tidegate/document-operation/v1"
MOST_PROVEN = 8192
"""So many good signatures are remembered: of those that are on their way at once, in some MB."""


class ProvenSignatures:
    """Signatures that are known to be good, the last 8 192 of them: those that were computed here, and those that this
    process made. Several threads may use it."""

    def __init__(self) -> None:
        self._proven: LRUCache[tuple[bytes, bytes, bytes], bool] = LRUCache(MOST_PROVEN)
        self._lock = threading.Lock()

    def has(self, public: bytes, signed: SignedOperation) -> bool:
        """Whether it is known that this key, by its bytes, signed this operation."""
        with self._lock:
            return self._proven.get(_proof(public, signed), False)

    def note(self, public: bytes, signed: SignedOperation) -> None:
        """Remember that it did."""
        with self._lock:
            self._proven[_proof(public, signed)] = True


class AuthorSigner:
    """Signs as one author key; see `signing.Signer`."""

    def __init__(self, signer: CryptoSigner) -> None:
        self._signer = signer
        self.key_id: str = signer.public_key.keyid

    def sign(self, payload: bytes) -> bytes:
        """The signature of an encoded operation."""
        return sign_bytes(self._signer, PURPOSE, payload)


class KeyringVerifier:
    """Checks by the register that `keyring` returns when it is asked; see `signing.SignatureVerifier`.

    Whether a key may sign is asked each time. That it did sign these bytes never changes, and is computed once: the hub
    looks at an operation when it comes, on whichever way, when it is judged, and when it is applied.
    """

    def __init__(self, keyring: Callable[[], Keyring], proven: ProvenSignatures | None = None) -> None:
        """`proven` is given where somebody else knows of good signatures too."""
        self._keyring = keyring
        self._proven = proven or ProvenSignatures()

    def is_signed(self, author: str, key_id: str, signed: SignedOperation, at_ms: int) -> bool:
        """Whether an author key of `author` signed it, which was good at `at_ms`; at 0: which ever was."""
        ring = self._keyring()
        try:
            key = ring.find(key_id, "author", author, at_ms)
            if not self._proven.has(key.public, signed):
                ring.check(key, PURPOSE, signed.payload, signed.signature)
                self._proven.note(key.public, signed)
        except TrustError:
            return False
        return True


def _proof(public: bytes, signed: SignedOperation) -> tuple[bytes, bytes, bytes]:
    """By the bytes of the key, not its id, and with the signature apart: no two checks have one proof."""
    return public, signed.signature, sha256(signed.payload).digest()
