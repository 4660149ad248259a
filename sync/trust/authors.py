"""Signs operations with an author's key, and checks them by the register: what sync/signing.py asks of the keys.

The bytes are those of `DocumentOperation`, which relays keep as they are. `at_ms` is when the hub took an operation, by
its own time, never the time that the operation states: its author may choose that. Next: keyring.py."""

from __future__ import annotations

from collections.abc import Callable

from securesystemslib.signer import CryptoSigner

from tidegate.schemas.sync import SignedOperation
from tidegate.sync.trust.faults import TrustError
from tidegate.sync.trust.keyring import Keyring, sign_bytes

PURPOSE = b"tidegate/document-operation/v1"


class AuthorSigner:
    """Signs as one author key; see `signing.Signer`."""

    def __init__(self, signer: CryptoSigner) -> None:
        self._signer = signer
        self.key_id: str = signer.public_key.keyid

    def sign(self, payload: bytes) -> bytes:
        """The signature of an encoded operation."""
        return sign_bytes(self._signer, PURPOSE, payload)


class KeyringVerifier:
    """Checks by the register that `keyring` returns when it is asked; see `signing.SignatureVerifier`."""

    def __init__(self, keyring: Callable[[], Keyring]) -> None:
        self._keyring = keyring

    def is_signed(self, author: str, key_id: str, signed: SignedOperation, at_ms: int) -> bool:
        """Whether an author key of `author` signed it, which was good at `at_ms`; at 0: which ever was."""
        ring = self._keyring()
        try:
            key = ring.find(key_id, "author", author, at_ms)
            ring.check(key, PURPOSE, signed.payload, signed.signature)
        except TrustError:
            return False
        return True
