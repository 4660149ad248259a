"""Who signs operations, and who checks that they were signed: what this folder asks of the keys, and no more.

An operation that fails the check is applied nowhere. Next: author.py, which signs; apply.py, which checks."""

from __future__ import annotations

from typing import Protocol

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.sync import DocumentOperation, SignedOperation


class UntrustedOperationError(TidegateError):
    """An operation is not signed by the key that it names, or that key is not one of its author's."""

    hint = "the operation was changed on its way, or its author's key is unknown or revoked: see `tidegate keys`"


class Signer(Protocol):
    """Signs as one key."""

    @property
    def key_id(self) -> str:
        """The id of the public key: 64 hexadecimal digits."""

    def sign(self, payload: bytes) -> bytes:
        """The signature of the payload: Ed25519 (RFC 8032), 64 bytes."""


class SignatureVerifier(Protocol):
    """Knows whose keys are whose."""

    def is_signed(self, author: str, key_id: str, signed: SignedOperation, at_ms: int) -> bool:
        """Whether the key signed the payload, and was one of the author's at `at_ms`, when the hub took it.

        0: the operation was taken before, nobody knows when; then a key that ever was one will do.
        """


def check_signature(
    verifier: SignatureVerifier, operation: DocumentOperation, signed: SignedOperation, at_ms: int = 0
) -> None:
    """Raises `UntrustedOperationError` unless the operation is signed by a key that its author had at `at_ms`, by the
    hub's time; 0: ever had."""
    if not verifier.is_signed(operation.author, operation.signer, signed, at_ms):
        raise UntrustedOperationError(f"{operation.dot} on {operation.document_id} is not signed by {operation.author}")
