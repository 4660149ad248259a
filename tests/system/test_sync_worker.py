"""`tidegate worker sync` as processes: what they need, that one writes, and that killing them loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.support.nats_fleet import STAGES
from tests.support.paths import MODELS
from tests.support.sync_fleet import NOTICES, SyncFleet, now_ms
from tests.support.sync_parts import fast_directory
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.process.ready import ready_file
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.schemas import KeyRegister, TidegateError, decode, replace
from tidegate.schemas.replica import CollectionRequest, ReplicaStatus
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.author_keys import (
    AuthorKeyMissingError,
    has_author_key,
    keep_known_keys,
    known_author_keys,
    open_author_signer,
)
from tidegate.services.fleet.deployment import plan_programs
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.provision import provision_fleet
from tidegate.services.fleet.roles import roles_of
from tidegate.services.settings import Settings
from tidegate.sync.shells.lock import ReplicasBusyError, lock_replicas
from tidegate.sync.trust.keys import KeyStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def path() -> Iterator[Path]:
    with fast_directory() as directory:
        yield Path(directory)


def provision(path: Path, *domains: str) -> Settings:
    """Give domains a key to sign with, as `tidegate site add` does."""
    keys = KeyStore(path / "keys")
    for domain in domains:
        keys.generate("author", domain, now_ms())
    return Settings(state_dir=str(path))


@contextmanager
def worker(settings: Settings, site: str, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """`tidegate worker sync` as `tidegate up` starts it."""
    programs = plan_programs(settings, {site: url}, per_stage=True)
    [program] = [each for each in programs if each.name == f"{site}/sync"]
    process = subprocess.Popen(program.argv, env={**os.environ, **program.env}, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


async def until_ready(settings: Settings, site: str, process: subprocess.Popen[bytes]) -> None:
    ready = ready_file(replace(settings, site=site), "sync")
    async with asyncio.timeout(30):
        while not ready.exists() or str(process.pid) not in ready.read_text():
            assert process.poll() is None, "it ended"
            await asyncio.sleep(0.02)


@asynccontextmanager
async def servers_with(path: Path) -> AsyncIterator[SyncFleet]:
    async with open_fleet(path, ["site1"], roles_of) as servers:
        await declare_fleet(servers, STAGES)
        async with AsyncExitStack() as stack:
            yield SyncFleet(path, servers, stack)


def test_a_domain_without_a_key_is_told_how_to_get_one(path: Path) -> None:
    settings = provision(path, HUB)
    assert not has_author_key(settings)
    with pytest.raises(AuthorKeyMissingError) as caught:
        open_author_signer(settings)
    assert "tidegate site add site1" in caught.value.hint
    programs = plan_programs(settings, {HUB: "nats://x", "site1": "nats://y"}, per_stage=False)
    assert [each.name for each in programs] == ["hub/all", "hub/sync", "site1/all"]


def test_a_second_writer_is_refused_until_the_first_is_gone(path: Path) -> None:
    replicas = StatePaths(Settings(state_dir=str(path))).replicas
    with lock_replicas(replicas), pytest.raises(ReplicasBusyError, match=str(os.getpid())), lock_replicas(replicas):
        pass
    with lock_replicas(replicas):
        pass


async def test_killed_workers_go_on_where_they_were(path: Path) -> None:
    settings = Settings(state_dir=str(path), models_dir=str(MODELS))
    provision_fleet(settings, ["site1"])
    async with servers_with(path) as fleet:
        urls = {HUB: fleet.servers.hub.url, "site1": fleet.servers.sites["site1"].url}
        with worker(settings, HUB, urls[HUB]) as hub, worker(settings, "site1", urls["site1"]) as site:
            await until_ready(settings, HUB, hub)
            await until_ready(settings, "site1", site)
            await fleet.put(NOTICES)
            await fleet.write(HUB, {"a": "one"})
            await until_held(fleet, "site1", 1)
            await until_known(settings)
            for process in (hub, site):
                process.send_signal(signal.SIGKILL)
                process.wait()
        with worker(settings, "site1", urls["site1"]) as site:
            await until_ready(settings, "site1", site)
            await fleet.write("site1", {"b": "two"})  # nobody at the hub takes it
            site.kill()
            site.wait()
        with worker(settings, HUB, urls[HUB]) as hub, worker(settings, "site1", urls["site1"]) as site:
            await until_ready(settings, HUB, hub)
            await until_held(fleet, HUB, 2)
            await until_ready(settings, "site1", site)
            await until_held(fleet, "site1", 2, pending=0)
            assert len({(await status(fleet, each)).collections[0].checksum for each in urls}) == 1
            with worker(settings, "site1", urls["site1"]) as second:
                output = await asyncio.to_thread(second.communicate)
            assert f"process {site.pid} writes in".encode() in output[1]
            assert second.returncode == 1


async def until_known(settings: Settings) -> None:
    """Return when the other processes of the site know the author keys that the hub has published."""
    file = StatePaths(replace(settings, site="site1")).known_keys
    wanted = {(key.owner, key.key_id) for key in known_author_keys(settings)}
    async with asyncio.timeout(30):
        while True:
            published = decode(file.read_bytes(), KeyRegister).keys if file.exists() else ()
            if wanted <= {(key.owner, key.key_id) for key in published}:
                return
            await asyncio.sleep(0.05)


def test_a_key_that_the_hub_has_published_since_is_known_and_a_revoked_one_is_revoked(path: Path) -> None:
    settings = replace(provision(path, HUB, "site1"), site="site1")
    [hub, own] = sorted(known_author_keys(settings), key=lambda key: key.owner)
    newer = msgspec.structs.replace(hub, key_id="ab" * 32, created_at_ms=9)
    device = msgspec.structs.replace(hub, key_id="cd" * 32, role="device")
    KeyStore(path / "keys").revoke(hub.key_id, 7, "it was lost")
    keep_known_keys(settings, [hub, newer, device, msgspec.structs.replace(own, revoked_at_ms=8)])
    known = {key.key_id: key.revoked_at_ms for key in known_author_keys(settings)}
    assert known == {hub.key_id: 7, own.key_id: 8, newer.key_id: 0}


async def status(fleet: SyncFleet, domain: str) -> ReplicaStatus:
    return await fleet.ask(domain, "status", CollectionRequest(), ReplicaStatus)


async def until_held(fleet: SyncFleet, domain: str, documents: int, pending: int | None = None) -> None:
    """Return when the domain holds as many documents."""
    async with asyncio.timeout(30):
        while True:
            try:
                held = (await status(fleet, domain)).collections
            except TidegateError:
                held = ()
            if held and held[0].documents == documents and pending in (None, held[0].pending):
                return
            await asyncio.sleep(0.05)
