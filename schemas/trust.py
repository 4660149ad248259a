"""What is said of trust: public keys and whose they are, and leases as signed bytes.

A key is named by the id that TUF gives it; next: schemas/artefact.py; sync/trust/keys.py."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.message import Message, Millis, Name
from tidegate.schemas.sync import KeyId

KeyRole = Literal["root", "targets", "snapshot", "timestamp", "device", "author"]
"""The four of TUF; `device` signs attestations of a site and, at the hub, leases; `author` signs documents."""


class TrustedKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An Ed25519 public key (RFC 8032), what it may sign, and whose it is: a site's, or the hub's.

    It signs nothing from `expires_at_ms` or `revoked_at_ms` on, by the hub's time; 0: there is no such time.
    """

    key_id: KeyId
    role: KeyRole
    owner: Name
    public: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    created_at_ms: Millis = 0
    expires_at_ms: Millis = 0
    revoked_at_ms: Millis = 0
    reason: str = ""


class KeyRegister(Message, frozen=True, kw_only=True, omit_defaults=True):
    """All keys that were ever trusted, also those that are no longer: what was signed before stays readable.

    Signed as a TUF target: how a site learns that a key was revoked.
    """

    keys: tuple[TrustedKey, ...] = ()


class SignedLease(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A `SiteLease` as the MessagePack that the hub's device key `signer` signed."""

    payload: bytes
    signer: KeyId
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
