"""A document is its author's: by a key that was good when the hub took it, over just these bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from tests.support.sync_samples import OPERATION
from tidegate.schemas import SignedOperation, decode, encode, replace
from tidegate.schemas.sync import DocumentOperation
from tidegate.schemas.trust import TrustedKey
from tidegate.sync.trust.authors import PURPOSE, AuthorSigner, KeyringVerifier, ProvenSignatures
from tidegate.sync.trust.keyring import Keyring, sign_bytes
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.live_keys import LiveAuthor, LiveKeys

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


class CountedKeyring(Keyring):
    """Counts the signatures that it computes."""

    computed = 0

    def check(self, key: TrustedKey, purpose: bytes, payload: bytes, signature: bytes) -> None:
        CountedKeyring.computed += 1
        super().check(key, purpose, payload, signature)


def test_a_signature_is_computed_once_and_its_key_is_judged_each_time(store: KeyStore) -> None:
    verifier = KeyringVerifier(lambda: CountedKeyring.of(store.register()))
    (key,) = store.good("author", "site1", NOW)
    signed, before = signed_by_site1(store), CountedKeyring.computed
    assert all(verifier.is_signed("site1", key.key_id, signed, NOW) for _ in range(3))
    assert CountedKeyring.computed == before + 1
    assert not verifier.is_signed("site2", key.key_id, signed, NOW), "another's"
    store.revoke(key.key_id, NOW + 1000, "left the firm")
    assert not verifier.is_signed("site1", key.key_id, signed, NOW + 1000)


def test_what_this_process_signed_is_not_computed_again_and_what_it_did_not_sign_is(
    store: KeyStore, tmp_path: Path
) -> None:
    proven = ProvenSignatures()
    author = LiveAuthor(LiveKeys(tmp_path, "site1"), lambda: NOW, proven)
    verifier = KeyringVerifier(lambda: CountedKeyring.of(store.register()), proven)
    payload = encode(replace(OPERATION, signer=author.key_id))
    signed, before = SignedOperation(payload=payload, signature=author.sign(payload)), CountedKeyring.computed
    assert verifier.is_signed("site1", author.key_id, signed, NOW)
    assert CountedKeyring.computed == before
    assert not verifier.is_signed("site1", author.key_id, replace(signed, payload=payload + b"x"), NOW)
    assert CountedKeyring.computed == before + 1
    store.revoke(author.key_id, NOW + 1000, "left the firm")
    assert not verifier.is_signed("site1", signed_key(signed), signed, NOW + 1000)


def signed_key(signed: SignedOperation) -> str:
    return decode(signed.payload, DocumentOperation).signer


@given(at=st.integers(min_value=0), bit=st.integers(0, 7), is_payload=st.booleans(), cut=st.integers(0, 8))
def test_what_was_good_once_makes_nothing_else_good(at: int, bit: int, is_payload: bool, cut: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signer = CryptoSigner(private)
    public = private.public_key().public_bytes_raw()
    key = TrustedKey(key_id=signer.public_key.keyid, role="author", owner="site1", public=public, created_at_ms=NOW)
    verifier = KeyringVerifier(lambda: Keyring((key,)))
    payload = b"what its author signed"
    signed = SignedOperation(payload=payload, signature=AuthorSigner(signer).sign(payload))
    assert verifier.is_signed("site1", key.key_id, signed, NOW)
    forged = bytearray(payload if is_payload else signed.signature)
    forged[at % len(forged)] ^= 1 << bit
    changed = replace(signed, **{"payload" if is_payload else "signature": bytes(forged)})
    moved = SignedOperation(payload=signed.signature[64 - cut :] + payload, signature=signed.signature[: 64 - cut])
    for each in (changed, moved) if cut else (changed,):
        assert not verifier.is_signed("site1", key.key_id, each, NOW)
        assert not verifier.is_signed("site1", key.key_id, each, NOW), "nor when it is asked again"
