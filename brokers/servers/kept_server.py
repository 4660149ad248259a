"""A nats-server of an operator's configuration file as a child process, as it runs under systemd or in a container.

Promises that the file is only read, and that the server ends with this process.
Next: services/fleet/server_guard.py."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tidegate.brokers.egress import is_own
from tidegate.brokers.process.child_environment import without_settings
from tidegate.brokers.servers.conf import check_listener
from tidegate.brokers.servers.monitoring import Health, ask_health, ask_monitor, listeners_in
from tidegate.brokers.servers.nats_server import ServerFailedError, end_with_parent, find_server
from tidegate.brokers.servers.running import reload_server

POLL_S = 0.05
START_WITHIN_S = 600.0
"""A store of some hundred gigabytes is read through first."""
_READY = "/healthz?js-enabled-only=true"


class NoMonitorError(ServerFailedError):
    """The server has no monitoring port, so that nobody can ask how it is."""

    hint = 'add `http: "127.0.0.1:8222"` to its configuration'


class MonitorExposedError(ServerFailedError):
    """Other machines could read the server's monitoring port: who connects from where, with which nkey, and which
    streams there are, of all tenants. It asks nobody who they are."""

    hint = 'let it be `http: "127.0.0.1:8222"`; `http_port` alone listens wherever clients are taken'


class KeptServer:
    """One nats-server with its own configuration; it writes to this process's output. `directory` is the disk of its
    streams, once it was ready; before that, the directory of its file."""

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.file = file.absolute()
        self.directory = self.file.parent
        self._monitor = ""
        self._health = "/healthz"
        self._written = b""
        """Its file, as it was started by it."""
        self._takes_leaves = False
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = tempfile.TemporaryDirectory(prefix="nats-ports-")
        """Where it writes what it listens to, and removes it at its end."""

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self, timeout_s: float = START_WITHIN_S) -> None:
        """Start and return when JetStream is enabled. Raises `ServerMissingError`, `ServerFailedError`,
        `NoMonitorError`, `ClearListenerError`, `MonitorExposedError`; the server does not run then."""
        self._spawn()
        try:
            await self._wait_until_ready(time.monotonic() + timeout_s)
            await asyncio.to_thread(self._learn)
        except BaseException:
            self.kill()
            raise

    def stop(self, grace_s: float = 35.0) -> None:
        """SIGTERM, then SIGKILL after `grace_s`, which is longer than a lame duck takes."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL; nothing when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def reload(self) -> None:
        """Have it read its file again. Where that has changed, one that takes leaf nodes is ended, and whoever keeps it
        up starts it anew: nats-server lets a leaf that is linked stay, with the rights that it had, whatever its file
        says (2.14). A file that it would not start by it is told of, and goes on by the former one."""
        if self.pid is None or self._process is None:
            return
        if self._takes_leaves and self.file.read_bytes() != self._written and self._would_start():
            self._process.terminate()
        else:
            self._process.send_signal(signal.SIGHUP)

    def _would_start(self) -> bool:
        command = [find_server(), "-t", "-c", str(self.file)]
        checked = subprocess.run(command, capture_output=True, check=False, env=without_settings(os.environ))
        return checked.returncode == 0

    def take_up(self) -> None:
        """Have it read its file again, and return when what is new in it counts. Raises `ServerNotReloadedError`."""
        reload_server(Path(self._ports.name))

    def health(self) -> Health:
        """How it says that it is, within a second."""
        return ask_health(self._monitor, self._health)

    def _spawn(self) -> None:
        self._written = self.file.read_bytes()
        self._process = subprocess.Popen(
            [find_server(), "-c", str(self.file), "--ports_file_dir", self._ports.name],
            stdin=subprocess.DEVNULL,
            env=without_settings(os.environ),
            start_new_session=True,  # a signal to the group reaches this process alone, which passes it on
            preexec_fn=end_with_parent(),  # noqa: PLW1509 - one system call, no lock, no import
        )

    async def _wait_until_ready(self, deadline: float) -> None:
        while not await asyncio.to_thread(self._is_ready):
            if self.pid is None:
                raise ServerFailedError(f"nats-server {self.name} ended; its output has the cause")
            if time.monotonic() > deadline:
                raise ServerFailedError(f"nats-server {self.name} was not ready in time")
            await asyncio.sleep(POLL_S)

    def _is_ready(self) -> bool:
        try:
            [file] = Path(self._ports.name).glob(f"*_{self.pid}.ports")
            reported = json.loads(file.read_bytes())
        except ValueError:  # not written yet, or half written
            return False
        if not reported.get("monitoring"):
            raise NoMonitorError(f"nats-server {self.name} answers no question about itself: {self.file}")
        self._monitor = reported["monitoring"][0]
        try:
            return ask_monitor(self._monitor, _READY)[0] == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def _learn(self) -> None:
        """Where its streams are, and what its health is: that of one in a cluster depends on the others, whom a restart
        of this one does not help. Whom it takes in clear and who can monitor it is asked of it, not read in a file that
        may include others."""
        try:
            about = json.loads(ask_monitor(self._monitor, "/varz")[1])
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ServerFailedError(f"nats-server {self.name} was ready, and does not answer: {error}") from error
        for each in listeners_in(about):
            check_listener(each.host, is_encrypted=each.is_encrypted, who=each.who)
        if not is_own(where := str(about.get("http_host", ""))):
            raise MonitorExposedError(f"the monitoring port of nats-server {self.name} would listen on {where or '*'}")
        self._takes_leaves = bool(about.get("leaf", {}).get("port"))
        store = about.get("jetstream", {}).get("config", {}).get("store_dir")
        self.directory = Path(store) if store else self.directory
        self._health = _READY if about.get("cluster", {}).get("name") else "/healthz"
