"""A site's new key is admitted by the word of the one before it, and of nobody else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tidegate.schemas import TidegateError
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.trust import KeyRole, KeySuccession, SucceedKey, TrustedKey
from tidegate.sync.trust.faults import (
    BadSignatureError,
    ExpiredKeyError,
    RevokedKeyError,
    UnknownKeyError,
    WrongKeyError,
)
from tidegate.sync.trust.keyring import sign_bytes
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.leases import ClonedSiteError
from tidegate.sync.trust.site_records import SiteRecord
from tidegate.sync.trust.succession import PURPOSE, accept_succession, sign_succession

NOW, DAY_S = 1_790_000_000_000, 86_400


class Scene:
    """A hub that knows the keys of two sites, and site1 with a key that nobody has admitted yet."""

    def __init__(self, directory: Path) -> None:
        self.hub, self.site = KeyStore(directory / "hub"), KeyStore(directory / "site")
        self.other = self.make("author", "site2")
        self.device = self.make("device", "site1")
        self.old = self.make("author", "site1")
        self.new = KeyStore(directory / "next").generate("author", "site1", NOW)
        self.next = KeyStore(directory / "next")
        self.record = SiteRecord(site="site1", incarnation=2, device_key=self.device.key_id)

    def make(self, role: KeyRole, owner: str) -> TrustedKey:
        """A key whose private half is at the site, and which the hub has admitted."""
        key = self.site.generate(role, owner, NOW)
        self.hub.admit(key)
        return key

    def signed(self, by: TrustedKey | None = None, **fields: object) -> SucceedKey:
        succession = KeySuccession(site="site1", incarnation=2, key=self.new, overlap_s=DAY_S)
        succession = msgspec.structs.replace(succession, **fields)
        signer = self.site.signer((by or self.old).key_id, NOW)
        return sign_succession(succession, signer, self.next.signer(self.new.key_id, NOW))

    def good(self, now_ms: int = NOW) -> set[str]:
        return {key.key_id for key in self.hub.good("author", "site1", now_ms)}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_both_keys_are_good_until_the_overlap_is_over_and_then_the_new_one_is(scene: Scene) -> None:
    asked = scene.signed()
    for _ in range(2):  # the reply to the first may be lost
        admitted = accept_succession(scene.hub, asked, scene.record, NOW)
        assert [key.key_id for key in admitted.keys] == [scene.new.key_id]
        assert [(key.key_id, key.expires_at_ms) for key in admitted.before] == [(scene.old.key_id, NOW + DAY_S * 1000)]
    assert scene.good() == {scene.old.key_id, scene.new.key_id}
    assert scene.good(NOW + DAY_S * 1000) == {scene.new.key_id}
    assert not scene.hub.has_private(scene.new.key_id)
    assert scene.hub.good("device", "site1", NOW + 2 * DAY_S * 1000), "the other role is not touched"


def test_what_a_site_says_of_the_times_of_its_key_is_not_believed(scene: Scene) -> None:
    stated = msgspec.structs.replace(scene.new, created_at_ms=NOW * 2, expires_at_ms=1, reason="x")
    accept_succession(scene.hub, scene.signed(key=stated), scene.record, NOW + 5)
    assert scene.hub.find(scene.new.key_id) == msgspec.structs.replace(scene.new, created_at_ms=NOW + 5)


def forged(scene: Scene, name: str) -> SucceedKey:
    """A succession with one thing wrong."""
    good = scene.signed()
    if name == "by another site":
        return scene.signed(by=scene.other)
    if name == "by another role":
        return scene.signed(by=scene.device)
    if name == "for another site":
        return scene.signed(key=msgspec.structs.replace(scene.new, owner="site2"), site="site2")
    if name == "for a role of the hub":
        return scene.signed(key=msgspec.structs.replace(scene.new, role="targets"))
    if name == "of another id":
        return scene.signed(key=msgspec.structs.replace(scene.new, key_id="ab" * 32))
    if name == "of a key that it does not have":
        return msgspec.structs.replace(good, possession=good.signature)
    if name == "changed":
        return msgspec.structs.replace(good, payload=good.payload[:-1] + b"\x00")
    if name == "signed for something else":
        signer = scene.site.signer(scene.old.key_id, NOW)
        return msgspec.structs.replace(good, signature=sign_bytes(signer, PURPOSE + b"2", good.payload))
    if name == "of an earlier incarnation":
        return scene.signed(incarnation=1)
    assert name == "no succession"
    return msgspec.structs.replace(good, payload=b"\x90")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("by another site", WrongKeyError),
        ("by another role", WrongKeyError),
        ("for another site", WrongKeyError),
        ("for a role of the hub", WrongKeyError),
        ("of another id", WrongKeyError),
        ("of a key that it does not have", BadSignatureError),
        ("changed", BadSignatureError),
        ("signed for something else", BadSignatureError),
        ("of an earlier incarnation", ClonedSiteError),
        ("no succession", UnreadableError),
    ],
)
def test_no_other_word_admits_a_key(scene: Scene, name: str, fault: type[TidegateError]) -> None:
    before = scene.hub.register()
    with pytest.raises(fault):
        accept_succession(scene.hub, forged(scene, name), scene.record, NOW)
    assert scene.hub.register() == before


def test_a_key_that_is_no_longer_good_has_no_successor(scene: Scene) -> None:
    asked = scene.signed()
    former = msgspec.structs.replace(scene.record, former_keys=(scene.old.key_id,))
    with pytest.raises(ClonedSiteError):
        accept_succession(scene.hub, asked, former, NOW)
    scene.hub.expire(scene.old.key_id, NOW + 10)
    with pytest.raises(ExpiredKeyError):
        accept_succession(scene.hub, asked, scene.record, NOW + 10)
    scene.hub.revoke(scene.old.key_id, NOW, "stolen")
    with pytest.raises(RevokedKeyError, match="stolen"):
        accept_succession(scene.hub, asked, scene.record, NOW)
    with pytest.raises(UnknownKeyError):
        accept_succession(scene.hub, scene.signed(by=scene.site.generate("author", "site1", NOW)), scene.record, NOW)
