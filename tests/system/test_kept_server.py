"""`tidegate server run`: a nats-server of a configuration file is kept up by its health, under systemd or without."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.sync_parts import fast_directory
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.kept_server import KeptServer, NoMonitorError
from tidegate.brokers.servers.nats_server import HOST, ServerFailedError
from tidegate.brokers.servers.ports import choose_port
from tidegate.brokers.settings import NatsSettings
from tidegate.services.fleet.faults import read_faults
from tidegate.services.fleet.service_notices import NotifySocketError, ServiceNotices

pytestmark = pytest.mark.anyio
WATCHDOG_S = 2.0


@pytest.fixture
def path() -> Iterator[Path]:
    with fast_directory() as directory:
        yield Path(directory)


def write_conf(path: Path, *, monitored: bool = True) -> tuple[Path, str]:
    """A configuration as an operator has one, and where clients connect."""
    port = choose_port(HOST, ())
    full = {"server_name": "site1", "listen": f"{HOST}:{port}", **conf.plain("site1")}
    full["jetstream"] = {"store_dir": str(path / "store"), **full["jetstream"]}
    if monitored:
        full["http"] = f"{HOST}:-1"
    file = path / "nats.conf"
    file.write_text(conf.render(full))
    return file, f"nats://{HOST}:{port}"


async def until(is_so: Callable[[], bool], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110 - it is another process that changes
            await asyncio.sleep(0.05)


class Systemd:
    """What systemd hears of a service that it has started with a watchdog."""

    def __init__(self, path: Path) -> None:
        self.address = str(path / "notify.sock")
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)

    def listen(self) -> list[str]:
        """All that was heard until now."""
        while True:
            try:
                self.heard.append(self._socket.recv(200).decode())
            except BlockingIOError:
                return self.heard

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@asynccontextmanager
async def service(path: Path, file: Path, systemd: Systemd) -> AsyncIterator[subprocess.Popen[bytes]]:
    """The unit's command, as systemd starts it."""
    words = ["server", "run", str(file), "--site", "site1", "--state", str(path / "state"), "--patience", "1"]
    environment = {**os.environ, "NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
    with (path / "service.log").open("wb") as log:
        command = [sys.executable, "-m", "tidegate.services.cli", *words]
        process = await asyncio.to_thread(subprocess.Popen, command, env=environment, stderr=log, stdout=log)
    try:
        await until(lambda: "READY=1" in systemd.listen() or process.poll() is not None, 60.0)
        yield process
    finally:
        process.kill()
        process.wait()
        systemd.close()


async def largest_payload(url: str) -> int:
    """What a server tells who connects."""
    async with JetStreamBus.open(NatsSettings(url=url), "site1") as bus:
        return int(bus.link.client.max_payload)


def children(pid: int) -> list[int]:
    """The processes that one has started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_a_server_that_is_frozen_under_systemd_is_started_again_with_what_it_had_accepted(path: Path) -> None:
    file, url = write_conf(path)
    systemd = Systemd(path)
    async with service(path, file, systemd) as process, JetStreamBus.open(NatsSettings(url=url), "site1") as bus:
        await bus.link.client.jetstream().add_stream(name="KEPT", subjects=["kept.>"], allow_direct=True)
        await bus.link.client.jetstream().publish("kept.1", b"accepted")
        [frozen] = children(process.pid)
        os.kill(frozen, signal.SIGSTOP)
        await until(lambda: frozen not in children(process.pid) and len(children(process.pid)) == 1, 30.0)
        await until(lambda: bus.link.is_up, 30.0)
        assert await bus.last("KEPT", "kept.1") == b"accepted"
        beats = systemd.listen().count("WATCHDOG=1")
        await until(lambda: systemd.listen().count("WATCHDOG=1") > beats, 2 * WATCHDOG_S)
        [again] = children(process.pid)
        process.terminate()
        assert await asyncio.to_thread(process.wait, 60) == 0, "a stop in order is no failure"
        assert systemd.listen()[-1] == "STOPPING=1"
        await until(lambda: not Path(f"/proc/{again}").exists(), 1.0)


async def test_a_server_ends_with_whoever_keeps_it_so_that_systemd_can_start_both(path: Path) -> None:
    file, _ = write_conf(path)
    async with service(path, file, Systemd(path)) as process:
        [server] = children(process.pid)
        process.kill()
        await until(lambda: not Path(f"/proc/{server}").exists(), 30.0)


async def test_a_server_that_cannot_be_started_again_is_a_fault_until_it_is(path: Path) -> None:
    file, _ = write_conf(path)
    home = path / "state" / "site1"
    async with service(path, file, Systemd(path)) as process:
        good = file.read_text()
        file.write_text("no configuration {")
        os.kill(children(process.pid)[0], signal.SIGKILL)
        await until(lambda: bool(read_faults(home)), 30.0)
        file.write_text(good)
        await until(lambda: not read_faults(home) and len(children(process.pid)) == 1, 30.0)


@pytest.mark.parametrize(
    ("break_it", "fault"),
    [
        (lambda file: file.write_text("no configuration {"), ServerFailedError),
        (lambda file: write_conf(file.parent, monitored=False), NoMonitorError),
    ],
)
async def test_a_server_that_nobody_could_keep_up_is_not_started(
    path: Path, break_it: Callable[[Path], object], fault: type[ServerFailedError]
) -> None:
    file, _ = write_conf(path)
    break_it(file)
    server = KeptServer("site1", file)
    with pytest.raises(fault):
        await server.start()
    assert server.pid is None


async def test_a_server_knows_the_disk_of_its_streams_and_reads_its_file_again(path: Path) -> None:
    file, url = write_conf(path)
    server = KeptServer("site1", file)
    await server.start()
    try:
        assert server.directory.is_relative_to(path / "store")
        assert server.health() == "healthy"
        file.write_text(f"{file.read_text()}\nmax_payload: 4096\n")
        server.reload()
        async with asyncio.timeout(10.0):
            while await largest_payload(url) != 4096:  # noqa: ASYNC110 - the server changes
                await asyncio.sleep(0.05)
    finally:
        server.stop()
    assert server.health() == "silent"


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    asked = {"NOTIFY_SOCKET": "/run/none", "WATCHDOG_USEC": "3000000"}
    assert ServiceNotices.from_environment(asked).watchdog_s == 3.0
    assert ServiceNotices.from_environment({**asked, "WATCHDOG_PID": "1"}).watchdog_s == 0.0
    assert ServiceNotices.from_environment({**asked, "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 3.0
    assert ServiceNotices.from_environment({}).watchdog_s == 0.0


def test_a_socket_that_is_not_there_is_an_error_and_none_is_silence(tmp_path: Path) -> None:
    ServiceNotices().tell("READY=1")
    with pytest.raises(NotifySocketError, match="nobody"):
        ServiceNotices(str(tmp_path / "nobody")).tell("READY=1")
