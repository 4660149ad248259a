"""A site's key: made once, for one user alone; and the digests that follow from it."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from tests.support.vault_samples import KEY
from tidegate.services.privacy.site_key import asker_digest, load_site_key, session_digest


def test_the_key_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "site1.key"
    key = load_site_key(path)
    assert len(key) == 32
    assert load_site_key(path) == key
    assert load_site_key(tmp_path / "other.key") != key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_peers_that_make_the_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    for number in range(30):
        together = threading.Barrier(6)
        keys: list[bytes] = []

        def make(path: Path, together: threading.Barrier = together, keys: list[bytes] = keys) -> None:
            together.wait()
            keys.append(load_site_key(path))

        peers = [threading.Thread(target=make, args=(tmp_path / f"{number}.key",)) for _ in range(6)]
        for peer in peers:
            peer.start()
        for peer in peers:
            peer.join()
        assert len(keys) == 6
        assert len(set(keys)) == 1


def test_half_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.key").write_bytes(b"short")
    with pytest.raises(ValueError, match="5 bytes"):
        load_site_key(tmp_path / "bad.key")


def test_an_asker_is_the_same_over_requests_and_nobody_is_each_request_its_own() -> None:
    assert asker_digest(KEY, "kiosk", "ann", "r1") == asker_digest(KEY, "kiosk", "ann", "r2")
    assert asker_digest(KEY, "kiosk", "", "r1") != asker_digest(KEY, "kiosk", "", "r2")
    assert asker_digest(KEY, "kiosk", "r1", "x") != asker_digest(KEY, "kiosk", "", "r1"), "no asker can pose as a rid"
    different = {asker_digest(key, tenant, "ann", "r") for key in (KEY, bytes(32)) for tenant in ("kiosk", "shop")}
    assert len(different) == 4
    assert all(len(digest) == 32 and int(digest, 16) >= 0 for digest in different)


def test_a_session_is_one_askers_and_without_one_each_request_is_its_own() -> None:
    def of(asker: str, session: str, rid: str, tenant: str = "kiosk") -> str:
        return session_digest(KEY, tenant, asker, session, rid)

    assert of("ann", "loan", "r1") == of("ann", "loan", "r2")
    digests = {
        *(of("ann", "loan", "r1"), of("ann", "rent", "r1"), of("ben", "loan", "r1"), of("ann", "loan", "r1", "shop")),
        *(of("ann", "", "r1"), of("ann", "", "r2"), of("ann", "r1", "r3")),
    }
    assert len(digests) == 7
    assert of("", "loan", "r1") != of("", "loan", "r2"), "nobody has no session"
