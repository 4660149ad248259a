"""What is said of trust: public keys and whose they are, and leases as signed bytes.

A key is named by the id that TUF gives it; next: schemas/artefact.py; sync/trust/keys.py."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.message import Message, Millis, Name
from tidegate.schemas.sync import KeyId

SiteRole = Literal["device", "author"]
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


SITE_ROLES: tuple[SiteRole, ...] = ("device", "author")
"""The keys that a site has for itself."""
MOST_OVERLAP_S = 365 * 86_400
OverlapS = Annotated[int, msgspec.Meta(ge=0, le=MOST_OVERLAP_S)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class KeySuccession(msgspec.Struct, frozen=True, kw_only=True):
    """A new key of a site, in one of its incarnations; those of its role before it are good for `overlap_s` seconds."""

    site: Name
    incarnation: Annotated[int, msgspec.Meta(ge=1)]
    key: TrustedKey
    overlap_s: OverlapS


class SucceedKey(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A site has the hub admit a new key of its own: a `KeySuccession` as MessagePack, signed (Ed25519, RFC 8032) by
    the key `signer` before it, and by the new one, which shows its `possession`. Answered by `KeysRotated`."""

    payload: Annotated[bytes, msgspec.Meta(max_length=4096)]
    signer: KeyId
    signature: Signature
    possession: Signature


class RotateKeys(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Asks the sync worker of a site to exchange the site's own keys with its hub. Answered by `KeysRotated`."""

    roles: Annotated[tuple[SiteRole, ...], msgspec.Meta(min_length=1, max_length=2)] = ("device", "author")
    overlap_s: OverlapS = 7 * 86_400


class KeysRotated(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The keys that were admitted, and those `before` them, with the times when these end by the hub's clock."""

    keys: tuple[TrustedKey, ...]
    before: tuple[TrustedKey, ...] = ()
