"""A head is believed of its own log's key only; a cosignature of the witness only; every changed byte is noticed."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas.trust import TrustedKey
from tidegate.services.evidence.checkpoints import (
    BadCheckpointError,
    Checkpoint,
    SignedNote,
    cosign,
    domain_of,
    find_signer,
    origin_of,
    parse_note,
    sign_checkpoint,
    source_of,
    witnessed_at_s,
)

SITE, HUB = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
ROOT = sha256(b"root").digest()
HEAD = Checkpoint("tidegate.audit/site1", 42, ROOT)


def key_of(private: Ed25519PrivateKey, owner: str) -> TrustedKey:
    public = private.public_key().public_bytes_raw()
    return TrustedKey(key_id=sha256(public).hexdigest(), role="author", owner=owner, public=public)


SITE_KEY, HUB_KEY = key_of(SITE, "site1"), key_of(HUB, "hub")


def signed() -> SignedNote:
    return sign_checkpoint(HEAD, SITE_KEY.public, SITE.sign)


def test_a_signed_head_is_text_as_c2sp_has_it() -> None:
    text = f"tidegate.audit/site1\n42\n{b64encode(ROOT).decode()}\n"
    key_hash = sha256(b"tidegate.audit/site1\n\x01" + SITE_KEY.public).digest()[:4]
    line = b64encode(key_hash + SITE.sign(text.encode())).decode()
    assert str(signed()) == f"{text}\n\N{EM DASH} tidegate.audit/site1 {line}\n"
    assert parse_note(str(signed())) == signed()
    assert signed().checkpoint == HEAD


def test_a_head_is_believed_of_a_key_of_its_log_only() -> None:
    assert find_signer(signed(), [HUB_KEY, SITE_KEY]) == SITE_KEY
    with pytest.raises(BadCheckpointError, match="no known key of site1"):
        find_signer(signed(), [HUB_KEY])


def test_a_cosignature_says_when_the_witness_saw_it_and_is_no_signature_of_the_log() -> None:
    both = cosign(signed(), origin_of("hub"), HUB_KEY.public, HUB.sign, 1_700_000_000)
    read = parse_note(str(both))
    key_hash = sha256(b"tidegate.audit/hub\n\x04" + HUB_KEY.public).digest()[:4]
    signature = HUB.sign(f"cosignature/v1\ntime 1700000000\n{both.text}".encode())
    line = b64encode(key_hash + (1_700_000_000).to_bytes(8) + signature).decode()
    assert str(both) == f"{signed()}\N{EM DASH} tidegate.audit/hub {line}\n"
    assert witnessed_at_s(read, origin_of("hub"), [SITE_KEY, HUB_KEY]) == 1_700_000_000
    assert witnessed_at_s(read, origin_of("site2"), [SITE_KEY, HUB_KEY]) == 0
    assert witnessed_at_s(signed(), origin_of("hub"), [HUB_KEY]) == 0
    assert find_signer(read, [SITE_KEY]) == SITE_KEY
    alone = SignedNote(both.text, both.signatures[1:])
    with pytest.raises(BadCheckpointError):
        find_signer(alone, [SITE_KEY, HUB_KEY])


@given(st.data())
def test_no_changed_character_is_believed(data: st.DataObject) -> None:
    note = str(cosign(signed(), origin_of("hub"), HUB_KEY.public, HUB.sign, 1_700_000_000))
    at = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.sampled_from("A1/\n -\N{EM DASH}=").filter(lambda char: char != note[at]))
    try:
        read = parse_note(note[:at] + other + note[at + 1 :])
        find_signer(read, [SITE_KEY])
        changed = read.checkpoint != HEAD or read.text != HEAD.text
        is_witnessed = witnessed_at_s(read, origin_of("hub"), [HUB_KEY]) == 1_700_000_000
    except BadCheckpointError:
        return
    assert not changed
    assert not is_witnessed, "the changed character was in a signature"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "one line",
        "tidegate.audit/site1\n42\n\n",
        str(signed()).replace("\n42\n", "\n042\n"),
        str(signed()).replace("\n42\n", "\n-1\n"),
        str(signed()).replace("\n42\n", "\n4x\n"),
        str(signed()).replace("\n", "\r\n"),
        str(signed()).removesuffix("\n"),
        str(signed()).replace("\N{EM DASH}", "-"),
        "o\n1\n!!\n\n\N{EM DASH} o AAAAAAAA\n",
        "o\n1\nAAAA\n\n\N{EM DASH} o AAAAAAAA\n",
        "x" * 20_000,
    ],
)
def test_what_is_no_checkpoint_is_refused(note: str) -> None:
    with pytest.raises(BadCheckpointError):
        find_signer(parse_note(note), [SITE_KEY])


def test_a_log_s_name_is_its_domain_s() -> None:
    assert domain_of(origin_of("site1")) == "site1"
    assert source_of(origin_of("site1", 1)) == ("site1", 1)
    assert source_of(origin_of("site1", 12)) == ("site1", 12)
    assert origin_of("site1", 1) == origin_of("site1") != origin_of("site1", 2)
    for origin in ("tidegate.audit/", "example.org/log", "site1", "tidegate.audit/site1@1", "tidegate.audit/a b"):
        with pytest.raises(BadCheckpointError):
            domain_of(origin)
