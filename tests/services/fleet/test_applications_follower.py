"""A server that `tidegate server run` keeps takes up the accounts of access keys by itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import nats.errors
import pytest

from tests.support.intruders import intruder
from tests.support.nats_fleet import until
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.applications import INBOX, exports
from tidegate.brokers.servers.credentials import load_credential
from tidegate.brokers.servers.kept_server import KeptServer
from tidegate.brokers.servers.nats_server import HOST
from tidegate.brokers.servers.ports import choose_port
from tidegate.brokers.settings import NatsSettings
from tidegate.services.fleet.access import open_access_keys
from tidegate.services.fleet.applications_follower import ApplicationsFollower
from tidegate.services.fleet.faults import FOLDER, read_faults
from tidegate.services.fleet.nats_users import make_seed, take_up_applications
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio
DAY_MS = 86_400_000


@dataclass
class Machine:
    """A machine whose commands write accounts, and whose server is another process's child."""

    settings: Settings
    url: str
    path: Path

    def issue(self) -> tuple[str, NatsSettings]:
        """A key, and how it logs in once the server has it."""
        seed_file = self.path / "app.nk"
        key, _ = open_access_keys(self.settings).issue("kiosk", "app", DAY_MS, nkey=make_seed(seed_file))
        assert take_up_applications(self.settings) == (), "nobody here can signal to the server"
        return key.id, NatsSettings(url=self.url, nkey_seed_file=str(seed_file))


def make_files(path: Path, file: Path, port: int) -> Path:
    """A site's configuration, which includes the accounts in `file`; where it is."""
    for folder in (file.parent, path / "etc"):
        folder.mkdir()
    operator, leaf = load_credential(path / "operator.nk"), load_credential(path / "leaf.nk")
    offers = conf.SiteAccount((), exports(), os.path.relpath(file, path / "etc"))
    full = {**conf.site("site1", operator.public, "nats-leaf://127.0.0.1:1", leaf.seed(), offers)}
    full |= {**conf.listener(HOST, port), "http": f"{HOST}:-1"}
    full["jetstream"] = {"store_dir": str(path / "store"), **full["jetstream"]}
    (path / "etc" / "site.conf").write_text(conf.render(full))
    return path / "etc" / "site.conf"


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    file, port = tmp_path / "shared" / "nats.conf", choose_port(HOST, ())
    kept = KeptServer("site1", make_files(tmp_path, file, port))
    follower = ApplicationsFollower(kept, file, tmp_path / FOLDER / "applications")
    settings = Settings(state_dir=str(tmp_path / "state"), tenants=("kiosk",), applications_file=str(file))
    await kept.start()
    following = asyncio.create_task(follower.keep())
    try:
        yield Machine(settings, f"nats://{HOST}:{port}", tmp_path)
    finally:
        await end_tasks(following)
        kept.kill()


async def may_ask(login: NatsSettings) -> bool:
    """Whether the account is there with what it imports: that nobody answers is the server's word, no gateway runs."""
    await asyncio.sleep(0.05)
    try:
        async with intruder(login, INBOX) as app:
            await app.client.request("ask", b"?", timeout=5.0)
    except nats.errors.NoRespondersError:
        return True
    except nats.errors.Error:
        return False
    return False


async def test_a_key_is_known_soon_after_it_was_issued_and_cut_off_soon_after_it_has_ended(machine: Machine) -> None:
    key_id, login = machine.issue()
    await until(lambda: may_ask(login))
    async with intruder(login, INBOX) as app:
        open_access_keys(machine.settings).revoke(key_id)
        take_up_applications(machine.settings)

        async def is_cut() -> bool:
            return not app.client.is_connected

        await until(is_cut)
    assert not await may_ask(login)


async def test_accounts_that_the_server_refuses_are_a_fault_until_they_are_good_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.brokers.servers.running.RELOADED_WITHIN_S", 0.5)
    await asyncio.to_thread(Path(machine.settings.applications_file).write_text, "no accounts {")

    async def is_faulty() -> bool:
        return [fault.name for fault in read_faults(machine.path)] == ["applications"]

    await until(is_faulty)
    _, login = machine.issue()
    await until(lambda: may_ask(login))

    async def is_mended() -> bool:
        return not read_faults(machine.path)

    await until(is_mended)
