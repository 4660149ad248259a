"""Runs services of compose.yaml as processes of this machine: the same commands, with its paths and ports.

Volumes are folders, hosts are ports of loopback, an image is the environment that its Containerfile sets.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.compose import compose
from tests.support.paths import MODELS, ROOT
from tidegate.brokers.servers.ports import choose_port

PROGRAMS: Mapping[str, Sequence[str]] = {
    "tidegate": (sys.executable, "-m", "tidegate.services.cli"),
    "python": (sys.executable,),
    "test": ("test",),
}
OF_IMAGE = {"/opt/tidegate/models": str(MODELS), "/opt/tidegate/configure.py": f"{ROOT}/infra/containers/configure.py"}
ATTEMPTS = 3
"""How often what is to be done once is tried, as `restart: on-failure` does without end."""
WITHIN_S = 150.0


class ComposeRun:
    """The services that `start` was told of, and those that they wait for. `urls` has the gateways, by site."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._services: dict[str, dict[str, Any]] = compose(environ)["services"]
        self._ports: dict[str, int] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._done: set[str] = set()

    def start(self, *names: str) -> None:
        """Start services, each behind what it depends on, as it depends on it."""
        for name in names:
            if name in self._running or name in self._done:
                continue
            for other, how in self._services[name].get("depends_on", {}).items():
                self.start(other)
                if how["condition"] == "service_healthy":
                    self.wait_healthy(other)
            if self._services[name]["restart"] == "on-failure":
                self.once(name)
            else:
                self._running[name] = self._spawn(name)

    def once(self, name: str) -> None:
        """Run what ends by itself until it succeeds."""
        for attempt in range(ATTEMPTS):
            if self._spawn(name).wait(WITHIN_S) == 0:
                break
            time.sleep(attempt)
        else:
            raise AssertionError(f"{name} fails:\n{self.log(name)}")
        self._done.add(name)
        if name == "configure":
            self._move_here()

    def stop(self, *names: str) -> None:
        """SIGTERM services, and return when they have ended."""
        for name in names:
            self._running[name].send_signal(signal.SIGTERM)
        for name in names:
            self._running.pop(name).wait(60)

    def kill(self) -> None:
        """End everything at once."""
        for process in self._running.values():
            process.kill()
            process.wait()

    def is_healthy(self, name: str) -> bool:
        """Whether the service's own health check says so."""
        process = self._running[name]
        assert process.poll() is None, f"{name} ended with {process.returncode}:\n{self.log(name)}"
        check = self._services[name].get("healthcheck")
        if check is None:  # that of the image, which asks the gateway
            return self._is_serving(f"{self.url(name)}/healthz", self.believe(name))
        command = check["test"][1:]
        if url := re.search(r"http://[^']+", command[-1]):
            return self._is_serving(self._translate(name, url[0]))
        return subprocess.run([self._translate(name, each) for each in command], check=False).returncode == 0

    def wait_healthy(self, *names: str) -> None:
        """Return when all of these are healthy."""
        until_s = time.monotonic() + WITHIN_S
        while waiting := [name for name in names if not self.is_healthy(name)]:
            assert time.monotonic() < until_s, "\n".join(f"{name}:\n{self.log(name)}" for name in waiting)
            time.sleep(0.2)

    def of_domain(self, domain: str, *, workers_only: bool = False) -> list[str]:
        """The services of a domain; of them those that run a worker."""
        own = [name for name in self._services if name.partition("-")[0] == domain]
        return [name for name in own if not workers_only or self._services[name]["command"][0] == "worker"]

    def folder(self, volume: str) -> Path:
        """What a volume is here."""
        folder = self._path / "volumes" / volume
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def lose(self, volume: str) -> None:
        """Have an empty volume in place of this one."""
        shutil.rmtree(self.folder(volume))

    def url(self, gateway: str) -> str:
        """Where a gateway is."""
        return f"https://127.0.0.1:{self._port(gateway, 'http')}"

    def believe(self, gateway: str) -> ssl.SSLContext:
        """Who vouches for a gateway."""
        return ssl.create_default_context(cafile=str(self.folder("etc") / gateway.partition("-")[0] / "ca.pem"))

    def log(self, name: str) -> str:
        """What a service has logged, at most its last lines."""
        file = self._path / f"{name}.log"
        return file.read_text(errors="replace")[-3000:] if file.exists() else ""

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        service = self._services[name]
        words = [*service.get("entrypoint", ["tidegate"]), *service["command"]]
        given = {**environment_of(service["image"]), **service.get("environment", {})}
        given |= {"TIDEGATE_GATEWAY__PORT": str(self._port(name, "http")), "TIDEGATE_METRICS_PORT": "0"}
        given |= {"TIDEGATE_GATEWAY__HOST": "127.0.0.1", "TIDEGATE_METRICS_HOST": "127.0.0.1"}
        environment = {key: self._translate(name, value) for key, value in given.items() if key != "PATH"}
        with (self._path / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*PROGRAMS[words[0]], *(self._translate(name, word) for word in words[1:])],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _translate(self, name: str, text: str) -> str:
        """The text with this machine's folders and ports in place of the container's."""
        there = dict(OF_IMAGE)
        for mount in self._services[name].get("volumes", ()):
            source, target = mount.split(":")[:2]
            there[target] = source if source.startswith("/") else str(self.folder(source))
        for target, here in there.items():
            text = re.sub(rf"^{re.escape(target)}(?=/|$)", here, text)
        domain = name.partition("-")[0]
        text = text.replace("127.0.0.1:8222", f"127.0.0.1:{self._port(domain, 'monitor')}")
        return re.sub(r"(\w+)-nats:4222", lambda found: f"127.0.0.1:{self._port(found[1], 'client')}", text)

    def _move_here(self) -> None:
        """What `configure` wrote names hosts and ports of containers."""
        etc = self.folder("etc")
        for file in etc.glob("*/nats.conf"):
            domain = file.parent.name
            text = self._translate(f"{domain}-nats", file.read_text())
            text = text.replace("0.0.0.0:4222", f"127.0.0.1:{self._port(domain, 'client')}")
            text = re.sub(r"(0\.0\.0\.0|hub-nats):7422", f"127.0.0.1:{self._port('hub', 'leaf')}", text)
            text = re.sub(r'"[./]*/var/lib/applications(?=/)', f'"{self._applications(domain)}', text)
            file.write_text(text.replace('"/var/lib/nats"', f'"{self.folder(f"{domain}-nats")}"'))
        fleet = etc / "fleet.json"
        fleet.write_text(self._translate("configure", fleet.read_text()))

    def _applications(self, domain: str) -> str:
        """Where the accounts of a site's applications are, as its configuration names it."""
        return os.path.relpath(self.folder(f"{domain}-applications"), self.folder("etc") / domain)

    def _port(self, whose: str, what: str) -> int:
        return self._ports.setdefault(f"{whose}/{what}", choose_port("127.0.0.1"))

    def _is_serving(self, url: str, believed: ssl.SSLContext | None = None) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2, context=believed):
                return True
        except OSError:
            return False


def environment_of(image: str) -> dict[str, str]:
    """What the Containerfile of an image sets for its processes."""
    text = (ROOT / f"infra/containers/Containerfile.{image.removeprefix('tidegate-')}").read_text()
    [settings] = re.findall(r"^ENV ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    return dict(word.split("=", 1) for word in shlex.split(settings.replace("\\\n", " ")))


@contextmanager
def compose_run(path: Path, environ: Mapping[str, str]) -> Iterator[ComposeRun]:
    """Nothing of it is left running on leaving."""
    run = ComposeRun(path, environ)
    try:
        yield run
    finally:
        run.kill()
