"""`tidegate site`: real keys, records and bundles; attested and examined against a fleet that runs."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.command import tidegate
from tests.support.nats_fleet import until
from tests.support.trust_fleet import TENANT, publish_at, quick_settings, trust_fleet
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.cli import main
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.identity import IdentityFile
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.site_records import SiteRecords
from tidegate.sync.trust.sources import DirectorySource


class Command:
    """`tidegate site` with one state directory."""

    def __init__(self, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
        self.settings = settings
        self._capsys = capsys

    def run(self, *arguments: str, expected: int = 0, state: str = "") -> Any:
        with pytest.raises(SystemExit) as ended:
            main(["site", *arguments, "--json", "--state", state or self.settings.state_dir])
        printed = self._capsys.readouterr()
        assert "Traceback" not in printed.err
        assert ended.value.code == expected, printed
        return msgspec.json.decode(printed.out)

    def paths(self, site: str, state: str = "") -> StatePaths:
        return StatePaths(replace(self.settings, site=site, state_dir=state or self.settings.state_dir))


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(quick_settings(tmp_path), capsys)


def test_a_site_is_provisioned_by_one_command_and_a_second_time_changes_nothing(command: Command) -> None:
    first = command.run("add", "site1")
    assert (first["site"], first["incarnation"], first["is_new"]) == ("site1", 1, True)
    again = command.run("add", "site1")
    assert (again["incarnation"], again["is_new"], again["keys"]) == (1, False, first["keys"])
    own, hub = command.paths("site1"), command.paths(HUB)
    assert IdentityFile(own.trust).load().tenants == (TENANT,)
    assert SiteRecords(hub.site_records).load("site1").device_key == first["keys"]["device"]
    client = RepositoryClient(own.trust, DirectorySource(hub.repository))

    async def known() -> set[str]:
        from tidegate.sync.trust.standing import read_machine_clock

        await client.refresh(read_machine_clock)
        return {key.key_id for key in KeyStore(hub.keys).published().keys if (await client.keyring())._keys[key.key_id]}

    assert set(first["keys"].values()) <= asyncio.run(known())
    with pytest.raises(AssertionError, match="bad_site_name"):
        command.run("add", "No Site")


def test_a_disk_that_was_replaced_is_the_next_incarnation_and_its_old_keys_are_revoked(command: Command) -> None:
    first = command.run("add", "site1")
    command.paths("site1").trust.rename(command.paths("site1").home / "lost")
    second = command.run("add", "site1")
    assert (second["incarnation"], second["is_new"]) == (2, True)
    revoked = {key.key_id: key.reason for key in KeyStore(command.paths(HUB).keys).register().keys if key.revoked_at_ms}
    assert revoked == dict.fromkeys(first["keys"].values(), "site1 was provisioned anew")


def test_a_new_machine_becomes_a_site_by_one_file_and_the_hub_keeps_no_private_key_of_it(
    command: Command, tmp_path: Path
) -> None:
    bundle, elsewhere = tmp_path / "site2.bundle", str(tmp_path / "elsewhere")
    made = command.run("add", "site2", "--bundle", str(bundle))
    assert stat.S_IMODE(os.stat(bundle).st_mode) == 0o600
    hub = KeyStore(command.paths(HUB).keys)
    assert not any(hub.has_private(key_id) for key_id in made["keys"].values())
    for _ in range(2):
        installed = command.run("add", "--from", str(bundle), state=elsewhere)
        assert (installed["site"], installed["incarnation"]) == ("site2", 1)
    own = command.paths("site2", elsewhere)
    assert all(KeyStore(own.keys).has_private(key_id) for key_id in made["keys"].values())
    assert Path(installed["leaf_seed_file"]).read_text().startswith("SU")
    assert not own.repository.exists()
    newer = command.run("add", "site2", "--bundle", str(tmp_path / "newer"))
    assert newer["incarnation"] == 2
    command.run("add", "--from", str(tmp_path / "newer"), state=elsewhere)
    refused = command.run("add", "--from", str(bundle), state=elsewhere, expected=1)
    assert refused["error"]["code"] == "provisioned_disk"
    (tmp_path / "bad").write_bytes(b"{}")
    assert command.run("add", "--from", str(tmp_path / "bad"), expected=1)["error"]["code"] == "unreadable"


def test_a_disk_that_is_mounted_at_the_hub_becomes_a_site_once_and_an_empty_one_its_next_incarnation(
    command: Command, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = command.run("add", "site1", "--into", str(disk))
    assert (made["incarnation"], made["is_new"]) == (1, True)
    hub, own = KeyStore(command.paths(HUB).keys), command.paths("site1", str(disk))
    assert not any(hub.has_private(key_id) for key_id in made["keys"].values())
    assert all(KeyStore(own.keys).has_private(key_id) for key_id in made["keys"].values())
    assert not any(KeyStore(own.keys).has_private(key.key_id) for key in hub.register().keys if key.owner == HUB)
    assert not own.repository.exists()
    assert own.leaf_seed("site1").read_text() == command.paths(HUB).leaf_seed("site1").read_text()
    command.run("revoke", "site1", "--reason", "stolen")
    again = command.run("add", "site1", "--into", str(disk))
    assert (again["incarnation"], again["is_new"]) == (1, False)
    assert not SiteRecords(command.paths(HUB).site_records).load("site1").is_good, "it does not come back by itself"
    shutil.rmtree(disk)
    disk.mkdir()
    replaced = command.run("add", "site1", "--into", str(disk))
    assert (replaced["incarnation"], replaced["is_new"]) == (2, True)
    assert IdentityFile(own.trust).load().incarnation == 2
    assert {key.key_id for key in hub.register().keys if key.revoked_at_ms} == set(made["keys"].values())


def test_a_disk_that_was_provisioned_in_part_is_provisioned_by_the_same_command_again(
    command: Command, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "keys").write_text("in the way")
    command.run("add", "site1", "--into", str(disk), expected=1)
    (disk / "keys").unlink()
    made = command.run("add", "site1", "--into", str(disk))
    hub, own = command.paths(HUB), command.paths("site1", str(disk))
    known = SiteRecords(hub.site_records).load("site1").incarnation
    assert IdentityFile(own.trust).load().incarnation == made["incarnation"] == known == 2
    for key_id in made["keys"].values():  # it ended before it forgot them
        shutil.copy(own.keys / f"{key_id}.pem", hub.keys)
    again = command.run("add", "site1", "--into", str(disk))
    assert (again["incarnation"], again["is_new"], again["keys"]) == (2, False, made["keys"])
    assert not any(KeyStore(hub.keys).has_private(key_id) for key_id in made["keys"].values())


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("site1", "--from", "file"),
        ("--from", "file", "--bundle", "other"),
        ("--from", "file", "--into", "."),
        ("site1", "--bundle", "file", "--into", "."),
    ],
)
def test_add_takes_a_name_or_a_file(command: Command, arguments: tuple[str, ...]) -> None:
    command.run("add", *arguments, expected=2)


def test_a_revoked_site_comes_back_only_as_its_next_incarnation(command: Command) -> None:
    command.run("add", "site1")
    replicas = command.paths("site1").replicas
    replicas.mkdir(parents=True)
    (replicas / "kiosk.sqlite").write_bytes(b"what it held")
    revoked = command.run("revoke", "site1", "--reason", "stolen")
    assert (revoked["reason"], revoked["incarnation"]) == ("stolen", 1)
    assert command.run("revoke", "site1", "--reason", "lost")["reason"] == "stolen"
    assert command.run("revoke", "site9", expected=1)["error"]["code"] == "unknown_site_record"
    assert command.run("add", "site1")["incarnation"] == 2
    assert not replicas.exists()
    assert SiteRecords(command.paths(HUB).site_records).load("site1").is_good


def checks(report: Any) -> dict[str, str]:
    """The states in a report of `site doctor`, by the names of the checks."""
    return {check["name"]: check["state"] for check in report["checks"]}


AT_HUB = {"server": "ok", "streams": "ok", "keys": "ok", "expiry": "ok", "replicas": "fault", "disk": "ok"}


@pytest.mark.anyio
async def test_a_running_site_is_attested_examined_and_revoked(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub() as hub, fleet.open_site("site1") as site:
        fleet.make_known()

        async def run(*arguments: str, expected: int = 0) -> Any:
            state = ("--json", "--state", fleet.settings.state_dir)
            ran = await asyncio.to_thread(tidegate, "site", *arguments, *state)
            assert ran.returncode == expected, (ran.stdout, ran.stderr)
            return msgspec.json.decode(ran.stdout)

        report = await run("attest", "--site", "site1")
        assert (report["site"], report["assurance"]) == ("site1", "software")
        assert report["until_ms"] > 0
        examined = await run("doctor", "--site", "site1", expected=1)
        assert not examined["is_healthy"]
        found = checks(examined)
        assert {name for name, state in found.items() if state == "fault"} == {"artefacts", "replicas"}
        assert all(check["hint"] for check in examined["checks"] if check["state"] != "ok")
        policy = tmp_path / "policy"
        policy.write_text("policy: strict\n")
        await publish_at(hub, TENANT, "policy", "default", policy)

        async def is_there() -> bool:
            return any(row.epoch for row in site.status())

        await until(is_there)
        assert checks(await run("doctor", "--site", "site1", expected=1))["artefacts"] == "ok"
        assert checks(await run("doctor", "--site", "hub", expected=1)) == AT_HUB

        await run("revoke", "site1", "--reason", "stolen")
        refused = await run("attest", "--site", "site1", expected=1)
        assert (refused["code"], "stolen" in refused["reason"]) == ("revoked_site", True)
        assert not hub.gate.is_leased("site1", hub.repository.now_ms())
