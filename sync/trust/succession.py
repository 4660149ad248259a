"""A site gives itself a new key: the old one signs it over, and the new one shows that the site has its private half.

Promises that a key succeeds only one of the same role and site that is good then, and that both are good for the time
that was asked. Next: ../shells/key_rotation.py, a site's end; ../shells/lease_link.py, the hub's."""

from __future__ import annotations

import msgspec
from securesystemslib.signer import CryptoSigner

from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.trust import SITE_ROLES, KeysRotated, KeySuccession, SucceedKey, TrustedKey
from tidegate.sync.trust.faults import WrongKeyError
from tidegate.sync.trust.keyring import Keyring, public_key, sign_bytes
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.leases import ClonedSiteError
from tidegate.sync.trust.site_records import SiteRecord

PURPOSE = b"tidegate/key-succession/v1"
POSSESSION = b"tidegate/key-possession/v1"


def sign_succession(succession: KeySuccession, old: CryptoSigner, new: CryptoSigner) -> SucceedKey:
    """The succession as it is sent, signed by both keys."""
    payload = msgspec.msgpack.encode(succession)
    return SucceedKey(
        payload=payload,
        signer=old.public_key.keyid,
        signature=sign_bytes(old, PURPOSE, payload),
        possession=sign_bytes(new, POSSESSION, payload),
    )


def verify_succession(signed: SucceedKey, site: str, keyring: Keyring, at_ms: int) -> KeySuccession:
    """What a site signed over, by a key of the same role that was good at `at_ms`; `site` is who sends it.

    Raises `UnreadableError`, `UnknownKeyError`, `WrongKeyError`, `RevokedKeyError`, `ExpiredKeyError`,
    `BadSignatureError`.
    """
    try:
        succession = msgspec.msgpack.decode(signed.payload, type=KeySuccession)
    except msgspec.DecodeError as error:
        raise UnreadableError(f"the succession of a key: {error}") from error
    key = succession.key
    if key.role not in SITE_ROLES or {succession.site, key.owner} != {site}:
        raise WrongKeyError(f"{site} sends the {key.role} key of {key.owner}, and speaks for its own keys only")
    old = keyring.find(signed.signer, key.role, site, at_ms)
    keyring.check(old, PURPOSE, signed.payload, signed.signature)
    public_key(key)  # raises where its id is not that of its bytes
    Keyring([key]).check(key, POSSESSION, signed.payload, signed.possession)
    return succession


def accept_succession(store: KeyStore, signed: SucceedKey, record: SiteRecord, now_ms: int) -> KeysRotated:
    """At the hub: admit the new key, and let those before it end when the overlap is over. The same again changes
    nothing.

    Raises `ClonedSiteError` for a key of an earlier incarnation, and what `verify_succession` and `KeyStore.admit`
    raise.
    """
    succession = verify_succession(signed, record.site, Keyring.of(store.register()), now_ms)
    if succession.incarnation != record.incarnation or signed.signer in record.former_keys:
        raise ClonedSiteError(f"{record.site} was provisioned anew since: this is what it was before")
    asked = succession.key
    key = TrustedKey(key_id=asked.key_id, role=asked.role, owner=asked.owner, public=asked.public, created_at_ms=now_ms)
    before = [each for each in store.good(key.role, key.owner, now_ms) if each.key_id != key.key_id]
    store.admit(key)
    ends_ms = now_ms + succession.overlap_s * 1000
    ended = tuple(store.expire(each.key_id, ends_ms) for each in before)
    return KeysRotated(keys=(store.find(key.key_id),), before=ended)
