"""`tidegate keys`: real keys and a real repository, which a site believes after every command."""

from __future__ import annotations

import asyncio
import stat
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.command import tidegate
from tests.support.nats_fleet import until
from tests.support.trust_fleet import trust_fleet
from tidegate.services.cli import main
from tidegate.sync.rules.staleness import Now
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.faults import RevokedKeyError
from tidegate.sync.trust.keyring import Keyring
from tidegate.sync.trust.sources import DirectorySource

TUF = ("root", "targets", "snapshot", "timestamp")


class Command:
    """`tidegate keys` with one state directory."""

    def __init__(self, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.state = state
        self._capsys = capsys

    def run(self, *arguments: str, expected: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["keys", *arguments, "--state", str(self.state)])
        printed = self._capsys.readouterr()
        assert "Traceback" not in printed.err
        assert ended.value.code == expected, printed
        return printed.out + printed.err

    def json(self, *arguments: str, expected: int = 0) -> Any:
        return msgspec.json.decode(self.run(*arguments, "--json", expected=expected))

    def error(self, *arguments: str, expected: int = 1) -> tuple[str, str]:
        found = self.json(*arguments, expected=expected)["error"]
        assert found["hint"]
        return found["code"], found["reason"]

    def ids(self, role: str, state: str = "good", owner: str = "hub") -> list[str]:
        return [
            key["key_id"]
            for key in self.json("list")
            if (key["role"], key["state"], key.get("owner")) == (role, state, owner)
        ]

    def seen(self, site: str) -> Keyring:
        """The keys that a site trusts, which knows the hub's first root, and reads its repository now."""
        repository = self.state / "repository"
        now_ms = int(time.time() * 1000)

        async def refresh() -> Keyring:
            client = RepositoryClient(self.state / site, DirectorySource(repository))
            client.provision((repository / "metadata" / "1.root.json").read_bytes())
            await client.refresh(Now(boot_id="ab" * 8, monotonic_ms=now_ms, wall_ms=now_ms))
            return await client.keyring()

        return asyncio.run(refresh())


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    for variable in ("TIDEGATE_KEYS_PASSPHRASE", "TIDEGATE_ROOT_PASSPHRASE"):
        monkeypatch.delenv(variable, raising=False)
    return Command(tmp_path / "state", capsys)


def test_a_hub_gets_its_keys_and_a_repository_that_a_site_believes(keys: Command) -> None:
    made = keys.json("init")
    assert [key["role"] for key in made["keys"]] == [*TUF, "device", "author"]
    assert made["repository"] == str(keys.state / "repository")
    files = sorted((keys.state / "keys").glob("*.pem"))
    assert {path.stem for path in files} == {key["key_id"] for key in made["keys"]}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    listed = keys.json("list")
    assert [(key["role"], key["state"], key["is_here"]) for key in listed] == [
        (role, "good", True) for role in (*TUF, "device", "author")
    ]
    (device,) = keys.ids("device")
    assert keys.seen("site").find(device, "device", "hub", 0).owner == "hub"
    assert f"{device}  device     hub         good, private key here" in keys.run("list")


@pytest.mark.parametrize("role", TUF)
def test_a_role_gets_a_new_key_and_loses_the_old_one(keys: Command, role: str) -> None:
    keys.json("init")
    keys.seen("site")
    (old,) = keys.ids(role)
    rotated = keys.json("rotate", role)
    assert rotated["before"] == [old]
    assert set(keys.ids(role)) == {old, rotated["key"]["key_id"]}
    keys.seen("site")
    assert keys.json("revoke", old[:8], "--reason", "rotated")["reason"] == "rotated"
    assert keys.ids(role) == [rotated["key"]["key_id"]]
    keys.seen("site")
    keys.seen("new-site")
    keys.json("rotate", "timestamp")  # what signed before signs on


def test_keys_of_documents_and_devices_overlap_and_sites_hear_of_a_revocation(keys: Command) -> None:
    keys.json("init")
    (old,) = keys.ids("author")
    new = keys.json("rotate", "author", "--overlap-days", "1")["key"]["key_id"]
    now_ms = int(time.time() * 1000)
    trusted = keys.seen("site")
    assert trusted.find(old, "author", "hub", now_ms)
    assert trusted.find(new, "author", "hub", now_ms + 30 * 86_400_000)
    keys.json("rotate", "author", "--overlap-days", "0")
    assert set(keys.ids("author", "expired")) == {old, new}
    (device,) = keys.ids("device")
    keys.run("revoke", device, "--reason", "stolen")
    with pytest.raises(RevokedKeyError, match="stolen"):
        keys.seen("site").find(device, "device", "hub", now_ms + 60_000)
    assert "revoked (stolen)" in keys.run("list")


def test_a_site_makes_its_own_two_keys_and_no_repository(keys: Command) -> None:
    made = keys.json("init", "--owner", "site1")
    assert [(key["role"], key["owner"]) for key in made["keys"]] == [("device", "site1"), ("author", "site1")]
    assert keys.json("init", "--owner", "site1") == made
    assert not (keys.state / "repository").exists()
    (before,) = keys.json("rotate", "author", "--owner", "site1")["before"]
    assert before == made["keys"][1]["key_id"]
    assert keys.json("revoke", before)["revoked_at_ms"]


def test_a_root_may_be_kept_on_a_medium_of_its_own(keys: Command, tmp_path: Path) -> None:
    medium = ("--root-keys", str(tmp_path / "medium"))
    keys.json("init", *medium, "--root-count", "3", "--root-threshold", "2")
    roots = keys.ids("root")
    assert {path.stem for path in (tmp_path / "medium").glob("*.pem")} == set(roots)
    assert not set(roots) & {path.stem for path in (keys.state / "keys").glob("*.pem")}
    code, reason = keys.error("rotate", "timestamp")
    assert (code, "root: 0 of the 3 keys signed, 2 must" in reason) == ("threshold_not_met", True)
    assert len(keys.ids("timestamp")) == 1
    keys.json("rotate", "timestamp", *medium)
    keys.json("revoke", roots[0], *medium)
    assert keys.error("revoke", roots[1], *medium) == (
        "last_key", "root would have 1 keys, and 2 must sign",
    )  # fmt: skip
    assert set(keys.ids("root")) == set(roots[1:])
    keys.seen("site")


def test_private_keys_are_encrypted_by_a_passphrase_of_the_environment(
    keys: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_KEYS_PASSPHRASE", "correct horse")
    monkeypatch.setenv("TIDEGATE_ROOT_PASSPHRASE", "battery staple")
    keys.json("init")
    assert all(b"ENCRYPTED" in path.read_bytes() for path in (keys.state / "keys").glob("*.pem"))
    keys.json("rotate", "snapshot")
    monkeypatch.setenv("TIDEGATE_ROOT_PASSPHRASE", "correct horse")
    code, reason = keys.error("rotate", "snapshot")
    assert (code, "root key" in reason) == ("passphrase", True)
    monkeypatch.delenv("TIDEGATE_KEYS_PASSPHRASE")
    assert keys.error("rotate", "device")[0] == "passphrase"
    assert len(keys.ids("snapshot")) == 2
    assert "correct horse" not in keys.run("list")


def test_an_init_that_was_killed_goes_on_with_the_keys_that_it_made(keys: Command) -> None:
    keys.json("init")
    before = keys.json("list")
    (keys.state / "repository" / "metadata" / "timestamp.json").unlink()
    keys.json("init")
    assert keys.json("list") == before
    keys.seen("site")


@pytest.mark.parametrize(
    ("arguments", "code", "reason", "exit_code"),
    [
        (("init",), "repository_exists", "is a repository already", 1),
        (("revoke", "ffff" * 16), "unknown_key", "no key begins with", 1),
        (("rotate", "timstamp"), "usage", "there is no role 'timstamp'", 2),
        (("init", "--owner", "Site 1"), "usage", "no name of a site", 2),
        (("init", "--root-threshold", "2"), "usage", "2 of 1 keys", 2),
        (("rotate", "timestamp", "--repository", "{state}/none"), "repository_missing", "is no repository", 1),
        (("list", "--keys", "{state}/none"), "keys_missing", "no register of keys", 1),
        (("rotate", "author", "--owner", "../x"), "usage", "no name of a site", 2),
    ],
)
def test_what_cannot_be_done_is_named_and_changes_no_key(
    keys: Command, arguments: tuple[str, ...], code: str, reason: str, exit_code: int
) -> None:
    keys.json("init")
    before = keys.json("list")
    named = keys.error(*(each.replace("{state}", str(keys.state)) for each in arguments), expected=exit_code)
    assert named[0] == code
    assert reason in named[1]
    assert keys.json("list") == before


def test_the_last_key_of_a_role_stays(keys: Command) -> None:
    keys.json("init")
    (only,) = keys.ids("targets")
    assert keys.error("revoke", only)[0] == "last_key"
    assert keys.ids("targets") == [only]


@pytest.mark.anyio
async def test_a_running_site_exchanges_its_own_keys(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub(), fleet.open_site("site1") as site:
        fleet.make_known()

        async def run(*arguments: str, expected: int = 0) -> Any:
            where = ("--site", "site1", "--json", "--state", fleet.settings.state_dir)
            ran = await asyncio.to_thread(tidegate, "keys", "rotate", *arguments, *where)
            assert ran.returncode == expected, (ran.stdout, ran.stderr)
            return msgspec.json.decode(ran.stdout)

        async def is_leased() -> bool:
            return site.is_leased

        await until(is_leased)
        before = site.signer.key_id
        both = await run("--overlap-days", "1")
        assert [key["role"] for key in both["keys"]] == ["device", "author"]
        assert before in {key["key_id"] for key in both["before"]}
        one = await run("author")
        assert [key["role"] for key in one["keys"]] == ["author"]
        assert site.signer.key_id == one["keys"][0]["key_id"]
        assert (await site.attester.attest()).code == ""
        await run("targets", expected=2)
