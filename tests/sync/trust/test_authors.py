"""A document is its author's: by a key that was good when the hub took it, over just these bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sync_samples import OPERATION
from tidegate.schemas import SignedOperation, encode, replace
from tidegate.sync.trust.authors import PURPOSE, AuthorSigner, KeyringVerifier
from tidegate.sync.trust.keyring import Keyring, sign_bytes
from tidegate.sync.trust.keys import KeyStore

NOW = 1_790_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    store = KeyStore(tmp_path)
    store.generate("author", "site1", NOW, expires_at_ms=NOW + 60_000)
    return store


def signed_by(store: KeyStore, key_id: str) -> SignedOperation:
    payload = encode(replace(OPERATION, signer=key_id))
    return SignedOperation(payload=payload, signature=AuthorSigner(store.signer(key_id, NOW)).sign(payload))


def signed_by_site1(store: KeyStore) -> SignedOperation:
    (key,) = store.good("author", "site1", NOW)
    return signed_by(store, key.key_id)


def is_site1s(store: KeyStore, key_id: str, signed: SignedOperation, at_ms: int = NOW) -> bool:
    """Whether the hub takes it as one of site1, by the register of `store`."""
    return KeyringVerifier(lambda: Keyring.of(store.register())).is_signed("site1", key_id, signed, at_ms)


def test_what_its_author_signed_is_taken_and_no_changed_byte_of_it(store: KeyStore) -> None:
    (key,) = store.good("author", "site1", NOW)
    signed = signed_by_site1(store)
    assert is_site1s(store, key.key_id, signed)
    changed = replace(signed, payload=signed.payload.replace(b"18:00", b"19:00"))
    assert changed != signed
    for forged in (changed, replace(signed, signature=bytes(64))):
        assert not is_site1s(store, key.key_id, forged)


@pytest.mark.parametrize(("role", "owner"), [("author", "site2"), ("device", "site1"), ("targets", "hub")])
def test_nobody_signs_for_another(store: KeyStore, role: str, owner: str) -> None:
    key = store.generate(role, owner, NOW)  # type: ignore[arg-type]
    assert not is_site1s(store, key.key_id, signed_by(store, key.key_id))


def test_the_key_of_a_stranger_is_none(store: KeyStore, tmp_path: Path) -> None:
    stranger = KeyStore(tmp_path / "stranger")
    key = stranger.generate("author", "site1", NOW)
    assert not is_site1s(store, key.key_id, signed_by(stranger, key.key_id))


def test_what_was_taken_before_a_key_ended_stays_readable_and_nothing_later_is_taken(store: KeyStore) -> None:
    signed = signed_by_site1(store)
    (key,) = store.good("author", "site1", NOW)
    assert is_site1s(store, key.key_id, signed, NOW + 59_999)
    assert not is_site1s(store, key.key_id, signed, NOW + 60_000)
    store.revoke(key.key_id, NOW + 1000, "left the firm")
    assert is_site1s(store, key.key_id, signed, NOW + 999)
    assert not is_site1s(store, key.key_id, signed, NOW + 1000)
    assert is_site1s(store, key.key_id, signed, 0), "taken once, nobody knows when"


def test_a_signature_for_another_purpose_is_none(store: KeyStore) -> None:
    (key,) = store.good("author", "site1", NOW)
    payload = encode(replace(OPERATION, signer=key.key_id))
    for purpose in (b"", b"tidegate/lease/v1", PURPOSE + b"2"):
        signature = sign_bytes(store.signer(key.key_id, NOW), purpose, payload)
        assert not is_site1s(store, key.key_id, SignedOperation(payload=payload, signature=signature))
