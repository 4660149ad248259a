"""A key that leaked is exchanged while the servers run, and whoever has the one before is nobody from then on."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path

import nats.errors
import pytest

from tests.support.configured import configure, connect, free_ports, moved_here, serving, until
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.servers.kept_server import KeptServer
from tidegate.services.fleet.server_guard import ServerGuard

pytestmark = pytest.mark.anyio


def seeds_in(out: Path) -> dict[Path, bytes]:
    return {each: each.read_bytes() for each in out.rglob("*.nk")}


async def test_a_worker_s_key_is_exchanged_and_all_others_stay(tmp_path: Path) -> None:
    await asyncio.to_thread(configure, tmp_path)
    port, monitor, leaf_port = free_ports(3)
    path, stolen = moved_here(tmp_path, "site1", port, monitor, leaf_port), tmp_path / "stolen"
    stolen.mkdir()
    shutil.copy(tmp_path / "site1" / "gateway.nk", stolen / "operator.nk")
    certificate = (tmp_path / "site1" / "tls.pem").read_bytes()
    async with serving(path, monitor) as server:
        thief, operator = await connect(tmp_path, port, "stolen"), await connect(tmp_path, port, "site1")
        kept = seeds_in(tmp_path)
        await asyncio.to_thread(configure, tmp_path, "--exchange", "site1/gateway", "--exchange", "site1/tls")
        moved_here(tmp_path, "site1", port, monitor, leaf_port)
        server.send_signal(signal.SIGHUP)
        async with asyncio.timeout(10):
            while not thief.is_closed:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        with pytest.raises((nats.errors.Error, ConnectionError)):
            await connect(tmp_path, port, "stolen")
        await operator.flush(5)
        shutil.copy(tmp_path / "site1" / "gateway.nk", stolen / "operator.nk")
        await (await connect(tmp_path, port, "stolen")).close()
        await operator.close()
    changed = {path for path, data in seeds_in(tmp_path).items() if kept[path] != data}
    assert changed == {tmp_path / "site1" / "gateway.nk", stolen / "operator.nk"}
    assert (tmp_path / "site1" / "tls.pem").read_bytes() != certificate


async def test_a_leaf_that_is_linked_by_a_key_that_leaked_is_cut_off_when_the_hub_is_told(tmp_path: Path) -> None:
    await asyncio.to_thread(configure, tmp_path)
    hub_port, hub_monitor, leaf_port, site_port, site_monitor = free_ports(5)
    hub = KeptServer("hub", moved_here(tmp_path, "hub", hub_port, hub_monitor, leaf_port))
    site_conf = moved_here(tmp_path, "site1", site_port, site_monitor, leaf_port)
    url = f"http://127.0.0.1:{hub_monitor}/leafz"
    await hub.start(20.0)
    guard = ServerGuard(hub, tmp_path / "faults" / "nats-server")
    keeping = asyncio.create_task(guard.keep())
    try:
        async with serving(site_conf, site_monitor):
            await until(url, lambda answer: answer.json()["leafnodes"] == 1)
            hub.reload()
            hub.file.write_text("port: no number")
            hub.reload()
            await asyncio.sleep(0.5)
            assert guard.restarts == 0, "not for nothing, and not by a file that it would not start by"
            await asyncio.to_thread(configure, tmp_path, "--exchange", "site1/leaf")
            moved_here(tmp_path, "hub", hub_port, hub_monitor, leaf_port)
            hub.reload()
            async with asyncio.timeout(20):
                while not guard.restarts:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await asyncio.sleep(1.0)  # the leaf tries again ten times a second
            await until(url, lambda answer: answer.json()["leafnodes"] == 0)
        moved_here(tmp_path, "site1", site_port, site_monitor, leaf_port)
        async with serving(site_conf, site_monitor):
            await until(url, lambda answer: answer.json()["leafnodes"] == 1)
    finally:
        await end_tasks(keeping)
        await asyncio.to_thread(hub.stop, 5.0)
