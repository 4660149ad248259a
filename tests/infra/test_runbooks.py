"""The runbooks are run: their commands, in order, against a hub and a site on real servers."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.support.nats_fleet import until
from tests.support.paths import ROOT
from tests.support.trust_fleet import TENANT, TrustFleet, trust_fleet
from tests.support.trust_link import bus_of
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.provision import time_ms
from tidegate.services.fleet.trust_site import SiteTrust
from tidegate.sync.trust.keys import KeyStore

pytestmark = pytest.mark.anyio
RUNBOOKS = ROOT / "infra" / "runbooks"
POLICY = f"artefacts/{TENANT}/policy/default"
SYNC = "sync"
"""Marks blocks that need a sync worker on both sides."""


class Block(msgspec.Struct, frozen=True):
    """Commands of a runbook, and the words behind `sh` that mark them."""

    marks: frozenset[str]
    commands: str


def blocks_of(name: str) -> list[Block]:
    text = (RUNBOOKS / f"{name}.md").read_text("utf-8")
    return [
        Block(frozenset(marks.split()), commands)
        for marks, commands in re.findall(r"```sh([^\n]*)\n(.*?)```", text, re.S)
    ]


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
        }

    async def follow(self, name: str, is_wanted: Callable[[Block], bool]) -> str:
        """Run the blocks that are wanted, in order; what they printed. Fails with the first command that does."""
        commands = [block.commands for block in blocks_of(name) if is_wanted(block) and SYNC not in block.marks]
        assert commands
        script = "set -e\n" + "\n".join(commands)
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


def everything(_: Block) -> bool:
    return True


def test_every_runbook_is_listed_and_has_commands() -> None:
    names = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert names == set(re.findall(r"\[([\w-]+)\.md\]", (RUNBOOKS / "README.md").read_text("utf-8")))
    assert all(blocks_of(name) for name in names)


async def test_drift_and_a_replaced_disk(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub(), fleet.open_site("site1") as site:
        fleet.make_known()
        await is_leased(site)
        StatePaths(fleet.settings_of("site1")).trust.rename(tmp_path / "broken")  # the disk was replaced
        await Operator(fleet, tmp_path).follow("drift", everything)
        assert site.attester.report.incarnation == 2


async def test_expired_keys(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub() as hub, fleet.open_site("site1") as site:
        fleet.make_known()
        await is_leased(site)
        store = KeyStore(StatePaths(fleet.settings).keys)
        old = {role: store.good(role, "site1", time_ms())[0].key_id for role in ("device", "author")}
        for key_id in old.values():
            store.expire(key_id, time_ms())
        assert (await site.attester.attest()).code in ("expired_key", "unknown_key")
        await Operator(fleet, tmp_path).follow("expired-keys", everything)
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
        printed = await Operator(fleet, tmp_path).follow("revoked-site", everything)
        assert "revoked_site" in printed
        assert site.attester.report.incarnation == 2


async def test_a_lost_hub(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet, fleet.open_site("site1") as site:
        fleet.make_known()
        operator, hub_paths = Operator(fleet, tmp_path), StatePaths(fleet.settings_of(HUB))
        policy = tmp_path / "policy"

        async def has(text: str) -> None:
            async def is_there() -> bool:
                return any(
                    site.client.blobs.joinpath(row.digest).read_text() == text for row in site.status() if row.digest
                )

            await until(is_there)

        async with bus_of(fleet.all_.fleet.hub) as bus, fleet.open_hub(bus) as hub:
            policy.write_text("1")
            await hub.publish_artefact(TENANT, "policy", "default", policy)
            await has("1")
            await operator.follow("lost-hub", lambda block: not block.marks)
            for number in "23":
                policy.write_text(number)
                await hub.publish_artefact(TENANT, "policy", "default", policy)
            await has("3")
        for folder in (hub_paths.repository, hub_paths.site_records, hub_paths.trust):
            shutil.rmtree(folder, ignore_errors=True)
        for lost in (hub_paths.keys / "register.json", hub_paths.allowed):
            lost.unlink()
        before = site.client.generation()
        await operator.follow("lost-hub", lambda block: "restore" in block.marks)
        async with bus_of(fleet.all_.fleet.hub) as bus, fleet.open_hub(bus) as hub:

            async def is_refused() -> bool:
                return "older than what is known" in site.artefacts.fault

            await until(is_refused)
            await operator.follow("lost-hub", lambda block: "renew" in block.marks)
            await has("1")
            assert site.client.generation().version > before.version
            assert site.client.generation().artefacts[POLICY].epoch > before.artefacts[POLICY].epoch
            await operator.follow("lost-hub", lambda block: "after" in block.marks)
            policy.write_text("4")
            await hub.publish_artefact(TENANT, "policy", "default", policy)
            await has("4")
