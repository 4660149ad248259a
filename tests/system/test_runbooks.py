"""The runbooks are run: their commands, in order, against a hub and a site on real servers."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from tests.support.nats_fleet import until
from tests.support.paths import ROOT
from tests.support.small_pack import pack_at
from tests.support.sync_processes import sync_processes
from tests.support.trust_fleet import TENANT, TrustFleet, trust_fleet
from tidegate.schemas import ArtefactStatus, ReplicaStatus
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.trust_site import SiteTrust
from tidegate.sync.shells.machine import wall_ms
from tidegate.sync.trust.keys import KeyStore

pytestmark = pytest.mark.anyio
RUNBOOKS = ROOT / "infra" / "runbooks"


class Block(msgspec.Struct, frozen=True):
    """Commands of a runbook, and the word behind `sh`, the step that they belong to."""

    step: str
    commands: str


def blocks_of(name: str) -> list[Block]:
    text = (RUNBOOKS / f"{name}.md").read_text("utf-8")
    return [Block(step, commands) for step, commands in re.findall(r"```sh ?(\w*)\n(.*?)```", text, re.S)]


class Operator:
    """Whoever follows a runbook: a shell, with what it is told of by the environment."""

    def __init__(self, fleet: TrustFleet, directory: Path) -> None:
        self.fleet = fleet
        self._bin = directory / "bin"
        self._bin.mkdir()
        tidegate, python = self._bin / "tidegate", self._bin / "python"
        tidegate.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tidegate.services.cli "$@"\n')
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        for program in (tidegate, python):
            program.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "TIDEGATE_STATE_DIR": fleet.settings.state_dir,
            "TIDEGATE_MODELS_DIR": fleet.settings.models_dir,
            "SITE": "site1",
            "BUNDLE": str(directory / "site.bundle"),
            "BACKUP": str(directory / "backup.tar.gz"),
            "PACK": str(directory / "small"),
        }
        self.followed: set[tuple[str, str]] = set()

    def has_followed(self, name: str) -> bool:
        """Whether every block of the runbook was run."""
        return {(name, block.step) for block in blocks_of(name)} == self.followed

    async def follow(self, name: str, step: str = "") -> str:
        """Run the blocks of a step, in order; what they printed. Fails with the first command that does."""
        commands = [block.commands for block in blocks_of(name) if block.step == step]
        assert commands
        self.followed.add((name, step))
        return await self.run("\n".join(commands))

    async def run(self, commands: str) -> str:
        """What commands printed. Fails with the first one that does."""
        script = f"set -e\n{commands}"
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", script, env=self.environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0, printed.decode()
        return printed.decode()


async def is_leased(site: SiteTrust) -> None:
    async def is_so() -> bool:
        return site.is_leased

    await until(is_so)


def policy_text(number: int) -> str:
    return f"policy_id: safe-v{number}\nallow: [grounded_claims]\n"


def has_policy(number: int) -> Callable[[ReplicaStatus], bool]:
    """Whether a domain has this policy in force, in the epoch that is the newest that it knows of."""
    digest = sha256(policy_text(number).encode()).hexdigest()
    return lambda status: [(each.digest, each.offered) for each in policies(status)] == [(digest, epoch_of(status))]


def policies(status: ReplicaStatus) -> list[ArtefactStatus]:
    return [each for each in status.artefacts if (each.kind, each.name) == ("policy", "safe")]


def epoch_of(status: ReplicaStatus) -> int:
    return max((each.epoch for each in policies(status)), default=0)


def has_documents(status: ReplicaStatus) -> bool:
    return any(each.documents and each.indexed_generation == each.generation for each in status.collections)


def test_every_runbook_is_listed_and_has_commands() -> None:
    names = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert names == set(re.findall(r"\[([\w-]+)\.md\]", (RUNBOOKS / "README.md").read_text("utf-8")))
    assert all(blocks_of(name) for name in names)


async def test_drift_and_a_replaced_disk(tmp_path: Path) -> None:
    pack_at(tmp_path)
    async with sync_processes(tmp_path) as running:
        operator, site = Operator(running.fleet, tmp_path), StatePaths(running.fleet.settings_of("site1"))
        await operator.run('tidegate publish pack "$PACK" --wait')
        damage_a_document(site.replica(TENANT))
        printed = await operator.follow("drift")
        assert re.search("documents: .*disk.*hours", printed), printed
        assert "nothing differs" in printed.rstrip().splitlines()[-1]

        await running.stop("site1")
        site.home.rename(tmp_path / "broken")
        await operator.follow("drift", "replace")
        await running.start("site1")
        await running.until("site1", has_documents)
        await operator.follow("drift", "after")
        attested = msgspec.json.decode(await operator.run("tidegate site attest --site site1 --json"))
        assert attested["incarnation"] == 2
        assert operator.has_followed("drift")


def damage_a_document(store: Path) -> None:
    """Change a byte on the disk."""
    with sqlite3.connect(store) as database:
        [(content,)] = database.execute("SELECT content FROM documents WHERE document_id = 'hours'")
        changed = bytes([*content[:-1], content[-1] ^ 1])
        database.execute("UPDATE documents SET content = ? WHERE document_id = 'hours'", (changed,))
    database.close()


async def test_expired_keys(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub() as hub, fleet.open_site("site1") as site:
        fleet.make_known()
        await is_leased(site)
        store = KeyStore(StatePaths(fleet.settings).keys)
        old = {role: store.good(role, "site1", wall_ms())[0].key_id for role in ("device", "author")}
        for key_id in old.values():
            store.expire(key_id, wall_ms())
        assert (await site.attester.attest()).code in ("expired_key", "unknown_key")
        await Operator(fleet, tmp_path).follow("expired-keys")
        assert site.is_leased
        assert site.signer.key_id != old["author"]
        version = hub.repository.repository.state().timestamp.version

        async def is_seen() -> bool:
            return site.client.generation().version >= version

        await until(is_seen)


async def test_a_revoked_site(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub(), fleet.open_site("site1") as site:
        fleet.make_known()
        await is_leased(site)
        printed = await Operator(fleet, tmp_path).follow("revoked-site")
        assert "revoked_site" in printed
        assert site.attester.report.incarnation == 2


async def test_a_lost_hub(tmp_path: Path) -> None:
    pack = pack_at(tmp_path, **{"policies/safe.yaml": policy_text(1)})
    async with sync_processes(tmp_path) as running:
        operator, hub = Operator(running.fleet, tmp_path), StatePaths(running.fleet.settings_of(HUB))
        await operator.run('tidegate publish pack "$PACK" --wait')
        await running.until("site1", has_policy(1))
        await operator.follow("lost-hub")
        for number in (2, 3):
            (pack / "policies" / "safe.yaml").write_text(policy_text(number))
            await operator.run('tidegate publish policy "$PACK/policies/safe.yaml" --wait')
        await running.until("site1", has_policy(3))
        known = epoch_of(await running.status("site1"))

        await running.stop(HUB)
        for folder in (hub.repository, hub.site_records, hub.trust):
            shutil.rmtree(folder, ignore_errors=True)
        for lost in (hub.keys / "register.json", hub.allowed):
            lost.unlink()
        await operator.follow("lost-hub", "restore")
        await running.start(HUB)
        await running.until("site1", lambda status: "older than what is known" in "; ".join(status.faults))
        await operator.follow("lost-hub", "renew")
        await running.until("site1", lambda status: has_policy(3)(status) and epoch_of(status) > known)
        await operator.follow("lost-hub", "after")
        (pack / "policies" / "safe.yaml").write_text(policy_text(4))
        await operator.run('tidegate publish policy "$PACK/policies/safe.yaml" --wait')
        await running.until("site1", has_policy(4))
        assert operator.has_followed("lost-hub")
