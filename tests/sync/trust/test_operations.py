"""A document is its author's: by a key that was good when the hub took it, over just these bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sync_samples import OPERATION
from tidegate.schemas import Dot, SignedOperation, TidegateError, encode, replace
from tidegate.sync.trust.faults import (
    BadSignatureError,
    ExpiredKeyError,
    RevokedKeyError,
    UnknownKeyError,
    WrongKeyError,
)
from tidegate.sync.trust.keyring import Keyring, sign_bytes
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.operations import PURPOSE, sign_operation, verify_operation

NOW = 1_790_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    store = KeyStore(tmp_path)
    store.generate("author", "site1", NOW, expires_at_ms=NOW + 60_000)
    return store


def signed_by_site1(store: KeyStore) -> SignedOperation:
    (key,) = store.good("author", "site1", NOW)
    return sign_operation(replace(OPERATION, signer=key.key_id), store.signer(key.key_id, NOW))


def keyring(store: KeyStore) -> Keyring:
    return Keyring.of(store.register())


def test_what_its_author_signed_is_read_as_it_was_written(store: KeyStore) -> None:
    (key,) = store.good("author", "site1", NOW)
    assert verify_operation(signed_by_site1(store), keyring(store), NOW) == replace(OPERATION, signer=key.key_id)


def test_a_changed_byte_is_found_and_the_key_named(store: KeyStore) -> None:
    signed = signed_by_site1(store)
    changed = replace(signed, payload=signed.payload.replace(b"18:00", b"19:00"))
    assert changed != signed
    for forged in (changed, replace(signed, signature=bytes(64))):
        with pytest.raises(BadSignatureError, match="of site1 did not sign"):
            verify_operation(forged, keyring(store), NOW)


@pytest.mark.parametrize(
    ("role", "owner", "fault"),
    [("author", "site2", WrongKeyError), ("device", "site1", WrongKeyError), ("targets", "hub", WrongKeyError)],
)
def test_nobody_signs_for_another(store: KeyStore, role: str, owner: str, fault: type[TidegateError]) -> None:
    key = store.generate(role, owner, NOW)  # type: ignore[arg-type]
    signed = sign_operation(replace(OPERATION, signer=key.key_id), store.signer(key.key_id, NOW))
    with pytest.raises(fault, match=f"{key.key_id} is the {role} key of {owner}, not the author key of site1"):
        verify_operation(signed, keyring(store), NOW)


def test_an_unknown_key_is_named(store: KeyStore, tmp_path: Path) -> None:
    stranger = KeyStore(tmp_path / "stranger")
    stranger.generate("author", "site1", NOW)
    with pytest.raises(UnknownKeyError, match=r"nobody admitted the key [0-9a-f]{64}"):
        verify_operation(signed_by_site1(stranger), keyring(store), NOW)


def test_what_was_taken_before_a_key_ended_stays_readable_and_nothing_later_is_taken(store: KeyStore) -> None:
    signed = signed_by_site1(store)
    (key,) = store.good("author", "site1", NOW)
    assert verify_operation(signed, keyring(store), NOW + 59_999)
    with pytest.raises(ExpiredKeyError, match=key.key_id):
        verify_operation(signed, keyring(store), NOW + 60_000)
    store.revoke(key.key_id, NOW + 1000, "left the firm")
    assert verify_operation(signed, keyring(store), NOW + 999)
    with pytest.raises(RevokedKeyError, match="left the firm"):
        verify_operation(signed, keyring(store), NOW + 1000)


def test_a_signature_for_another_purpose_is_none(store: KeyStore) -> None:
    (key,) = store.good("author", "site1", NOW)
    payload = encode(replace(OPERATION, signer=key.key_id))
    for purpose in (b"", b"tidegate/lease/v1", PURPOSE + b"2"):
        signature = sign_bytes(store.signer(key.key_id, NOW), purpose, payload)
        with pytest.raises(BadSignatureError):
            verify_operation(SignedOperation(payload=payload, signature=signature), keyring(store), NOW)


def test_an_operation_that_names_another_signer_is_not_signed(store: KeyStore) -> None:
    (key,) = store.good("author", "site1", NOW)
    with pytest.raises(WrongKeyError, match="names"):
        sign_operation(replace(OPERATION, dot=Dot("site1@2", 42)), store.signer(key.key_id, NOW))
