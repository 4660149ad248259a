"""Signs operations on documents, and says whose they are: no document is believed without a signer.

Relays keep the bytes; the key's owner is the operation's author. Next: schemas/sync.py; keyring.py."""

from __future__ import annotations

from securesystemslib.signer import CryptoSigner

from tidegate.schemas.message import decode, encode
from tidegate.schemas.sync import DocumentOperation, SignedOperation
from tidegate.sync.trust.faults import WrongKeyError
from tidegate.sync.trust.keyring import Keyring, sign_bytes

PURPOSE = b"tidegate/document-operation/v1"


def sign_operation(operation: DocumentOperation, signer: CryptoSigner) -> SignedOperation:
    """The operation as the bytes that are relayed, signed. Raises `WrongKeyError` where it names another signer."""
    key_id = signer.public_key.keyid
    if operation.signer != key_id:
        raise WrongKeyError(f"the operation names {operation.signer} as its signer, {key_id} signs")
    payload = encode(operation)
    return SignedOperation(payload=payload, signature=sign_bytes(signer, PURPOSE, payload))


def verify_operation(signed: SignedOperation, keyring: Keyring, at_ms: int) -> DocumentOperation:
    """The operation, which its author has signed with a key that was good at `at_ms`.

    `at_ms` is when the hub took it: the hub's own time, `relayed_at_ms` at a site; never the time that the operation
    states, which its author may choose. So what was taken before a key was revoked or expired can be read for ever.
    Raises `UnreadableError`, `UnknownKeyError`, `WrongKeyError`, `RevokedKeyError`, `ExpiredKeyError` and
    `BadSignatureError`.
    """
    operation = decode(signed.payload, DocumentOperation)
    key = keyring.find(operation.signer, "author", operation.author, at_ms)
    keyring.check(key, PURPOSE, signed.payload, signed.signature)
    return operation
