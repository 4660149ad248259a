"""Access keys: shown once, kept as digests, good until they expire or are revoked, in whatever process."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas.access import Caller
from tidegate.services.access.access_keys import AccessKeys
from tidegate.services.access.callers import asker_of
from tidegate.services.access.faults import AccessRegisterError, CredentialRefusedError, NoSuchAccessKeyError

DAY_MS = 86_400_000


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path, clock: Clock) -> AccessKeys:
    return AccessKeys(tmp_path / "keys" / "access.json", clock)


def is_refused(keys: AccessKeys, text: str) -> bool:
    try:
        keys.check(text)
    except CredentialRefusedError:
        return True
    return False


def test_a_key_stands_for_its_tenant_its_role_and_its_asker(keys: AccessKeys) -> None:
    _, ours = keys.issue("kiosk", "app", DAY_MS, asker="ada")
    app, text = keys.issue("bank", "operator", DAY_MS)
    assert keys.check(ours).asker == "ada"
    assert not keys.check(ours).speaks_for_others
    found = keys.check(text)
    assert (found.tenant, found.role, found.asker, found.speaks_for_others) == (
        "bank",
        "operator",
        f"key:{app.id}",
        True,
    )


def test_the_file_is_private_and_has_no_secret(keys: AccessKeys, tmp_path: Path) -> None:
    _, text = keys.issue("kiosk", "app", DAY_MS)
    path = tmp_path / "keys" / "access.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = text.rsplit("_", 1)[1] if text.count("_") == 2 else text.split("_", 2)[2]
    assert secret.encode() not in path.read_bytes()


def test_a_key_ends_when_it_expires_to_the_millisecond(keys: AccessKeys, clock: Clock) -> None:
    key, text = keys.issue("kiosk", "app", DAY_MS)
    clock.ms = key.expires_at_ms - 1
    assert not is_refused(keys, text)
    clock.ms = key.expires_at_ms
    assert is_refused(keys, text)
    assert not keys.is_good(key)


def test_what_another_process_issues_or_revokes_counts_at_once(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "access.json"
    gateway, command = AccessKeys(path, clock), AccessKeys(path, clock)
    assert is_refused(gateway, "tgk_000000000000_" + "A" * 43)
    key, text = command.issue("kiosk", "app", DAY_MS)
    assert not is_refused(gateway, text)
    assert command.revoke(f"tgk_{key.id}").revoked_at_ms == clock.ms
    assert is_refused(gateway, text)
    path.unlink()
    assert is_refused(gateway, text)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: text + "A",
        lambda text: text[:-1],
        lambda text: text.upper(),
        lambda text: " " + text,
        lambda text: text.replace("tgk_", "tgk-"),
        lambda text: text[: len("tgk_") + 12],
        lambda text: "tgk_" + "0" * 12 + text[16:],
        lambda _: "",
        lambda _: "tgk__",
        lambda text: text + "\n",
        lambda text: "é" + text,
    ],
)
def test_nothing_but_the_whole_key_lets_anybody_in(keys: AccessKeys, change: object) -> None:
    _, text = keys.issue("kiosk", "app", DAY_MS)
    assert is_refused(keys, change(text))  # type: ignore[operator]


def test_the_secret_of_one_key_does_not_open_another(keys: AccessKeys) -> None:
    _, one = keys.issue("kiosk", "app", DAY_MS)
    _, other = keys.issue("bank", "app", DAY_MS)
    assert is_refused(keys, one[:17] + other[17:])


def test_a_damaged_register_lets_nobody_in_and_is_not_written_over(keys: AccessKeys, tmp_path: Path) -> None:
    _, text = keys.issue("kiosk", "app", DAY_MS)
    path = tmp_path / "keys" / "access.json"
    path.write_bytes(b'{"keys": [')
    with pytest.raises(AccessRegisterError, match=r"access\.json"):
        keys.check(text)
    with pytest.raises(AccessRegisterError):
        keys.issue("kiosk", "app", DAY_MS)
    assert path.read_bytes() == b'{"keys": ['


def test_a_key_that_does_not_exist_cannot_be_revoked(keys: AccessKeys) -> None:
    keys.issue("kiosk", "app", DAY_MS)
    with pytest.raises(NoSuchAccessKeyError):
        keys.revoke("tgk_nonenonenone")


NAMES = st.text(max_size=40)


@given(st.booleans(), st.booleans(), NAMES, NAMES)
def test_no_name_makes_a_caller_another_caller(first_is_app: bool, second_is_app: bool, one: str, other: str) -> None:
    """Two callers have one asker only where both are that person's own."""
    first = Caller(
        tenant="t", role="app", asker="key:a" if first_is_app else "ada", speaks_for_others=first_is_app, credential=""
    )
    second = Caller(
        tenant="t",
        role="app",
        asker="key:b" if second_is_app else "bob",
        speaks_for_others=second_is_app,
        credential="",
    )
    found = asker_of(first, one)
    assert found is None or found != asker_of(second, other)
