"""Keys are files that this user alone can read; what was revoked or has expired signs nothing any more."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import SSlibKey

from tidegate.schemas import KeyRegister, UnreadableError
from tidegate.sync.trust.faults import ExpiredKeyError, RevokedKeyError, UnknownKeyError, WrongKeyError
from tidegate.sync.trust.keyring import Keyring, public_key
from tidegate.sync.trust.keys import (
    REGISTER,
    AmbiguousKeyError,
    KeysMissingError,
    KeyStore,
    PassphraseError,
    PrivateKeyMissingError,
)

NOW = 1_790_000_000_000


def test_a_key_is_a_private_file_and_an_entry_under_the_id_that_tuf_gives_it(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    key = store.generate("author", "site1", NOW)
    tuf_id = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(key.public)).keyid
    assert key.key_id == tuf_id
    assert store.register().keys == (key,)
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").glob("[!.]*")}
    assert files == {f"{tuf_id}.pem": 0o600, REGISTER: 0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert b"BEGIN PRIVATE KEY" in (tmp_path / "keys" / f"{tuf_id}.pem").read_bytes()
    assert store.signer(key.key_id, NOW).public_key == public_key(key)


def test_an_encrypted_key_needs_its_own_passphrase(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    key = store.generate("root", "hub", NOW, passphrase=b"correct horse")
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in (tmp_path / f"{key.key_id}.pem").read_bytes()
    assert store.signer(key.key_id, NOW, lambda asked: b"correct horse" if asked == key else None)
    for wrong in (None, b"", b"battery staple"):
        with pytest.raises(PassphraseError, match="root key"):
            store.signer(key.key_id, NOW, {key: wrong}.get)


def test_a_revoked_key_signs_nothing_and_stays_revoked_for_its_first_reason(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    key = store.generate("device", "site1", NOW)
    revoked = store.revoke(key.key_id, NOW + 5, "stolen")
    assert (revoked.revoked_at_ms, revoked.reason) == (NOW + 5, "stolen")
    assert store.revoke(key.key_id, NOW + 9, "lost") == revoked
    store.admit(key)
    with pytest.raises(RevokedKeyError, match=f"{key.key_id}.*stolen"):
        store.signer(key.key_id, NOW)
    assert store.good("device", "site1", NOW) == ()


def test_a_key_ends_when_it_is_said_and_never_later_than_before(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    key = store.generate("author", "site1", NOW, expires_at_ms=NOW + 10_000)
    assert store.expire(key.key_id, NOW + 20_000).expires_at_ms == NOW + 10_000
    assert store.expire(key.key_id, NOW + 5_000).expires_at_ms == NOW + 5_000
    assert store.signer(key.key_id, NOW + 4_999)
    with pytest.raises(ExpiredKeyError, match=f"{key.key_id} of site1 expired 3 s"):
        store.signer(key.key_id, NOW + 8_000)


def test_of_several_keys_the_newest_is_first(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    made = [store.generate("author", "hub", NOW + later) for later in (1, 3, 2)]
    store.generate("author", "site1", NOW)
    assert store.good("author", "hub", NOW) == (made[1], made[2], made[0])


def test_a_key_is_found_by_how_its_id_begins(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    with pytest.raises(KeysMissingError, match="no register"):
        store.register()
    key = store.generate("author", "hub", NOW)
    twin = msgspec.structs.replace(key, key_id=key.key_id[:-1] + ("0" if key.key_id[-1] != "0" else "1"))
    assert store.find(key.key_id[:8]) == key
    with pytest.raises(UnknownKeyError, match="no key begins"):
        store.find("")
    store.admit(twin)
    with pytest.raises(AmbiguousKeyError, match="2 keys"):
        store.find(key.key_id[:8])


def test_keys_that_are_not_what_they_are_called_are_refused(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    one, two = store.generate("author", "site1", NOW), store.generate("author", "site2", NOW)
    with pytest.raises(WrongKeyError, match="of site1 already"):
        store.admit(msgspec.structs.replace(one, owner="site2"))
    with pytest.raises(WrongKeyError, match="has the id"):
        Keyring.of(KeyRegister(keys=(msgspec.structs.replace(one, public=two.public),)))
    (tmp_path / f"{one.key_id}.pem").write_bytes((tmp_path / f"{two.key_id}.pem").read_bytes())
    with pytest.raises(WrongKeyError, match="holds another key"):
        store.signer(one.key_id, NOW)
    (tmp_path / f"{one.key_id}.pem").unlink()
    assert not store.has_private(one.key_id)
    with pytest.raises(PrivateKeyMissingError, match="private half"):
        store.signer(one.key_id, NOW)
    (tmp_path / REGISTER).write_text("[]")
    with pytest.raises(UnreadableError):
        store.register()
