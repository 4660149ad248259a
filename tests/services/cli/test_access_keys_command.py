"""`tidegate keys issue|issued|revoke`: a key is shown once, works at once, and its end is at once, too."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidegate.brokers.servers.credentials import load_credential
from tidegate.services.access.faults import CredentialRefusedError
from tidegate.services.cli import main
from tidegate.services.fleet.access import open_access_keys
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings


class Keys:
    """`tidegate keys` with one state directory."""

    def __init__(self, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.settings = Settings(state_dir=str(state))
        self._capsys = capsys

    def run(self, *arguments: str, expected: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["keys", *arguments, "--state", self.settings.state_dir])
        printed = self._capsys.readouterr()
        assert "Traceback" not in printed.err
        assert ended.value.code == expected, printed
        return printed.out + printed.err

    def json(self, *arguments: str, expected: int = 0) -> Any:
        return msgspec.json.decode(self.run(*arguments, "--json", expected=expected))


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Keys:
    return Keys(tmp_path / "state", capsys)


def test_a_key_is_shown_once_and_works_until_it_is_revoked(keys: Keys) -> None:
    made = keys.json("issue", "--tenant", "kiosk", "--asker", "ada", "--note", "the till", "--expires", "2")
    text, register = made["key"], open_access_keys(keys.settings)
    assert register.check(text).asker == "ada"
    listed = keys.run("issued") + keys.run("issued", "--json")
    assert made["id"] in listed
    assert "the till" in listed
    assert text not in listed
    assert "digest" not in listed
    keys.run("revoke", made["id"], "--reason", "lost")
    with pytest.raises(CredentialRefusedError):
        register.check(text)
    assert keys.json("issued")[0]["state"] == "revoked"


def test_the_key_stands_alone_in_the_first_line_for_whoever_copies_it(keys: Keys) -> None:
    first = keys.run("issue").splitlines()[0]
    assert open_access_keys(keys.settings).check(first).role == "app"


def test_a_key_for_nats_has_an_account_while_it_is_good_and_the_seed_is_its_owner_s_alone(
    keys: Keys, tmp_path: Path
) -> None:
    seed = tmp_path / "app.nk"
    made = keys.json("issue", "--tenant", "kiosk", "--nats", str(seed))
    accounts, public = StatePaths(keys.settings).applications, load_credential(seed).public
    assert stat.S_IMODE(seed.stat().st_mode) == stat.S_IMODE(accounts.stat().st_mode) == 0o600
    assert made["nkey"] == public
    key_id = made["id"].removeprefix("tgk_")
    assert f"TENANT_kiosk_{key_id}" in accounts.read_text()
    assert public in accounts.read_text()
    assert f"ask.kiosk.{key_id}" in accounts.read_text()
    keys.run("issue", "--tenant", "kiosk")
    assert "no server runs here now" in keys.run("revoke", made["id"])
    assert accounts.read_text() == ""


def test_a_seed_is_never_written_over_and_only_a_key_that_asks_gets_one(keys: Keys, tmp_path: Path) -> None:
    seed = tmp_path / "app.nk"
    seed.write_text("in use")
    assert "is there already" in keys.run("issue", "--nats", str(seed), expected=1)
    assert "does not" in keys.run("issue", "--role", "auditor", "--nats", str(tmp_path / "other.nk"), expected=2)
    assert (seed.read_text(), keys.json("issued")) == ("in use", [])


def test_issuing_and_revoking_are_reported_to_the_audit_log_without_the_secret(keys: Keys) -> None:
    made = keys.json("issue", "--role", "operator")
    keys.run("revoke", made["id"], "--reason", "left")
    folder = StatePaths(keys.settings).audit_events
    reported = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
    assert EventSpool(folder)
    assert reported.count(made["id"].encode()) == 2
    assert b"left" in reported
    assert made["key"][17:].encode() not in reported


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("issue", "--role", "root"), 2),
        (("issue", "--asker", "a/b"), 2),
        (("issue", "--asker", "key:x"), 2),
        (("issue", "--asker", "x" * 65), 2),
        (("issue", "--expires", "0"), 2),
        (("issue", "--tenant", "nobody"), 1),
        (("issue", "--note", "x" * 81), 2),
        (("revoke", "tgk_nonenonenone"), 1),
    ],
)
def test_what_makes_no_sense_makes_no_key(keys: Keys, arguments: tuple[str, ...], code: int) -> None:
    assert keys.json(*arguments, expected=code)["error"]["reason"]
    assert open_access_keys(keys.settings).all() == ()
