"""No lease without a fresh statement of an allowed site, and none that is forged, replayed, cloned or another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from securesystemslib.dsse import Envelope

from tests.support.lease_lab import BOOT, CODE, MEASURED, OLD_CODE, OTHER_BOOT, POLICY, Lab
from tests.support.trust_hub import NOW
from tidegate.schemas import SiteLease, TidegateError, UnreadableError, replace
from tidegate.sync.trust.attestation import (
    MOST_BYTES,
    measure,
    verify_statement,
)
from tidegate.sync.trust.faults import (
    BadSignatureError,
    ExpiredKeyError,
    RevokedKeyError,
    UnknownKeyError,
    WrongKeyError,
)
from tidegate.sync.trust.leases import (
    BehindEpochError,
    ClonedSiteError,
    LowAssuranceError,
    SiteLeaseRequest,
    StaleNonceError,
    UnexpectedDigestError,
    WrongLeaseError,
    accept_lease,
    revoke_site,
    sign_lease,
)
from tidegate.sync.trust.site_records import (
    ProvisionedSiteError,
    RevokedSiteError,
    UnknownSiteRecordError,
)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_site_that_shows_what_it_runs_gets_a_short_lease(lab: Lab) -> None:
    assert not lab.is_leased()
    assert lab.read(lab.grant(lab.statement())) == SiteLease(
        site="site1", boot_id=BOOT, counter=1, incarnation=1, lasts_s=300, hub_time_ms=NOW, epochs={"default": 3}
    )
    assert lab.is_leased(now_ms=NOW + 299_999)
    assert not lab.is_leased(now_ms=NOW + 300_000)
    assert not lab.is_leased(now_ms=NOW - 1), "the hub's clock went back"


def test_an_envelope_is_dsse_and_in_toto_and_says_what_its_root_is(lab: Lab) -> None:
    data = lab.envelope(lab.statement(assurance="tpm"))
    read = msgspec.json.decode(data)
    assert read["payloadType"] == "application/vnd.in-toto+json"
    envelope = Envelope.from_dict(msgspec.json.decode(data))
    payload = msgspec.json.decode(envelope.payload)
    assert payload["_type"] == "https://in-toto.io/Statement/v1"
    assert payload["predicateType"] == "urn:tidegate:site-attestation:v1"
    assert payload["subject"][0] == {"name": "code", "digest": {"sha256": CODE}}
    assert payload["predicate"]["assurance"] == "software"
    assert verify_statement(data, lab.keyring, NOW).measurements == MEASURED


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b'{"payload": 1, "payloadType": "x", "signatures": []}',
        b'{"payload": "", "payloadType": "x"}',
        b'{"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": []}',
        b'{"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": [1]}',
        b'{"payload": "e30=", "payloadType": "text/plain", "signatures": [{"keyid": "a", "sig": "AA=="}]}',
        b'{"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": [{"keyid":"a", "sig":""}]}',
        b"x" * (MOST_BYTES + 1),
    ],
)  # fmt: skip
def test_what_is_no_statement_is_unreadable(lab: Lab, data: bytes) -> None:
    with pytest.raises(UnreadableError):
        lab.authority.grant(data, lab.keyring, NOW)


def test_a_statement_is_signed_by_the_device_key_of_its_site(lab: Lab, tmp_path: Path) -> None:
    statement = lab.statement()
    author = lab.keys.generate("author", "site1", NOW)
    for key in (lab.site_keys["site2"], lab.hub_key, author):
        with pytest.raises(WrongKeyError):
            lab.authority.grant(lab.envelope(statement, key=key), lab.keyring, NOW)
    stranger = Lab(tmp_path / "stranger")
    with pytest.raises(UnknownKeyError):
        lab.authority.grant(stranger.envelope(statement), lab.keyring, NOW)
    changed = msgspec.json.decode(lab.envelope(statement))
    other = msgspec.json.decode(lab.envelope(statement, measured={"code": OLD_CODE}))
    with pytest.raises(BadSignatureError):
        lab.authority.grant(msgspec.json.encode({**other, "signatures": changed["signatures"]}), lab.keyring, NOW)
    assert lab.grant(statement)  # none of them has used the nonce up


def test_a_key_that_ended_attests_nothing(lab: Lab) -> None:
    statement = lab.statement()
    data = lab.envelope(statement)
    lab.keys.expire(lab.site_keys["site1"].key_id, NOW + 1000)
    with pytest.raises(ExpiredKeyError):
        lab.authority.grant(data, lab.keyring, NOW + 1000)
    lab.keys.revoke(lab.site_keys["site1"].key_id, NOW + 500)
    with pytest.raises(RevokedKeyError):
        lab.authority.grant(data, lab.keyring, NOW + 500)


def test_a_nonce_is_answered_once_in_time_and_by_its_site(lab: Lab) -> None:
    statement = lab.statement()
    with pytest.raises(StaleNonceError, match="not given"):
        lab.grant(lab.statement("site2", nonce=statement.nonce))
    data = lab.envelope(statement)
    lab.authority.grant(data, lab.keyring, NOW)
    with pytest.raises(StaleNonceError, match="answered already"):
        lab.authority.grant(data, lab.keyring, NOW)
    with pytest.raises(StaleNonceError, match="2 s after its time"):
        lab.grant(lab.statement(counter=2), now_ms=NOW + 32_000)
    forgotten = lab.statement(counter=3)
    lab.restart()
    with pytest.raises(StaleNonceError):
        lab.grant(forgotten)
    assert lab.grant(lab.statement(counter=4))


@pytest.mark.parametrize(
    ("measured", "fields", "fault"),
    [
        ({**MEASURED, "code": OLD_CODE}, {}, UnexpectedDigestError),
        ({"code": CODE}, {}, UnexpectedDigestError),
        ({**MEASURED, "policies/default": CODE}, {}, UnexpectedDigestError),
        (MEASURED, {"epochs": {"default": 2}}, BehindEpochError),
        (MEASURED, {"epochs": {}}, BehindEpochError),
    ],
)
def test_a_site_that_is_not_as_the_hub_asks_gets_no_lease_and_is_not_fenced(
    lab: Lab, measured: dict[str, str], fields: dict[str, Any], fault: type[TidegateError]
) -> None:
    with pytest.raises(fault, match="site1"):
        lab.grant(lab.statement(**fields), measured=measured)
    assert not lab.is_leased()
    assert lab.grant(lab.statement(counter=2))
    assert lab.is_leased()


def test_a_hub_that_asks_for_hardware_takes_no_software_key(lab: Lab) -> None:
    lab.policy = msgspec.structs.replace(POLICY, assurance=("tpm",))
    lab.restart()
    with pytest.raises(LowAssuranceError, match="assurance: software"):
        lab.grant(lab.statement(assurance="tpm"))


@pytest.mark.parametrize(
    ("history", "last"),
    [
        (((BOOT, 5),), (OTHER_BOOT, 5)),  # a backup was restored
        (((BOOT, 5),), (OTHER_BOOT, 4)),
        (((BOOT, 5),), (BOOT, 5)),  # the memory of a machine was
        (((BOOT, 5),), (BOOT, 4)),
        (((BOOT, 5), (OTHER_BOOT, 6)), (BOOT, 7)),  # two machines take turns
    ],
)
def test_a_clone_fences_its_site_until_it_is_provisioned_anew(
    lab: Lab, history: tuple[tuple[str, int], ...], last: tuple[str, int]
) -> None:
    for boot_id, counter in history:
        lab.grant(lab.statement(boot_id=boot_id, counter=counter))
    assert lab.is_leased()
    with pytest.raises(ClonedSiteError):
        lab.grant(lab.statement(boot_id=last[0], counter=last[1]))
    lab.restart()
    with pytest.raises(ClonedSiteError, match="is fenced"):
        lab.authority.challenge("site1", NOW)
    assert not lab.is_leased()

    old_key = lab.site_keys["site1"]
    with pytest.raises(ProvisionedSiteError, match="had the device key"):
        lab.records.provision("site1", 2, old_key.key_id)
    with pytest.raises(ProvisionedSiteError, match="1th time"):
        lab.records.provision("site1", 1, lab.keys.generate("device", "site1", NOW + 1).key_id)
    lab.site_keys["site1"] = lab.keys.generate("device", "site1", NOW + 1)
    lab.records.provision("site1", 2, lab.site_keys["site1"].key_id)
    with pytest.raises(ClonedSiteError, match="before"):
        lab.authority.grant(lab.envelope(lab.statement(counter=9), key=old_key), lab.keyring, NOW)
    assert not lab.is_leased()
    assert lab.grant(lab.statement(incarnation=2))
    assert lab.is_leased()


def test_a_site_that_starts_anew_goes_on(lab: Lab) -> None:
    lab.grant(lab.statement(counter=1))
    assert lab.read(lab.grant(lab.statement(boot_id=OTHER_BOOT, counter=2))).boot_id == OTHER_BOOT


def test_a_lease_is_good_for_its_site_only(lab: Lab) -> None:
    lab.grant(lab.statement(counter=1))
    assert (lab.is_leased("site1"), lab.is_leased("site2"), lab.is_leased("site9")) == (True, False, False)
    with pytest.raises(UnknownSiteRecordError):
        lab.authority.challenge("../site1", NOW)
    with pytest.raises(UnknownSiteRecordError):
        lab.authority.challenge("site9", NOW)


def test_a_forged_lease_is_refused(lab: Lab) -> None:
    lease = lab.grant(lab.statement())
    longer = replace(lab.read(lease), lasts_s=999_999)
    site_signer = lab.keys.signer(lab.site_keys["site1"].key_id, NOW)
    with pytest.raises(WrongKeyError, match="device key of site1, not the device key of hub"):
        lab.read(sign_lease(longer, site_signer))
    with pytest.raises(BadSignatureError):
        lab.read(replace(lease, payload=sign_lease(longer, site_signer).payload))
    with pytest.raises(BadSignatureError):
        lab.read(replace(sign_lease(longer, site_signer), signer=lab.hub_key.key_id))


def test_a_revoked_site_has_and_gets_no_lease_for_ever(lab: Lab) -> None:
    lab.grant(lab.statement(counter=1))
    pending = lab.statement(counter=2)
    record = revoke_site(lab.records, "site1", NOW + 7, "stolen")
    assert revoke_site(lab.records, "site1", NOW + 9, "lost") == record
    lab.restart()
    assert not lab.is_leased()
    for refused in (
        lambda: lab.grant(pending),
        lambda: lab.authority.challenge("site1", NOW),
    ):
        with pytest.raises(RevokedSiteError, match="stolen"):
            refused()
    with pytest.raises(ProvisionedSiteError):
        lab.records.provision("site1", 1, lab.keys.generate("device", "site1", NOW).key_id)
    assert lab.grant(lab.statement("site2"))


def test_a_site_takes_only_the_lease_that_answers_it(lab: Lab) -> None:
    signed = lab.grant(lab.statement(counter=4))
    assert accept_lease(signed, lab.keyring, SiteLeaseRequest("site1", BOOT, 4), NOW).hub_time_ms == NOW
    for asked in (("site2", BOOT, 4), ("site1", OTHER_BOOT, 4), ("site1", BOOT, 5)):
        with pytest.raises(WrongLeaseError):
            accept_lease(signed, lab.keyring, SiteLeaseRequest(*asked), NOW)


def test_what_is_measured_is_names_and_bytes_in_any_order(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub" / "__pycache__").mkdir(parents=True)
    for name in ("a.py", "sub/b.py"):
        (tmp_path / "one" / name).write_text(name)
    for name in ("sub/b.py", "a.py"):
        (tmp_path / "two" / name).write_text(name)
    (tmp_path / "two" / "sub" / "__pycache__" / "b.pyc").write_text("compiled")
    assert measure(tmp_path / "one") == measure(tmp_path / "two")
    assert measure(tmp_path / "one" / "a.py") != measure(tmp_path / "one")
    (tmp_path / "two" / "a.py").rename(tmp_path / "two" / "c.py")
    assert measure(tmp_path / "one") != measure(tmp_path / "two")


def test_a_damaged_record_is_named(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "sites" / "site1.json").write_text("{")
    with pytest.raises(UnreadableError, match="site1"):
        lab.authority.challenge("site1", NOW)
